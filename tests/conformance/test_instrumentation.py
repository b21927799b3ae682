"""Events, in both groups."""

from __future__ import annotations

from lifecycles import CORE, LABEL, collection, fine, made, object_
from serving import Client, Json, with_server

EVENTS = f"{CORE}/events"
NEW = collection("events.k8s.io/v1", "events")


def event(name: str) -> Json:
    """A core event."""
    return object_(
        "v1", "Event", name, message="This is a test event", reason="Test", type="Normal", count=1,
        involvedObject={"namespace": "default"},
    )  # fmt: skip


def new_event(name: str, label: str = "yes") -> Json:
    """An event of events.k8s.io."""
    found = object_(
        "events.k8s.io/v1", "Event", name, eventTime="2026-01-01T00:00:00.123456Z", note="This is a test event",
        reason="Test", action="Do", type="Normal", reportingController="test-controller",
        reportingInstance="test-node", regarding={"namespace": "default", "kind": "Pod", "name": "p"},
    )  # fmt: skip
    found["metadata"]["labels"]["e2e"] = label
    return found


def test_core_event_deletecollection() -> None:
    async def test(c: Client) -> None:
        for name in ("e1", "e2", "e3"):
            await made(c, EVENTS, event(name))
        assert len((await fine(c.get(EVENTS, labelSelector=LABEL)))["items"]) == 3
        await fine(c.delete(EVENTS, labelSelector=LABEL))
        assert (await fine(c.get(EVENTS, labelSelector=LABEL)))["items"] == []

    with_server(test)


def test_core_event_lifecycle() -> None:
    async def test(c: Client) -> None:
        await made(c, EVENTS, event("e"))
        listed = await fine(c.get("/api/v1/events", labelSelector=LABEL, fieldSelector="reason=Test,type=Normal"))
        assert len(listed["items"]) == 1
        patched = await fine(c.patch(f"{EVENTS}/e", {"message": "patched"}, "strategic"))
        assert patched["message"] == "patched"
        patched["series"] = {"count": 100, "lastObservedTime": "2026-01-01T00:00:00.000001Z"}
        updated = await fine(c.put(f"{EVENTS}/e", patched))
        assert updated["series"] == {"count": 100, "lastObservedTime": "2026-01-01T00:00:00.000001Z"}
        await fine(c.delete(f"{EVENTS}/e"))
        assert (await c.get(f"{EVENTS}/e")).status == 404

    with_server(test)


def test_events_k8s_io_lifecycle() -> None:
    async def test(c: Client) -> None:
        one = f"{NEW}/e"
        obj = await made(c, NEW, new_event("e"))
        assert (obj["note"], obj["eventTime"]) == ("This is a test event", "2026-01-01T00:00:00.123456Z")
        for path in (NEW, "/apis/events.k8s.io/v1/events"):
            for selector in ("regarding.name=p", "reportingController=test-controller", "metadata.name=e"):
                listed = await fine(c.get(path, fieldSelector=selector))
                assert [e["metadata"]["name"] for e in listed["items"]] == ["e"], selector
        core = await fine(c.get(f"{EVENTS}/e"))
        assert (core["message"], core["involvedObject"]["name"]) == ("This is a test event", "p")
        patched = await fine(c.patch(one, {"note": "patched"}))
        patched["series"] = {"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z"}
        assert (await fine(c.put(one, patched)))["series"]["count"] == 2
        await fine(c.delete(one))
        for name in ("e1", "e2", "e3"):
            await made(c, NEW, new_event(name, "set"))
        await fine(c.delete(NEW, labelSelector="e2e=set"))
        assert (await fine(c.get(NEW, labelSelector="e2e=set")))["items"] == []

    with_server(test)
