"""Creates, updates and deletions through the HTTP door: what is stored, what is answered, what is refused, in which words."""

from typing import Any

from serving import DEPLOYMENTS, MAPS, PODS, Client, config_map, deployment, pod, with_server


def test_a_pod_as_the_original_would_show_it() -> None:
    async def test(c: Client) -> None:
        made = await c.post(PODS, pod())
        assert made.status == 201
        body = made.body
        assert body["metadata"]["uid"]
        assert body["metadata"]["creationTimestamp"] == "2023-11-14T22:13:20Z"
        assert body["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
        assert body["spec"]["containers"][0] == {
            "name": "c", "image": "nginx:1.25", "imagePullPolicy": "IfNotPresent", "resources": {},
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
        }  # fmt: skip
        assert [t["key"] for t in body["spec"]["tolerations"]] == [
            "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable",
        ]  # fmt: skip
        assert body["spec"]["priority"] == 0
        assert body["spec"]["preemptionPolicy"] == "PreemptLowerPriority"
        assert (await c.get(f"{PODS}/p")).body == body

    with_server(test)


def test_errors_in_the_words_of_the_original() -> None:
    async def test(c: Client) -> None:
        await c.post(MAPS, config_map())
        cases: list[tuple[Any, int, str, str]] = [
            (await c.get(f"{MAPS}/no"), 404, "NotFound", 'configmaps "no" not found'),
            (await c.post(MAPS, config_map()), 409, "AlreadyExists", 'configmaps "c" already exists'),
            (
                await c.post("/api/v1/namespaces/nope/configmaps", config_map()), 404, "NotFound",
                'namespaces "nope" not found',
            ),
            (
                await c.post(MAPS, {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "x", "namespace": "y"}}),
                400, "BadRequest",
                "the namespace of the provided object does not match the namespace sent on the request",
            ),
            (
                await c.post(MAPS, config_map("Bad_Name")), 422, "Invalid",
                'ConfigMap "Bad_Name" is invalid: metadata.name: Invalid value: "Bad_Name": a lowercase RFC 1123 '
                "subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with "
                "an alphanumeric character (e.g. 'example.com', regex used for validation is "
                "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            ),
            (
                await c.post(DEPLOYMENTS, {**deployment(), "spec": {**deployment()["spec"], "replicas": "three"}}), 400,
                "BadRequest",
                'Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal string into Go '
                "struct field DeploymentSpec.spec.replicas of type int32",
            ),
            (
                await c.post(PODS, pod(restartPolicy="Sometimes")), 422, "Invalid",
                'Pod "p" is invalid: spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", '
                '"Never", "OnFailure"',
            ),
            (await c.get("/apis/apps/v1/nothing"), 404, "NotFound", "the server could not find the requested resource"),
            (
                await c.ask("POST", f"{MAPS}/c", config_map()), 405, "MethodNotAllowed",
                "the server does not allow this method on the requested resource",
            ),
            (
                await c.post(MAPS, b"{", type_="text/html"), 415, "UnsupportedMediaType",
                "the body of the request was in an unknown format - accepted media types include: application/json, "
                "application/yaml, application/vnd.kubernetes.protobuf",
            ),
        ]  # fmt: skip
        for answer, code, reason, message in cases:
            body = answer.body
            assert (answer.status, body["code"], body["reason"], body["message"]) == (code, code, reason, message)
            assert body["kind"] == "Status"
            assert answer.headers["Content-Type"] == "application/json"

    with_server(test)


def test_causes_name_fields() -> None:
    async def test(c: Client) -> None:
        body = (await c.post(PODS, pod(containers=[{"name": "c"}, {"name": "c", "image": "x"}]))).body
        assert body["message"] == (
            'Pod "p" is invalid: [spec.containers[0].image: Required value, spec.containers[1].name: Duplicate value: "c"]'
        )
        assert body["details"] == {
            "name": "p", "kind": "Pod",
            "causes": [
                {"reason": "FieldValueRequired", "message": "Required value", "field": "spec.containers[0].image"},
                {"reason": "FieldValueDuplicate", "message": 'Duplicate value: "c"', "field": "spec.containers[1].name"},
            ],
        }  # fmt: skip

    with_server(test)


def test_field_validation_strict_warn_ignore() -> None:
    async def test(c: Client) -> None:
        body = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"x":"1","x":"2"},"extra":1}'
        strict = await c.post(MAPS, body, fieldValidation="Strict")
        assert strict.status == 400
        assert strict.message == (
            'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: '
            'duplicate field "data.x", unknown field "extra"'
        )
        warned = await c.post(MAPS, body)
        assert warned.status == 201
        assert warned.warnings == ['duplicate field \\"data.x\\"', 'unknown field \\"extra\\"'] or warned.warnings
        assert warned.body["data"] == {"x": "2"}
        assert "extra" not in warned.body
        ignored = await c.post(MAPS, body.replace(b'"a"', b'"b"'), fieldValidation="Ignore")
        assert (ignored.status, ignored.warnings) == (201, [])
        assert (await c.post(MAPS, body, fieldValidation="Some")).status == 422

    with_server(test)


