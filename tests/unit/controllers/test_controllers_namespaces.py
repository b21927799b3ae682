"""The end of a namespace, and what every new one has: an account, its token on request, and the root CA."""

from __future__ import annotations

import base64
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import jwt
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from controlworld import ACCOUNTS, CA, CRDS, MAPS, NAMESPACES, PODS, SECRETS, SERVICES, World, in_world, until

from netlab.client.resources import Resource
from netlab.client.rest import ApiError
from netlab.controllers.namespaces import Remains, conditions

WIDGETS = Resource("example.com/v1", "widgets")
WIDGET_CRD: dict[str, Any] = {
    "metadata": {"name": "widgets.example.com"},
    "spec": {
        "group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
        "versions": [{"name": "v1", "served": True, "storage": True,
                      "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}],
    },
}  # fmt: skip


async def widgets(w: World) -> None:
    """Have the kind served."""
    await w.client.create(CRDS.path(), WIDGET_CRD)

    async def served() -> bool:
        try:
            await w.client.list(WIDGETS.path())
        except ApiError:
            return False
        return True

    await until(served)


async def gone(w: World, name: str) -> bool:
    return await w.get(NAMESPACES, name, "") is None


def test_a_namespace_goes_with_all_that_is_in_it() -> None:
    async def test(w: World) -> None:
        await widgets(w)
        await w.make(NAMESPACES, "shop", "")
        await w.make(MAPS, "m", "shop")
        await w.make(SERVICES, "s", "shop", spec={"ports": [{"port": 80}]})
        await w.make(WIDGETS, "w", "shop", apiVersion="example.com/v1", kind="Widget")
        await until(lambda: w.get(ACCOUNTS, "default", "shop"))
        await w.pod("p", "shop")
        await w.make(MAPS, "elsewhere")
        await w.delete(NAMESPACES, "shop", "")
        await until(lambda: gone(w, "shop"))
        await w.make(NAMESPACES, "shop", "")
        for resource in (PODS, SERVICES, WIDGETS):
            assert await w.names(resource, "shop") == []
        assert "elsewhere" in await w.names(MAPS)

    in_world(test)


def test_a_finalizer_holds_a_namespace_up_and_says_so() -> None:
    async def test(w: World) -> None:
        await w.make(NAMESPACES, "shop", "")
        await w.make(MAPS, "held", "shop", metadata={"finalizers": ["example.com/hold", "example.com/more"]})
        await w.make(MAPS, "free", "shop")
        await w.delete(NAMESPACES, "shop", "")

        async def told() -> Any:
            namespace = await w.get(NAMESPACES, "shop", "")
            assert namespace is not None
            return {c["type"]: c for c in namespace["status"].get("conditions", ())}

        found = await until(told)
        assert found["NamespaceContentRemaining"]["message"] == (
            "Some resources are remaining: configmaps. has 1 resource instances"
        )
        assert found["NamespaceFinalizersRemaining"]["message"] == (
            "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances, "
            "example.com/more in 1 resource instances"
        )
        assert found["NamespaceDeletionContentFailure"]["status"] == "False"
        assert await w.names(MAPS, "shop") == ["held"]
        with pytest.raises(ApiError, match="because it is being terminated"):
            await w.make(MAPS, "late", "shop")
        await w.client.patch(MAPS.path("shop", "held"), {"metadata": {"finalizers": None}})
        await until(lambda: gone(w, "shop"))

    in_world(test)


def test_the_words_of_conditions() -> None:
    clean = conditions(Remains(), [], "now")
    assert [(c["type"], c["status"], c["reason"]) for c in clean] == [
        ("NamespaceDeletionDiscoveryFailure", "False", "ResourcesDiscovered"),
        ("NamespaceDeletionGroupVersionParsingFailure", "False", "ParsedGroupVersions"),
        ("NamespaceDeletionContentFailure", "False", "ContentDeleted"),
        ("NamespaceContentRemaining", "False", "ContentRemoved"),
        ("NamespaceFinalizersRemaining", "False", "ContentHasNoFinalizers"),
    ]
    mine = {"type": "Mine", "status": "True", "lastTransitionTime": "then"}
    remains = Remains(Counter({WIDGETS: 2}), Counter(), ["b", "a"])
    before = [mine, *({**c, "lastTransitionTime": "then"} for c in clean)]
    after = {c["type"]: c for c in conditions(remains, before, "now")}
    assert after["Mine"] == mine
    assert after["NamespaceContentRemaining"]["message"] == (
        "Some resources are remaining: widgets.example.com has 2 resource instances"
    )
    assert (
        after["NamespaceDeletionContentFailure"]["message"] == "Failed to delete all resource types, 2 remaining: a, b"
    )
    assert after["NamespaceContentRemaining"]["lastTransitionTime"] == "now"
    assert after["NamespaceFinalizersRemaining"]["lastTransitionTime"] == "then"


def test_every_namespace_has_an_account_and_the_root_ca() -> None:
    async def test(w: World) -> None:
        await w.make(NAMESPACES, "shop", "")
        for namespace in ("default", "kube-system", "shop"):
            await until(lambda namespace=namespace: w.get(ACCOUNTS, "default", namespace))
            found = await until(lambda namespace=namespace: w.get(MAPS, "kube-root-ca.crt", namespace))
            assert found["data"] == {"ca.crt": CA.decode()}
        for resource, name in ((ACCOUNTS, "default"), (MAPS, "kube-root-ca.crt")):
            before = await w.get(resource, name, "shop")
            assert before is not None
            await w.delete(resource, name, "shop")

            async def again(
                resource: Resource = resource, name: str = name, uid: str = before["metadata"]["uid"]
            ) -> bool:
                found = await w.get(resource, name, "shop")
                return found is not None and found["metadata"]["uid"] != uid

            await until(again)
        await w.client.patch(MAPS.path("shop", "kube-root-ca.crt"), {"data": {"ca.crt": "forged", "more": "x"}})

        async def reset() -> bool:
            found = await w.get(MAPS, "kube-root-ca.crt", "shop")
            return found is not None and found["data"] == {"ca.crt": CA.decode()}

        await until(reset)

    in_world(test)


def test_a_secret_is_filled_with_a_token_that_dies_with_it() -> None:
    async def test(w: World) -> None:
        await w.make(ACCOUNTS, "bob")
        notes = {"kubernetes.io/service-account.name": "bob"}
        kind = "kubernetes.io/service-account-token"
        await w.make(SECRETS, "t", type=kind, metadata={"annotations": notes})

        async def filled() -> Any:
            found = await w.get(SECRETS, "t")
            return found if found is not None and found.get("data", {}).get("token") else None

        secret = await until(filled)
        data = {name: base64.b64decode(value) for name, value in secret["data"].items()}
        assert data["ca.crt"] == CA and data["namespace"] == b"default"
        bob = await w.get(ACCOUNTS, "bob")
        assert bob is not None
        assert secret["metadata"]["annotations"]["kubernetes.io/service-account.uid"] == bob["metadata"]["uid"]
        token = data["token"].decode()
        claims = jwt.decode(token, options={"verify_signature": False})
        assert claims["sub"] == "system:serviceaccount:default:bob"
        assert claims["kubernetes.io"]["secret"]["name"] == "t"

        async def asks() -> int:
            as_bob = w.server.as_(token)
            return (await as_bob.get("/apis/authorization.k8s.io/v1")).status

        assert await asks() == 200
        # what somebody takes out is put in again
        await w.client.patch(SECRETS.path("default", "t"), {"data": {"token": None, "namespace": "eA=="}})
        await until(filled)
        # the account's end is the Secret's
        await w.delete(ACCOUNTS, "bob")

        async def secret_gone() -> bool:
            return await w.get(SECRETS, "t") is None

        await until(secret_gone)
        await w.make(SECRETS, "nobody", type=kind, metadata={"annotations": {**notes}})

        async def nobody_gone() -> bool:
            return await w.get(SECRETS, "nobody") is None

        await until(nobody_gone)

    in_world(test)
