"""Subresources with bodies of their own: scale, eviction, binding, finalize, approval, token, ephemeralcontainers.

What needs a kubelet (log, exec, attach, portforward, proxy) is answered by whoever registers for it (`connect`); until
then it is answered as the original answers for a pod that has no node.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from netlab.api import Json, status, times
from netlab.api.catalogue import Resource, Subresource
from netlab.api.fielderrors import invalid
from netlab.api.selectors import as_text
from netlab.api.shapes import DecodeError, decode, shape_of_kind
from netlab.apiserver import bodies, converting, objects, patching, tables
from netlab.apiserver import deleting as deletes
from netlab.apiserver.admission.nodes import check_token
from netlab.apiserver.call import Call, answer
from netlab.apiserver.decoding import body_of, check_kind, object_of
from netlab.apiserver.handlers import Context
from netlab.apiserver.kinds import Kind
from netlab.apiserver.negotiate import PLAIN, negotiate
from netlab.apiserver.tokens import Tokens
from netlab.apiserver.writing import Change, Found, dry_run, update
from netlab.store.protocol import Conflict

Special = Callable[[Call, Kind], Awaitable[web.StreamResponse]]

#: seconds of a token: by default, at least, at most
TOKEN_DEFAULT, TOKEN_MIN, TOKEN_MAX = 3600, 600, 1 << 32


async def body_object(call: Call, group: str, version: str, kind: str, *, versions: tuple[str, ...] = ()) -> Json:
    """A body of a built-in kind that is no resource. ApiError 400."""
    value, _ = await body_of(call)
    api_version = f"{group}/{version}" if group else version
    if isinstance(value, dict) and value.get("apiVersion") in versions:
        value["apiVersion"] = api_version
    if not isinstance(value, dict):
        raise status.bad_request(f"the body is no {kind}")
    given = (value.get("apiVersion", api_version), value.get("kind", kind))
    if given != (api_version, kind):
        raise status.bad_request(
            f"no kind {given[1]!r} is registered for version {given[0]!r} here: {kind} is expected"
        )
    shape = shape_of_kind(group, version, kind)
    if shape is None:
        return value
    try:
        found = decode(value, shape, [])
    except DecodeError as e:
        raise status.bad_request(f'{kind} in version "{version}" cannot be handled as a {kind}: {e}') from e
    assert isinstance(found, dict)
    return found


class Subresources:
    """connect: answers what has to reach a node."""

    def __init__(self, ctx: Context, tokens: Tokens, connect: Special | None = None) -> None:
        self.ctx, self.tokens, self.connect = ctx, tokens, connect

    def find(self, resource: Resource, subresource: Subresource) -> Special | None:
        """The handler, None if the plain verbs do."""
        match subresource.name:
            case "scale":
                return self.scale
            case "eviction":
                return self.eviction
            case "binding":
                return self.binding
            case "finalize":
                return self.finalize
            case "approval":
                return self.approval
            case "token":
                return self.token
            case "ephemeralcontainers" | "resize":
                return self.pod_part
            case "log" | "exec" | "attach" | "portforward" | "proxy":
                return self.connect or self.unconnected
            case _:
                return None

    async def _get(self, kind: Kind, namespace: str, name: str) -> Json:
        kv, _ = await self.ctx.store.get(objects.key(kind.resource, namespace, name))
        if kv is None:
            raise status.not_found(kind.resource.plural, kind.resource.group, name)
        (found,) = await converting.shown(kind, [objects.load(kv)])
        return found

    async def unconnected(self, call: Call, kind: Kind) -> web.StreamResponse:
        """There is no node to ask."""
        obj = await self._get(kind, call.info.namespace, call.info.name)
        if kind.resource.kind == "Pod" and not (obj.get("spec") or {}).get("nodeName"):
            raise status.bad_request(f"pod {call.info.name} does not have a host assigned")
        raise status.ApiError(501, "", "no node can be reached from this server", {})

    # -- scale

    def _paths(self, kind: Kind) -> tuple[str, str, str]:
        found: tuple[str, str, str] | None = getattr(kind, "scale_paths", None)
        return found or (".spec.replicas", ".status.replicas", "")

    def _scale(self, kind: Kind, obj: Json) -> Json:
        meta = obj["metadata"]
        spec_path, status_path, selector_path = self._paths(kind)
        kept = {k: meta[k] for k in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp") if k in meta}
        state: Json = {"replicas": _at(obj, status_path) or 0}
        if kind.resource.custom:
            selector = _at(obj, selector_path) if selector_path else None
        else:
            chosen = (obj.get("spec") or {}).get("selector")
            if kind.resource.kind == "ReplicationController":
                chosen = {"matchLabels": chosen} if chosen else None
            selector = as_text(chosen) if chosen else ""
        if selector:
            state["selector"] = selector
        spec = {"replicas": _at(obj, spec_path)} if _at(obj, spec_path) else {}
        return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": kept, "spec": spec, "status": state}

    async def scale(self, call: Call, kind: Kind) -> web.StreamResponse:
        """GET, PUT, PATCH of how many there are to be."""
        form = negotiate(call.request.headers.get("Accept", ""), tables.OFFERS)
        r, info = kind.resource, call.info
        if info.verb == "get":
            return answer(call, self._scale(kind, await self._get(kind, info.namespace, info.name)), form=form)
        if info.verb == "update":
            wanted = await body_object(call, "autoscaling", "v1", "Scale", versions=("extensions/v1beta1",))
            name = wanted["metadata"].get("name", info.name)
            if name != info.name:
                raise status.bad_request(
                    f"the name of the object ({name}) does not match the name on the URL ({info.name})"
                )
            media, parsed = "", None
        else:
            media = bodies.media_type(call.request.headers)
            if media not in patching.accepted(kind):
                raise status.unsupported_media_type(patching.accepted(kind))
            body = await bodies.read(call.request)
            parsed = bodies.parse_yaml(body) if media == patching.APPLY_PATCH else bodies.parse_json(body)
            wanted = {}

        async def change(found: Found) -> Change:
            old = found.own()
            now = self._scale(kind, old)
            new = wanted if not media else _patched_scale(now, media, parsed)
            given = new["metadata"].get("resourceVersion")
            if given and given != now["metadata"]["resourceVersion"]:
                raise status.conflict(r.plural, r.group, info.name)
            replicas = (new.get("spec") or {}).get("replicas") or 0
            if isinstance(replicas, bool) or not isinstance(replicas, int):
                raise status.bad_request("json: cannot unmarshal string into Go struct field ScaleSpec.spec.replicas "
                                         "of type int32")  # fmt: skip
            if replicas < 0:
                wrong = invalid("spec.replicas", replicas, "must be greater than or equal to 0")
                raise status.invalid("Scale", "autoscaling", info.name, [wrong])
            _put(old, self._paths(kind)[0], replicas)
            return Change(old)

        # the write is one of the resource itself: its spec changes, and its generation
        await update(self.ctx, call, kind, change, PLAIN)
        return answer(call, self._scale(kind, await self._get(kind, info.namespace, info.name)), form=form)

    # -- pods

    async def eviction(self, call: Call, kind: Kind) -> web.StreamResponse:
        """POST: delete a pod if its disruption budget has room."""
        body = await body_object(call, "policy", "v1", "Eviction", versions=("policy/v1beta1",))
        name = body["metadata"].get("name", "")
        if name and name != call.info.name:
            raise status.bad_request("name in URL does not match name in Eviction object")
        given = body.get("deleteOptions") or {}
        options = deletes.options_from(given, [str(d) for d in given.get("dryRun") or []])
        options.dry = options.dry or dry_run(call)
        pod = await self._get(kind, call.info.namespace, call.info.name)
        phase = (pod.get("status") or {}).get("phase")
        if phase not in ("Succeeded", "Failed", "Pending") and not pod["metadata"].get("deletionTimestamp"):
            await self._disrupt(call, pod, dry=options.dry)
        if not options.dry:
            await update(self.ctx, call, kind, self._evicted, PLAIN)
        await deletes.remove(self.ctx, call, kind, call.info.namespace, call.info.name, options)
        return answer(call, status.success(code=201), 201)

    async def _evicted(self, found: Found) -> Change:
        """Say why it goes before it does: a Job may bear with that."""
        pod = found.own()
        conditions = pod.setdefault("status", {}).setdefault("conditions", [])
        conditions[:] = [c for c in conditions if c.get("type") != "DisruptionTarget"]
        conditions.append({
            "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting", "lastTransitionTime": times.seconds(self.ctx.now()),
        })  # fmt: skip
        return Change(pod)

    async def _disrupt(self, call: Call, pod: Json, *, dry: bool) -> None:
        from netlab.api.selectors import from_object

        namespace = call.info.namespace
        page = await self.ctx.store.list(f"/registry/poddisruptionbudgets/{namespace}/")
        labels = pod["metadata"].get("labels")
        found = []
        for kv in page.items:
            budget = objects.load(kv)
            selector = from_object((budget.get("spec") or {}).get("selector"))
            if selector is not None and selector.matches(labels):
                found.append((kv, budget))
        if len(found) > 1:
            raise status.internal("this pod has more than one PodDisruptionBudget, which the eviction subresource does "
                                  "not support.")  # fmt: skip
        for kv, budget in found:
            state = budget.setdefault("status", {})
            healthy = any(
                c.get("type") == "Ready" and c.get("status") == "True"
                for c in (pod.get("status") or {}).get("conditions") or ()
            )
            if not healthy and state.get("currentHealthy", 0) >= state.get("desiredHealthy", 0) > 0:
                continue
            name = budget["metadata"]["name"]
            if state.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
                text = f"The disruption budget {name} is still being processed by the server."
                raise _blocked(text, retry=10)
            if state.get("disruptionsAllowed", 0) <= 0:
                text = f"The disruption budget {name} needs {state.get('desiredHealthy', 0)} healthy pods and has "
                raise _blocked(text + f"{state.get('currentHealthy', 0)} currently")
            if dry:
                continue
            state["disruptionsAllowed"] -= 1
            state.setdefault("disruptedPods", {})[call.info.name] = times.seconds(self.ctx.now())
            try:
                await self.ctx.store.update(kv.key, objects.encode(budget), expected=kv.revision)
            except Conflict as e:
                raise _blocked("couldn't update PodDisruptionBudget due to conflicts", retry=10) from e

    async def binding(self, call: Call, kind: Kind) -> web.StreamResponse:
        """POST: give a pod to a node."""
        body = await body_object(call, "", "v1", "Binding")
        target = body.get("target") or {}
        node = target.get("name", "")
        if target.get("kind", "Node") not in ("", "Node", "Minion"):
            from netlab.api.fielderrors import not_supported

            wrong = not_supported("target.kind", target.get("kind"), ["", "Node"])
            raise status.invalid("Binding", "", call.info.name, [wrong])
        if not node:
            from netlab.api.fielderrors import required

            raise status.invalid("Binding", "", call.info.name, [required("target.name")])
        meta = body.get("metadata") or {}

        async def change(found: Found) -> Change:
            pod = found.own()
            there = pod["spec"].get("nodeName", "")
            if pod["metadata"].get("deletionTimestamp"):
                raise status.conflict(
                    "pods/binding",
                    "",
                    call.info.name,
                    f"pod {call.info.name} is being deleted, cannot be assigned to a host",
                )
            if there:
                raise status.conflict(
                    "pods/binding", "", call.info.name, f'pod {call.info.name} is already assigned to node "{there}"'
                )
            if meta.get("uid") and meta["uid"] != pod["metadata"]["uid"]:
                raise status.conflict("pods/binding", "", call.info.name, "uid mismatch")
            pod["spec"]["nodeName"] = node
            for name in ("labels", "annotations"):
                if meta.get(name):
                    pod["metadata"].setdefault(name, {}).update(meta[name])
            conditions = pod.setdefault("status", {}).setdefault("conditions", [])
            conditions[:] = [c for c in conditions if c.get("type") != "PodScheduled"]
            conditions.append({
                "type": "PodScheduled", "status": "True", "lastProbeTime": None,
                "lastTransitionTime": times.seconds(self.ctx.now()),
            })  # fmt: skip
            return Change(pod)

        await update(self.ctx, call, kind, change, PLAIN)
        return answer(call, status.success(code=201), 201)

    async def pod_part(self, call: Call, kind: Kind) -> web.StreamResponse:
        """ephemeralcontainers: only more of them; resize: only resources of containers."""
        from netlab.apiserver import reading, writing

        match call.info.verb:
            case "get":
                return await reading.get(self.ctx, call, kind)
            case "update":
                return await writing.put(self.ctx, call, kind)
            case _:
                return await patching.patch(self.ctx, call, kind)

    # -- others

    async def finalize(self, call: Call, kind: Kind) -> web.StreamResponse:
        """PUT of a namespace's own finalizers."""
        form = negotiate(call.request.headers.get("Accept", ""), tables.OFFERS)
        body = await object_of(call, kind)
        finalizers = (body.get("spec") or {}).get("finalizers")
        rev = body["metadata"].get("resourceVersion")

        async def change(found: Found) -> Change:
            old = found.own()
            spec = old.setdefault("spec", {})
            if finalizers:
                spec["finalizers"] = list(finalizers)
            else:
                spec.pop("finalizers", None)
            if rev:
                old["metadata"]["resourceVersion"] = rev
            if "finalizers" in body["metadata"]:
                old["metadata"]["finalizers"] = body["metadata"]["finalizers"]
            return Change(old)

        return await update(self.ctx, call, kind, change, form)

    async def approval(self, call: Call, kind: Kind) -> web.StreamResponse:
        """GET, PUT, PATCH of the conditions of a certificate request."""
        from netlab.apiserver import reading

        if call.info.verb == "get":
            return await reading.get(self.ctx, call, kind)
        form = negotiate(call.request.headers.get("Accept", ""), tables.OFFERS)
        if call.info.verb == "update":
            body = await object_of(call, kind)

            async def replace(found: Found) -> Change:
                return Change(_approved(found.own(), body))

            return await update(self.ctx, call, kind, replace, form)
        media = bodies.media_type(call.request.headers)
        if media not in patching.accepted(kind) or media == patching.APPLY_PATCH:
            raise status.unsupported_media_type(patching.accepted(kind))
        parsed = bodies.parse_json(await bodies.read(call.request))

        async def change(found: Found) -> Change:
            new = patching.patched(self.ctx, call, kind, found.own(), media, parsed, [])
            return Change(_approved(found.own(), new))

        return await update(self.ctx, call, kind, change, form)

    async def token(self, call: Call, kind: Kind) -> web.StreamResponse:
        """POST: a token of a ServiceAccount."""
        account = await self._get(kind, call.info.namespace, call.info.name)
        value, _ = await body_of(call)
        body = check_kind(value, kind.resource, "TokenRequest", "authentication.k8s.io/v1")
        spec = body.setdefault("spec", {})
        seconds = spec.get("expirationSeconds")
        seconds = TOKEN_DEFAULT if seconds is None else seconds
        field = "spec.expirationSeconds"
        wrong = []
        if seconds < TOKEN_MIN:
            wrong.append(invalid(field, seconds, "may not specify a duration less than 10 minutes"))
        elif seconds > TOKEN_MAX:
            wrong.append(invalid(field, seconds, "may not specify a duration larger than 2^32 seconds"))
        if wrong:
            raise status.invalid("TokenRequest", "authentication.k8s.io", "", wrong)
        bound = await self._bound(call, spec.get("boundObjectRef"))
        audiences = spec.get("audiences") or [self.tokens.issuer]
        text, expires = self.tokens.issue(account, audiences, seconds, bound)
        return answer(call, {
            "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": call.info.name, "namespace": call.info.namespace,
                         "creationTimestamp": times.seconds(self.ctx.now())},
            "spec": {"audiences": audiences, "expirationSeconds": seconds,
                     "boundObjectRef": spec.get("boundObjectRef")},
            "status": {"token": text, "expirationTimestamp": times.seconds(expires)},
        }, 201)  # fmt: skip

    async def _bound(self, call: Call, ref: Json | None) -> Json | None:
        if not ref:
            check_token(call.user, None, None)
            return None
        plural = {"Pod": "pods", "Secret": "secrets", "Node": "nodes"}.get(ref.get("kind", ""))
        if plural is None:
            raise status.bad_request(f"cannot bind token for serviceaccount to object type {ref.get('kind')}")
        kind = self.ctx.registry.find("", "v1", plural)
        assert kind is not None
        obj = await self._get(kind, call.info.namespace, ref.get("name", ""))
        uid = obj["metadata"]["uid"]
        if ref.get("uid") and ref["uid"] != uid:
            why = f"the UID in the bound object reference ({ref['uid']}) does not match the UID in record. "
            raise status.conflict(
                plural, "", ref["name"], why + "The object might have been deleted and then recreated"
            )
        check_token(call.user, ref, obj)
        return {ref["kind"].lower(): {"name": ref["name"], "uid": uid}}