def test_names_are_generated() -> None:
    async def test(c: Client) -> None:
        obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "job-" + "x" * 70}}
        name = (await c.post(MAPS, obj)).body["metadata"]["name"]
        assert len(name) == 63
        assert set(name[58:]) <= set("bcdfghjklmnpqrstvwxz2456789")

    with_server(test)


def test_a_dry_run_changes_nothing() -> None:
    async def test(c: Client) -> None:
        before = await c.server.store.revision()
        assert (await c.post(MAPS, config_map(), dryRun="All")).status == 201
        assert (await c.get(f"{MAPS}/c")).status == 404
        assert await c.server.store.revision() == before
        await c.post(MAPS, config_map(a="1"))
        patched = await c.patch(f"{MAPS}/c", {"data": {"a": "2"}}, dryRun="All")
        assert patched.body["data"] == {"a": "2"}
        assert (await c.get(f"{MAPS}/c")).body["data"] == {"a": "1"}
        assert (await c.delete(f"{MAPS}/c", dryRun="All")).status == 200
        assert (await c.get(f"{MAPS}/c")).status == 200
        assert (await c.post(MAPS, config_map("z"), dryRun="Some")).status == 422

    with_server(test)


def test_updates_and_their_conflicts() -> None:
    async def test(c: Client) -> None:
        made = (await c.post(MAPS, config_map(a="1"))).body
        stale = {**made, "data": {"a": "2"}}
        assert (await c.put(f"{MAPS}/c", stale)).status == 200
        again = await c.put(f"{MAPS}/c", {**stale, "data": {"a": "3"}})
        assert again.status == 409
        assert again.message == (
            'Operation cannot be fulfilled on configmaps "c": the object has been modified; please apply your changes '
            "to the latest version and try again"
        )
        other = {**made, "metadata": {**made["metadata"], "uid": "other", "resourceVersion": ""}}
        assert (await c.put(f"{MAPS}/c", other)).status == 409
        unconditional = await c.put(f"{MAPS}/c", config_map(a="4"))
        assert unconditional.status == 200
        assert unconditional.body["metadata"]["uid"] == made["metadata"]["uid"]
        assert (await c.put(f"{MAPS}/d", config_map("d"))).status == 404
        assert (await c.put(f"{MAPS}/c", config_map("d"))).message == (
            "the name of the object (d) does not match the name on the URL (c)"
        )

    with_server(test)


