"""ResourceQuota: what a namespace may have at most. Usage is taken from status.used and written back with the create.

Source: kubernetes plugin/pkg/admission/resourcequota. The quota controller corrects what deletions free.
"""

from __future__ import annotations

from decimal import Decimal

from netlab.api import Json, status
from netlab.api.quantity import canonical
from netlab.api.quantity import value as amount
from netlab.api.quotas import COMPUTE, in_scope, text, usage
from netlab.apiserver import objects
from netlab.apiserver.admission import Attributes, Plugin
from netlab.apiserver.lister import Lister
from netlab.store.protocol import Conflict, Store

#: tries to write a quota's usage
TRIES = 10


class ResourceQuotas(Plugin):
    """quotas: their cache."""

    def __init__(self, store: Store, quotas: Lister) -> None:
        self.store, self.quotas = store, quotas

    async def validate(self, a: Attributes) -> None:
        """Refuse what is too much; count what is not."""
        if a.operation != "CREATE" or a.subresource or a.obj is None or not len(self.quotas) or not a.namespace:
            return
        r = a.kind.resource
        took = usage(r.storage[0], r.kind, r.plural, a.obj)
        for quota in list(self.quotas.all(a.namespace)):
            if in_scope(quota, r.kind, a.obj):
                await self._take(a, quota["metadata"]["name"], took)

    async def _take(self, a: Attributes, name: str, took: dict[str, Decimal]) -> None:
        key = f"/registry/resourcequotas/{a.namespace}/{name}"
        for _ in range(TRIES):
            kv, _now = await self.store.get(key)
            if kv is None:
                return
            quota = objects.load(kv)
            state = quota.setdefault("status", {})
            hard = state.get("hard") or (quota.get("spec") or {}).get("hard") or {}
            used = dict(state.get("used") or {})
            wanted = {n: v for n, v in took.items() if n in hard and v}
            self._check_given(a, name, hard)
            over = [n for n, v in wanted.items() if amount(used.get(n, "0")) + v > amount(hard[n])]
            if over:
                self._refuse(a, name, over, wanted, used, hard)
            if not wanted or a.dry:
                return
            for n, v in wanted.items():
                used[n] = text(n, amount(used.get(n, "0")) + v)
            state["hard"] = {n: canonical(v) for n, v in hard.items()}
            state["used"] = {n: used.get(n, "0") for n in hard}
            try:
                await self.store.update(key, objects.encode(quota), expected=kv.revision)
            except Conflict:
                continue
            return
        raise status.conflict("resourcequotas", "", name)

    @staticmethod
    def _check_given(a: Attributes, name: str, hard: Json) -> None:
        """With a quota on it, every container has to say how much it takes."""
        if a.group_kind != ("", "Pod") or a.obj is None:
            return
        missing: dict[str, list[str]] = {}
        for container in a.obj["spec"].get("containers") or ():
            resources = container.get("resources") or {}
            for key in hard:
                field, _, what = (
                    key.rpartition(".") if key.startswith(("requests.", "limits.")) else ("requests", "", key)
                )
                if what in COMPUTE and what not in (resources.get(field) or {}):
                    missing.setdefault(key, []).append(container["name"])
        if missing:
            which = "; ".join(f"{k} for: {','.join(sorted(v))}" for k, v in sorted(missing.items()))
            pod = a.obj["metadata"].get("name", "")
            raise status.forbidden("pods", "", pod, f"failed quota: {name}: must specify {which}")

    @staticmethod
    def _refuse(a: Attributes, name: str, over: list[str], wanted: dict[str, Decimal], used: Json, hard: Json) -> None:
        over = sorted(over)
        asked = ",".join(f"{n}={text(n, wanted[n])}" for n in over)
        has = ",".join(f"{n}={used.get(n, '0')}" for n in over)
        most = ",".join(f"{n}={hard[n]}" for n in over)
        r = a.kind.resource
        why = f"exceeded quota: {name}, requested: {asked}, used: {has}, limited: {most}"
        raise status.forbidden(r.plural, r.group, (a.obj or {})["metadata"].get("name", ""), why)

    async def undo(self, a: Attributes) -> None:
        """What was counted for a create that was not made is given back."""
        if a.operation != "CREATE" or a.subresource or a.obj is None or not len(self.quotas) or a.dry:
            return
        r = a.kind.resource
        took = usage(r.storage[0], r.kind, r.plural, a.obj)
        for quota in list(self.quotas.all(a.namespace)):
            key = f"/registry/resourcequotas/{a.namespace}/{quota['metadata']['name']}"
            for _ in range(TRIES):
                kv, _now = await self.store.get(key)
                if kv is None:
                    break
                there = objects.load(kv)
                used = (there.get("status") or {}).get("used") or {}
                for n, v in took.items():
                    if n in used:
                        used[n] = text(n, max(amount(used[n]) - v, Decimal(0)))
                try:
                    await self.store.update(key, objects.encode(there), expected=kv.revision)
                except Conflict:
                    continue
                break
