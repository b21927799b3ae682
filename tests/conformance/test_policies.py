"""apimachinery: ValidatingAdmissionPolicy and its bindings."""

from __future__ import annotations

from typing import Any

from lifecycles import fine, lifecycle, made
from serving import DEPLOYMENTS, Client, Json, deployment, with_server

GROUP = "/apis/admissionregistration.k8s.io/v1"
POLICIES = f"{GROUP}/validatingadmissionpolicies"
BINDINGS = f"{GROUP}/validatingadmissionpolicybindings"


def policy(validations: list[Json], **spec: Any) -> Json:
    """A policy for Deployments."""
    resource = {
        "apiGroups": ["apps"],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["deployments"],
    }
    return {
        "metadata": {"name": "e2e"},
        "spec": {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": [resource]}, "validations": validations, **spec},
    }  # fmt: skip


def binding(**spec: Any) -> Json:
    """What puts the policy in force."""
    return {"metadata": {"name": "e2e"}, "spec": {"policyName": "e2e", "validationActions": ["Deny"], **spec}}


async def bound(c: Client, obj: Json) -> None:
    """Make the policy and its binding, and wait until a Deployment with 100 replicas is refused."""
    await made(c, POLICIES, obj)
    await made(c, BINDINGS, binding())
    while (await c.post(DEPLOYMENTS, deployment("probe", 100), dryRun="All")).status == 201:
        pass


def test_validatingadmissionpolicy_deployment() -> None:
    async def test(c: Client) -> None:
        validations = [
            {
                "expression": "object.spec.replicas > 1",
                "messageExpression": "'wants replicas > 1, got ' + string(object.spec.replicas)",
            },
            {"expression": "object.spec.replicas < 100", "message": "too many"},
        ]
        await bound(c, policy(validations))
        refused = await c.post(DEPLOYMENTS, deployment("one", 1))
        assert (refused.status, refused.body["reason"]) == (422, "Invalid")
        assert refused.message == (
            "deployments.apps \"one\" is forbidden: ValidatingAdmissionPolicy 'e2e' with binding 'e2e' denied request: "
            "wants replicas > 1, got 1"
        )
        assert (await c.post(DEPLOYMENTS, deployment("two", 2))).status == 201
        assert (await c.patch(f"{DEPLOYMENTS}/two", {"spec": {"replicas": 1}})).status == 422
        assert (await fine(c.get(f"{DEPLOYMENTS}/two")))["spec"]["replicas"] == 2

    with_server(test)


def test_validatingadmissionpolicy_variables() -> None:
    async def test(c: Client) -> None:
        variables = [{"name": "replicas", "expression": "object.spec.replicas"},
                     {"name": "oddReplicas", "expression": "variables.replicas % 2 == 1"}]  # fmt: skip
        validations = [
            {"expression": "variables.replicas > 1"},
            {"expression": "variables.oddReplicas"},
            {"expression": "variables.replicas < 100"},
        ]
        await bound(c, policy(validations, variables=variables))
        refused = await c.post(DEPLOYMENTS, deployment("even", 2))
        assert refused.status == 422
        assert refused.message.endswith("denied request: failed expression: variables.oddReplicas")
        assert (await c.post(DEPLOYMENTS, deployment("odd", 3))).status == 201

    with_server(test)


def test_validatingadmissionpolicybinding_api() -> None:
    lifecycle("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding",
              "validatingadmissionpolicybindings", {"spec": {"policyName": "p", "validationActions": ["Deny"]}},
              namespaced=False)  # fmt: skip
