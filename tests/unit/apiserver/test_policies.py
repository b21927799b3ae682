"""ValidatingAdmissionPolicy: parameters, actions, conditions, and what is said of wrong ones."""

from __future__ import annotations

from typing import Any

from serving import MAPS, Client, Json, config_map, with_server

GROUP = "/apis/admissionregistration.k8s.io/v1"
POLICIES, BINDINGS = f"{GROUP}/validatingadmissionpolicies", f"{GROUP}/validatingadmissionpolicybindings"
SECRETS = "/api/v1/namespaces/default/secrets"


def policy(*validations: Json, name: str = "p", **spec: Any) -> Json:
    """A policy for ConfigMaps."""
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}]
    return {
        "metadata": {"name": name},
        "spec": {"matchConstraints": {"resourceRules": rules}, "validations": list(validations), **spec},
    }


def binding(name: str = "b", policy_name: str = "p", **spec: Any) -> Json:
    """A binding."""
    return {"metadata": {"name": name}, "spec": {"policyName": policy_name, "validationActions": ["Deny"], **spec}}


async def bound(c: Client, obj: Json, *bindings: Json) -> None:
    """Put a policy in force; a last binding, of a policy that refuses a marker, tells that the caches have it."""
    marker = policy({"expression": "object == null || object.metadata.name != 'marker'"}, name="zz")
    for path, each in (
        (POLICIES, obj),
        (POLICIES, marker),
        *((BINDINGS, b) for b in bindings),
        (BINDINGS, binding("zz", "zz")),
    ):
        made = await c.post(path, each)
        assert made.status == 201, made.data
    while (await c.post(MAPS, config_map("marker"), dryRun="All")).status == 201:
        pass


def test_parameters() -> None:
    async def test(c: Client) -> None:
        await c.post(MAPS, config_map("limits", most="2"))
        check = {
            "expression": "size(object.data) <= int(params.data.most)",
            "messageExpression": "'at most ' + params.data.most",
        }
        kind = {"apiVersion": "v1", "kind": "ConfigMap"}
        ref = {"name": "limits", "namespace": "default", "parameterNotFoundAction": "Deny"}
        await bound(c, policy(check, paramKind=kind), binding(paramRef=ref))
        refused = await c.post(MAPS, config_map("x", a="1", b="2", c="3"))
        assert (refused.status, refused.message) == (
            422, "configmaps \"x\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: at most 2",
        )  # fmt: skip
        assert (await c.post(MAPS, config_map("y", a="1"))).status == 201
        assert (await c.post(MAPS, config_map("gone", a="1", b="2", c="3"))).status == 422
        await c.patch(f"{MAPS}/limits", {"data": {"most": "9"}})
        assert (await c.post(MAPS, config_map("z", a="1", b="2", c="3"))).status == 201

    with_server(test)


def test_missing_parameters() -> None:
    async def test(c: Client) -> None:
        kind = {"apiVersion": "v1", "kind": "Secret"}
        ref = {"name": "nope", "namespace": "default", "parameterNotFoundAction": "Deny"}
        await bound(c, policy({"expression": "true"}, paramKind=kind), binding(paramRef=ref))
        refused = await c.post(MAPS, config_map())
        assert "no params found for policy binding with `Deny` parameterNotFoundAction" in refused.message

    with_server(test)


def test_warnings_reasons_and_conditions() -> None:
    async def test(c: Client) -> None:
        check = {"expression": "!('bad' in object.data)", "message": "no bad data", "reason": "Forbidden"}
        conditions = [
            {"name": "not-free", "expression": "object.metadata.name != 'free' && request.operation == 'CREATE'"}
        ]
        await bound(c, policy(check, matchConditions=conditions), binding("warn", validationActions=["Warn"]))
        warned = await c.post(MAPS, config_map("x", bad="1"))
        assert (warned.status, warned.warnings) == (
            201, ["Validation failed for ValidatingAdmissionPolicy 'p' with binding 'warn': no bad data"],
        )  # fmt: skip
        assert (await c.post(MAPS, config_map("free", bad="1"))).warnings == []
        assert (await c.post(BINDINGS, binding("deny"))).status == 201
        while (refused := await c.post(MAPS, config_map("y", bad="1"), dryRun="All")).status == 201:
            pass
        assert (refused.status, refused.body["reason"]) == (403, "Forbidden")

    with_server(test)


def test_expressions_that_fail() -> None:
    async def test(c: Client) -> None:
        await bound(c, policy({"expression": "object.data.nope == 'x'"}), binding())
        refused = await c.post(MAPS, config_map(a="1"))
        assert refused.message.endswith("expression 'object.data.nope == 'x'' resulted in error: no such key: nope")

    with_server(test)


def test_a_namespace_and_an_old_object() -> None:
    async def test(c: Client) -> None:
        checks = (
            {"expression": "namespaceObject.metadata.name == 'default'"},
            {
                "expression": "oldObject == null || object == null || !has(oldObject.data) || oldObject.data.a == object.data.a"
            },
        )
        await bound(c, policy(*checks), binding())
        assert (await c.post(MAPS, config_map(a="1"))).status == 201
        assert (await c.patch(f"{MAPS}/c", {"data": {"a": "2"}})).status == 422
        assert (await c.delete(f"{MAPS}/c")).status == 200

    with_server(test)


def test_what_policies_may_not_say() -> None:
    async def test(c: Client) -> None:
        cases: list[tuple[str, Json, str]] = [
            (POLICIES, policy({"expression": "object.x ="}), "spec.validations[0].expression: Invalid value: \"object.x =\": "
             "compilation failed: ERROR: <input>:1:"),
            (POLICIES, policy({"expression": "nobody.x"}), "undeclared reference to 'nobody.x'"),
            (POLICIES, policy({"expression": "'text'"}), "must evaluate to bool"),
            (POLICIES, policy(), "spec.validations: Required value: validations or auditAnnotations must contain at least one item"),
            (BINDINGS, binding(validationActions=[]), "spec.validationActions: Required value: at least one validation action is "
             "required"),
            (BINDINGS, binding(validationActions=["Deny", "Warn"]), "must not contain both Deny and Warn"),
        ]  # fmt: skip
        for path, wrong, text in cases:
            refused = await c.post(path, wrong)
            assert (refused.status, text in refused.message) == (422, True), refused.message

    with_server(test)
