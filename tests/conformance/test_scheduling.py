"""LimitRanges: defaults in pods, and the objects."""

from __future__ import annotations

from lifecycles import CORE, fine, lifecycle, made, object_, until
from serving import PODS, Client, Json, with_server

LIMITS = f"{CORE}/limitranges"


def limits() -> Json:
    """The spec of a LimitRange."""
    low, request = {"cpu": "50m", "memory": "100Mi"}, {"cpu": "100m", "memory": "200Mi"}
    default, high = {"cpu": "500m", "memory": "500Mi"}, {"cpu": "500m", "memory": "500Mi"}
    return {"limits": [{"type": "Container", "min": low, "max": high, "default": default, "defaultRequest": request}]}


def sized(name: str, requests: Json, most: Json) -> Json:
    """A pod with resources."""
    container = {"name": "c", "image": "x", "resources": {"requests": requests, "limits": most}}
    return object_("v1", "Pod", name, spec={"containers": [container]})


def test_limitrange_defaults() -> None:
    async def test(c: Client) -> None:
        await made(c, LIMITS, object_("v1", "LimitRange", "l", spec=limits()))
        plain = await made(c, PODS, sized("plain", {}, {}))
        assert plain["spec"]["containers"][0]["resources"] == {
            "requests": {"cpu": "100m", "memory": "200Mi"}, "limits": {"cpu": "500m", "memory": "500Mi"},
        }  # fmt: skip
        partial = await made(c, PODS, sized("partial", {"memory": "150Mi"}, {"cpu": "300m"}))
        assert partial["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "300m", "memory": "150Mi"}
        assert (await c.post(PODS, sized("low", {"cpu": "10m", "memory": "50Mi"}, {}))).status == 403
        assert (await c.post(PODS, sized("high", {}, {"cpu": "600m"}))).status == 403
        smaller = limits()
        smaller["limits"][0]["min"] = {"cpu": "9m", "memory": "49Mi"}
        await fine(c.patch(f"{LIMITS}/l", {"spec": smaller}))
        low = sized("low", {"cpu": "10m", "memory": "50Mi"}, {})

        async def admitted() -> bool:
            return (await c.post(PODS, low)).status == 201

        while not await admitted():
            pass
        assert (await c.post(PODS, sized("high", {}, {"cpu": "600m"}))).status == 403
        await fine(c.delete(f"{LIMITS}/l"))
        await until(c, f"{LIMITS}/l", lambda a: a.status == 404)
        while (await c.post(PODS, sized("high", {}, {"cpu": "600m"}))).status != 201:
            pass

    with_server(test)


def test_limitrange_collection() -> None:
    lifecycle("v1", "LimitRange", "limitranges", {"spec": limits()})