def test_a_write_that_changes_nothing_makes_no_revision() -> None:
    async def test(c: Client) -> None:
        made = (await c.post(DEPLOYMENTS, deployment())).body
        for _ in range(2):
            same = (await c.put(f"{DEPLOYMENTS}/web", made)).body
            assert same["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
        patched = await c.patch(f"{DEPLOYMENTS}/web", {"spec": {"replicas": 1}})
        assert patched.body["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]

    with_server(test)


def test_generation_counts_changes_of_the_spec() -> None:
    async def test(c: Client) -> None:
        path = f"{DEPLOYMENTS}/web"
        made = (await c.post(DEPLOYMENTS, {**deployment(), "status": {"replicas": 9}})).body
        assert made["metadata"]["generation"] == 1
        assert made["status"] == {}
        assert (await c.patch(path, {"metadata": {"labels": {"a": "b"}}})).body["metadata"]["generation"] == 1
        assert (await c.patch(path, {"spec": {"replicas": 2}})).body["metadata"]["generation"] == 2
        status = (await c.patch(f"{path}/status", {"status": {"replicas": 2}, "spec": {"replicas": 7}})).body
        assert (status["status"], status["spec"]["replicas"], status["metadata"]["generation"]) == (
            {"replicas": 2},
            2,
            2,
        )
        kept = (await c.patch(path, {"status": {"replicas": 5}})).body
        assert kept["status"] == {"replicas": 2}

    with_server(test)


def test_immutable_fields() -> None:
    async def test(c: Client) -> None:
        await c.post(DEPLOYMENTS, deployment())
        other = {"matchLabels": {"app": "x"}}
        changed = await c.patch(
            f"{DEPLOYMENTS}/web",
            {"spec": {"selector": other, "template": {"metadata": {"labels": {"app": "x"}}}}},
        )
        assert changed.status == 422
        assert "spec.selector: Invalid value:" in changed.message
        assert changed.message.endswith("field is immutable")
        await c.post(PODS, pod())
        refused = await c.patch(f"{PODS}/p", {"spec": {"restartPolicy": "Never"}})
        assert refused.message.startswith(
            'Pod "p" is invalid: spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`'
        )
        assert (await c.patch(f"{PODS}/p", {"spec": {"activeDeadlineSeconds": 5}})).status == 200
        await c.post(MAPS, {**config_map(a="1"), "immutable": True})
        frozen = await c.patch(f"{MAPS}/c", {"data": {"a": "2"}})
        assert "data: Forbidden: field is immutable when `immutable` is set" in frozen.message

    with_server(test)


def test_deletion_with_finalizers() -> None:
    async def test(c: Client) -> None:
        obj = config_map()
        obj["metadata"]["finalizers"] = ["example.com/wait"]
        await c.post(MAPS, obj)
        begun = await c.delete(f"{MAPS}/c")
        assert begun.status == 200
        meta = begun.body["metadata"]
        assert meta["deletionTimestamp"] == "2023-11-14T22:13:20Z"
        assert meta["deletionGracePeriodSeconds"] == 0
        assert (await c.get(f"{MAPS}/c")).status == 200
        async with c.watch(MAPS, resourceVersion=meta["resourceVersion"]) as events:
            ended = await c.patch(f"{MAPS}/c", {"metadata": {"finalizers": None}})
            assert ended.status == 200
            event = await events.next()
        assert event["type"] == "DELETED"
        assert int(event["object"]["metadata"]["resourceVersion"]) > int(meta["resourceVersion"])
        assert (await c.get(f"{MAPS}/c")).status == 404

    with_server(test)


def test_deletion_answers_and_preconditions() -> None:
    async def test(c: Client) -> None:
        made = (await c.post(DEPLOYMENTS, deployment())).body
        uid = made["metadata"]["uid"]
        wrong = await c.delete(f"{DEPLOYMENTS}/web", {"preconditions": {"uid": "x"}})
        assert wrong.status == 409
        assert wrong.message.startswith(
            'Operation cannot be fulfilled on deployments.apps "web": the UID in the precondition (x) does not match the '
            f"UID in record ({uid})."
        )
        gone = (await c.delete(f"{DEPLOYMENTS}/web", {"preconditions": {"uid": uid}})).body
        assert gone == {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "details": {"name": "web", "group": "apps", "kind": "deployments", "uid": uid},
        }  # fmt: skip
        await c.post(DEPLOYMENTS, deployment())
        begun = (await c.delete(f"{DEPLOYMENTS}/web", {"propagationPolicy": "Foreground"})).body
        assert begun["metadata"]["finalizers"] == ["foregroundDeletion"]
        both = await c.delete(f"{DEPLOYMENTS}/web", {"propagationPolicy": "Orphan", "orphanDependents": True})
        assert both.status == 422

    with_server(test)


def test_pods_are_given_their_grace() -> None:
    async def test(c: Client) -> None:
        await c.post(PODS, pod())
        bound = await c.post(f"{PODS}/p/binding", {
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"},
        })  # fmt: skip
        assert (bound.status, bound.body["status"]) == (201, "Success")
        begun = (await c.delete(f"{PODS}/p")).body["metadata"]
        assert begun["deletionGracePeriodSeconds"] == 30
        assert begun["deletionTimestamp"] == "2023-11-14T22:13:50Z"
        shorter = (await c.delete(f"{PODS}/p", {"gracePeriodSeconds": 5})).body["metadata"]
        assert (shorter["deletionGracePeriodSeconds"], shorter["deletionTimestamp"]) == (5, "2023-11-14T22:13:25Z")
        longer = (await c.delete(f"{PODS}/p", {"gracePeriodSeconds": 50})).body["metadata"]
        assert longer["deletionGracePeriodSeconds"] == 5
        await c.delete(f"{PODS}/p", gracePeriodSeconds=0)
        assert (await c.get(f"{PODS}/p")).status == 404

    with_server(test)


def test_a_collection_is_deleted_by_selector() -> None:
    async def test(c: Client) -> None:
        for i in range(4):
            obj = config_map(f"c{i}")
            obj["metadata"]["labels"] = {"odd": str(i % 2)}
            await c.post(MAPS, obj)
        gone = (await c.delete(MAPS, labelSelector="odd=1")).body
        assert [i["metadata"]["name"] for i in gone["items"]] == ["c1", "c3"]
        assert [i["metadata"]["name"] for i in (await c.get(MAPS)).body["items"]] == ["c0", "c2"]

    with_server(test)


def test_namespaces_end_by_their_finalizers() -> None:
    async def test(c: Client) -> None:
        made = (await c.post("/api/v1/namespaces", {"metadata": {"name": "x"}})).body
        assert made["spec"] == {"finalizers": ["kubernetes"]}
        assert made["metadata"]["labels"] == {"kubernetes.io/metadata.name": "x"}
        begun = (await c.delete("/api/v1/namespaces/x")).body
        assert begun["status"]["phase"] == "Terminating"
        refused = await c.post("/api/v1/namespaces/x/configmaps", config_map())
        assert refused.status == 403
        assert refused.message == (
            'configmaps "c" is forbidden: unable to create new content in namespace x because it is being terminated'
        )
        assert refused.body["details"]["causes"][0]["reason"] == "NamespaceTerminating"
        begun["spec"] = {}
        assert (await c.put("/api/v1/namespaces/x/finalize", begun)).status == 200
        assert (await c.get("/api/v1/namespaces/x")).status == 404
        kept = await c.delete("/api/v1/namespaces/default")
        assert kept.message == 'namespaces "default" is forbidden: this namespace may not be deleted'

    with_server(test)


def test_scale() -> None:
    async def test(c: Client) -> None:
        await c.post(DEPLOYMENTS, deployment())
        path = f"{DEPLOYMENTS}/web/scale"
        scale = (await c.get(path)).body
        assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
        assert (scale["spec"], scale["status"]) == ({"replicas": 1}, {"replicas": 0, "selector": "app=web"})
        scale["spec"]["replicas"] = 4
        assert (await c.put(path, scale)).body["spec"] == {"replicas": 4}
        assert (await c.put(path, scale)).status == 409
        assert (await c.patch(path, {"spec": {"replicas": 0}})).body["spec"] == {}
        assert (await c.get(f"{DEPLOYMENTS}/web")).body["spec"]["replicas"] == 0
        assert (await c.patch(path, {"spec": {"replicas": -1}})).status == 422

    with_server(test)


def test_services_are_given_addresses_and_ports() -> None:
    async def test(c: Client) -> None:
        path = "/api/v1/namespaces/default/services"

        def service(name: str, **spec: Any) -> Any:
            return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}

        one = (await c.post(path, service("a"))).body["spec"]
        assert one["clusterIP"].startswith("10.")
        assert one["clusterIPs"] == [one["clusterIP"]]
        assert (one["ipFamilies"], one["ipFamilyPolicy"]) == (["IPv4"], "SingleStack")
        assert one["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
        node = (await c.post(path, service("b", type="NodePort"))).body["spec"]
        assert 30000 <= node["ports"][0]["nodePort"] <= 32767
        taken = await c.post(path, service("c", clusterIP=one["clusterIP"]))
        assert taken.message == (
            f'Service "c" is invalid: spec.clusterIPs: Invalid value: []string{{"{one["clusterIP"]}"}}: failed to allocate IP '
            f"{one['clusterIP']}: provided IP is already allocated"
        )
        headless = (await c.post(path, service("d", clusterIP="None"))).body["spec"]
        assert headless["clusterIPs"] == ["None"]
        kept = await c.put(f"{path}/a", service("a", ports=[{"port": 81}]))
        assert kept.body["spec"]["clusterIP"] == one["clusterIP"]
        moved = await c.patch(f"{path}/a", {"spec": {"clusterIP": "10.96.9.9"}})
        assert moved.status == 422

    with_server(test)
