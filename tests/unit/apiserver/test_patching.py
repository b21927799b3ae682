"""The four patch types through the HTTP door, and who owns which field afterwards."""

from typing import Any

from serving import DEPLOYMENTS, MAPS, Client, config_map, deployment, with_server

WEB = f"{DEPLOYMENTS}/web"


def owners(obj: Any) -> dict[str, Any]:
    """manager → FieldsV1."""
    return {m["manager"]: m["fieldsV1"] for m in obj["metadata"]["managedFields"]}


def test_json_merge_and_strategic_patches() -> None:
    async def test(c: Client) -> None:
        await c.post(DEPLOYMENTS, deployment())
        failed = await c.patch(WEB, [{"op": "test", "path": "/spec/replicas", "value": 9}], "json")
        assert (failed.status, failed.body["reason"]) == (422, "Invalid")
        done = await c.patch(WEB, [{"op": "replace", "path": "/spec/replicas", "value": 3}], "json")
        assert done.body["spec"]["replicas"] == 3
        change = {"spec": {"template": {"spec": {
            "$setElementOrder/containers": [{"name": "b"}, {"name": "c"}],
            "containers": [{"name": "b", "image": "x"}, {"name": "c", "env": [{"name": "A", "value": "1"}]}],
        }}}}  # fmt: skip
        spec = (await c.patch(WEB, change, "strategic")).body["spec"]["template"]["spec"]
        assert [x["name"] for x in spec["containers"]] == ["b", "c"]
        assert spec["containers"][1]["image"] == "nginx:1.25"
        assert spec["containers"][1]["env"] == [{"name": "A", "value": "1"}]
        gone = {"spec": {"template": {"spec": {"containers": [{"name": "b", "$patch": "delete"}]}}}}
        spec = (await c.patch(WEB, gone, "strategic")).body["spec"]["template"]["spec"]
        assert [x["name"] for x in spec["containers"]] == ["c"]
        unknown = await c.patch(WEB, {"spec": {"foo": 1}}, fieldValidation="Strict")
        assert unknown.message.endswith('strict decoding error: unknown field "spec.foo"')
        assert (await c.ask("PATCH", WEB, {}, type_="application/json")).status == 415
        assert (await c.ask("PATCH", WEB, {}, type_="application/merge-patch+json; charset=utf-8")).status == 200

    with_server(test)


def test_a_patch_of_the_status_alone_does_what_any_other_does() -> None:
    async def test(c: Client) -> None:
        state = {"replicas": 1, "conditions": [{"type": "Available", "status": "True", "reason": "a", "message": "b"}]}
        made = {}
        for name in ("quick", "slow"):
            await c.post(DEPLOYMENTS, deployment(name))
            # labels are of no status: they are not left out, and all of the object is looked at
            more = {"labels": {"a": "b"}} if name == "slow" else {}
            patch = {"metadata": more, "status": state, "spec": {"replicas": 7}} if more else {"status": state}
            done = await c.patch(f"{DEPLOYMENTS}/{name}/status", patch, "strategic", fieldManager="x")
            assert done.status == 200
            made[name] = done.body
        quick, slow = made["quick"], made["slow"]
        assert slow["metadata"].pop("labels") == {"a": "b"}
        for found in made.values():
            for gone in ("name", "uid", "creationTimestamp", "resourceVersion"):
                del found["metadata"][gone]
            for entry in found["metadata"]["managedFields"]:
                del entry["time"]
                entry["fieldsV1"].pop("f:metadata", None)
        assert (quick["metadata"], quick["status"]) == (slow["metadata"], slow["status"])
        assert [found["spec"]["replicas"] for found in made.values()] == [1, 1]
        again = await c.patch(f"{DEPLOYMENTS}/quick/status", {"status": {"replicas": None}}, fieldManager="x")
        assert (again.status, again.body["status"]) == (200, {"conditions": quick["status"]["conditions"]})
        assert again.body["spec"] == quick["spec"]
        wrong = await c.patch(f"{DEPLOYMENTS}/quick/status", {"status": {"replicas": "many"}})
        assert wrong.status == 400
        unknown = await c.patch(f"{DEPLOYMENTS}/quick/status", {"status": {"foo": 1}}, fieldValidation="Strict")
        assert unknown.message.endswith('strict decoding error: unknown field "status.foo"')
        other = await c.patch(f"{DEPLOYMENTS}/quick/status", {"metadata": {"uid": "x"}, "status": {"replicas": 2}})
        assert other.status == 409

    with_server(test)