def _patched_scale(now: Json, media: str, parsed: object) -> Json:
    from netlab.api import patches

    try:
        found = patches.json_patch(now, parsed) if media == patching.JSON_PATCH else patches.merge(now, parsed)
    except patches.PatchConflict as e:
        text = "the server rejected our request due to an error in our request"
        raise status.ApiError(422, "Invalid", text, {}) from e
    except patches.PatchError as e:
        raise status.bad_request(str(e)) from e
    if not isinstance(found, dict) or not isinstance(found.get("metadata"), dict):
        raise status.bad_request("the patch makes no Scale of it")
    return found


def _approved(old: Json, new: Json) -> Json:
    conditions = (new.get("status") or {}).get("conditions")
    state = old.setdefault("status", {})
    if conditions:
        state["conditions"] = conditions
    else:
        state.pop("conditions", None)
    return old


def _blocked(why: str, retry: int = 0) -> status.ApiError:
    cause = {"reason": "DisruptionBudget", "message": why}
    return status.too_many_requests("Cannot evict pod as it would violate the pod's disruption budget.", retry, [cause])


def _at(obj: Json, path: str) -> object:
    value: object = obj
    for step in path.strip(".").split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _put(obj: Json, path: str, value: object) -> None:
    *steps, last = path.strip(".").split(".")
    for step in steps:
        obj = obj.setdefault(step, {})
    obj[last] = value
