"""Authorization: superusers, nodes, RBAC, in this order; and impersonation, which is a question to it too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol
from urllib.parse import unquote

from netlab.api import Json
from netlab.api.selectors import FieldSelector, SelectorError, parse_fields
from netlab.apiserver.call import Call, User
from netlab.apiserver.rbac import SUPERUSERS, Ask, Decision, Rbac, denied


class NodeRules(Protocol):
    """The Node authorizer."""

    async def decide(self, user: User, ask: Ask) -> Decision:
        """Whether a node may."""


class Authorizer:
    """Who may do what."""

    def __init__(self, rbac: Rbac, nodes: NodeRules) -> None:
        self.rbac, self.nodes = rbac, nodes

    async def decide(self, user: User, ask: Ask) -> Decision:
        """Whether the user may."""
        found = self.rbac.decide(user, ask)
        if not found.allowed and "system:nodes" in user.groups:
            found = await self.nodes.decide(user, ask)
        return found

    def rules(self, user: User, namespace: str) -> Iterator[Json]:
        """Every rule that holds for a user in a namespace."""
        if SUPERUSERS in user.groups:
            yield {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
            yield {"verbs": ["*"], "nonResourceURLs": ["*"]}
        for rule, _ in self.rbac.rules(user, namespace):
            yield rule

    async def check(self, user: User, ask: Ask) -> None:
        """ApiError 403 if the user may not."""
        if not (await self.decide(user, ask)).allowed:
            raise denied(user, ask)


def ask_of(call: Call) -> Ask:
    """What a request asks for."""
    info = call.info
    if not info.resource:
        return Ask(info.verb, path=info.path)
    resource = f"{info.plural}/{info.subresource}" if info.subresource else info.plural
    name = info.name
    if not name and info.verb in ("list", "watch"):  # who lists what has one name asks for that one
        try:
            terms = parse_fields(call.query.get("fieldSelector", ""))
        except SelectorError:  # whoever answers the list says so
            terms = ()
        name = FieldSelector(terms).exact("metadata.name") or ""
    return Ask(info.verb, info.group, resource, info.namespace, name)


async def impersonated(call: Call, authorizer: Authorizer) -> User | None:
    """The user that a request asks to be taken for, None if it asks for none. ApiError 403."""
    headers = call.request.headers
    name = headers.get("Impersonate-User", "")
    groups = tuple(headers.getall("Impersonate-Group", []))
    uid = headers.get("Impersonate-Uid", "")
    extra: dict[str, list[str]] = {}
    for key, value in headers.items():
        if key.lower().startswith("impersonate-extra-"):
            extra.setdefault(unquote(key[len("impersonate-extra-") :].lower()), []).append(value)
    if not name:
        if groups or uid or extra:
            from netlab.api import status

            raise status.internal("requested impersonation of groups, uid or extra without impersonating a user")
        return None
    asker = call.user
    parts = name.split(":")
    if name.startswith("system:serviceaccount:") and len(parts) == 4:
        await authorizer.check(asker, Ask("impersonate", "", "serviceaccounts", parts[2], parts[3]))
        if not groups:
            groups = ("system:serviceaccounts", f"system:serviceaccounts:{parts[2]}")
    else:
        await authorizer.check(asker, Ask("impersonate", "", "users", "", name))
    for group in headers.getall("Impersonate-Group", []):
        await authorizer.check(asker, Ask("impersonate", "", "groups", "", group))
    if uid:
        await authorizer.check(asker, Ask("impersonate", "authentication.k8s.io", "uids", "", uid))
    for key, values in extra.items():
        for value in values:
            await authorizer.check(asker, Ask("impersonate", "authentication.k8s.io", f"userextras/{key}", "", value))
    if name != "system:anonymous" and "system:authenticated" not in groups and "system:unauthenticated" not in groups:
        groups = (*groups, "system:authenticated")
    elif name == "system:anonymous" and "system:unauthenticated" not in groups:
        groups = (*groups, "system:unauthenticated")
    return User(name, groups, uid, tuple((k, tuple(v)) for k, v in extra.items()))