def test_an_update_owns_what_it_changed() -> None:
    async def test(c: Client) -> None:
        made = (await c.post(MAPS, config_map(a="1", b="1"), fieldManager="one")).body
        assert owners(made) == {"one": {"f:data": {".": {}, "f:a": {}, "f:b": {}}}}
        changed = (await c.patch(f"{MAPS}/c", {"data": {"b": "2"}}, fieldManager="two")).body
        assert owners(changed) == {"one": {"f:data": {".": {}, "f:a": {}}}, "two": {"f:data": {"f:b": {}}}}
        gone = (await c.patch(f"{MAPS}/c", {"data": {"b": None}}, fieldManager="one")).body
        assert owners(gone) == {"one": {"f:data": {".": {}, "f:a": {}}}}

    with_server(test)


def test_server_side_apply() -> None:
    async def test(c: Client) -> None:
        path = f"{MAPS}/c"

        async def apply(manager: str, force: str = "false", **data: str) -> Any:
            return await c.patch(path, config_map(**data), "apply", fieldManager=manager, force=force)

        made = await apply("one", a="1", b="1")
        assert made.status == 201
        assert owners(made.body) == {"one": {"f:data": {"f:a": {}, "f:b": {}}}}
        assert made.body["metadata"]["managedFields"][0]["operation"] == "Apply"
        shared = await apply("two", b="1", d="1")
        assert shared.status == 200
        conflict = await apply("two", b="2")
        assert conflict.status == 409
        assert conflict.message == 'Apply failed with 1 conflict: conflict with "one": .data.b'
        assert conflict.body["details"]["causes"] == [
            {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.b"}
        ]
        forced = await apply("two", "true", b="2")
        assert forced.body["data"] == {"a": "1", "b": "2"}  # d was two's alone and is said no more
        assert owners(forced.body) == {"one": {"f:data": {"f:a": {}}}, "two": {"f:data": {"f:b": {}}}}
        same = await apply("two", b="2")
        assert same.body["metadata"]["resourceVersion"] == forced.body["metadata"]["resourceVersion"]
        less = await apply("one")
        assert less.body["data"] == {"b": "2"}
        assert (await c.patch(path, config_map(), "apply")).status == 422

    with_server(test)


def test_apply_conflicts_with_an_update() -> None:
    async def test(c: Client) -> None:
        await c.patch(WEB, deployment(), "apply", fieldManager="gitops")
        await c.patch(WEB, {"spec": {"replicas": 5}}, fieldManager="kubectl-scale")
        refused = await c.patch(WEB, deployment(), "apply", fieldManager="gitops")
        assert refused.message == (
            'Apply failed with 1 conflict: conflict with "kubectl-scale" using apps/v1 at 2023-11-14T22:13:20Z: '
            ".spec.replicas"
        )
        without = deployment()
        del without["spec"]["replicas"]
        given_up = await c.patch(WEB, without, "apply", fieldManager="gitops")
        assert given_up.body["spec"]["replicas"] == 5

    with_server(test)


def test_lists_of_containers_merge_by_name() -> None:
    async def test(c: Client) -> None:
        await c.patch(WEB, deployment(), "apply", fieldManager="one")
        sidecar = {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"template": {"spec": {"containers": [{"name": "side", "image": "envoy"}]}}},
        }  # fmt: skip
        both = (await c.patch(WEB, sidecar, "apply", fieldManager="mesh")).body
        assert [x["name"] for x in both["spec"]["template"]["spec"]["containers"]] == ["c", "side"]
        fields = owners(both)["mesh"]["f:spec"]["f:template"]["f:spec"]["f:containers"]
        assert fields == {'k:{"name":"side"}': {".": {}, "f:image": {}, "f:name": {}}}
        sidecar["spec"] = {}
        one = (await c.patch(WEB, sidecar, "apply", fieldManager="mesh")).body
        assert [x["name"] for x in one["spec"]["template"]["spec"]["containers"]] == ["c"]

    with_server(test)
