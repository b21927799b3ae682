"""Custom resources with rules, and with a webhook between their versions."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hooks import hooked
from serving import Client, Json, with_server

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
FOOS = "/apis/e.example.com/v1/namespaces/default/foos"


def definition(spec: Json, *versions: str, **more: Any) -> Json:
    """A definition whose objects have a spec of this schema."""
    schema = {"type": "object", "properties": {"spec": spec}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "foos.e.example.com"},
        "spec": {
            "group": "e.example.com", "scope": "Namespaced", "names": {"kind": "Foo", "plural": "foos"},
            "versions": [
                {"name": v, "served": True, "storage": i == 0, "schema": {"openAPIV3Schema": copy.deepcopy(schema)}}
                for i, v in enumerate(versions or ("v1",))
            ],
            **more,
        },
    }  # fmt: skip


def foo(name: str = "f", version: str = "v1", **spec: Any) -> Json:
    """An object of the definition."""
    return {"apiVersion": f"e.example.com/{version}", "kind": "Foo", "metadata": {"name": name}, "spec": spec}


async def served(c: Client, crd: Json) -> None:
    """Make a definition and wait until its kind is served."""
    made = await c.post(CRDS, crd)
    assert made.status == 201, made.data
    while (await c.get(FOOS)).status != 200:
        pass


SPEC: Json = {
    "type": "object",
    "x-kubernetes-validations": [
        {"rule": "self.low <= self.high", "message": "low must not be above high"},
        {"rule": "self.low >= 0", "fieldPath": ".low", "reason": "FieldValueForbidden",
         "messageExpression": "'low is ' + string(self.low)"},
    ],
    "properties": {
        "low": {"type": "integer"}, "high": {"type": "integer"},
        "fixed": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "Value is immutable"}]},
        "once": {"type": "string", "x-kubernetes-validations": [
            {"rule": "oldSelf.hasValue() || self == 'first'", "optionalOldSelf": True}]},
        "odd-name": {"type": "integer"},
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": {
            "type": "object", "required": ["name"],
            "properties": {"name": {"type": "string"}, "port": {"type": "integer"}},
            "x-kubernetes-validations": [{"rule": "!has(oldSelf.port) || self.port >= oldSelf.port"}]}},
        "labels": {"type": "object", "additionalProperties": {
            "type": "string", "x-kubernetes-validations": [{"rule": "self.size() < 3", "message": "too long"}]}},
    },
}  # fmt: skip


def test_rules() -> None:
    async def test(c: Client) -> None:
        await served(c, definition(SPEC))
        assert (
            await c.post(FOOS, foo(low=1, high=2, fixed="a", once="first", ports=[{"name": "p", "port": 5}]))
        ).status == 201
        cases: list[tuple[Json, str]] = [
            ({"low": 3, "high": 2}, 'spec: Invalid value: "object": low must not be above high'),
            ({"low": -1, "high": 2}, "spec.low: Forbidden: low is -1"),
            ({"low": 1, "high": 2, "once": "other"}, 'spec.once: Invalid value: "string": failed rule: oldSelf.hasValue() || self '
             "== 'first'"),
            ({"low": 1, "high": 2, "labels": {"a": "long"}}, 'spec.labels[a]: Invalid value: "string": too long'),
            ({"high": 2}, 'spec: Invalid value: "object": no such key: low evaluating rule: low must not be above high'),
        ]  # fmt: skip
        for spec, text in cases:
            refused = await c.post(FOOS, foo("x", **spec))
            assert refused.status == 422
            assert text in refused.message
        for change, text in (
            ({"fixed": "b"}, 'spec.fixed: Invalid value: "string": Value is immutable'),
            ({"ports": [{"name": "new", "port": 1}, {"name": "p", "port": 4}]}, 'spec.ports[1]: Invalid value: "object": failed '
             "rule: !has(oldSelf.port) || self.port >= oldSelf.port"),
        ):  # fmt: skip
            refused = await c.patch(f"{FOOS}/f", {"spec": change})
            assert refused.message == f'Foo.e.example.com "f" is invalid: {text}'
        assert (await c.patch(f"{FOOS}/f", {"spec": {"once": "other"}})).status == 200

    with_server(test)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"x-kubernetes-validations": [{"rule": "self.a +"}]}, "properties[spec].x-kubernetes-validations[0].rule: Invalid value: "
         '"self.a +": compilation failed: ERROR: '),
        ({"x-kubernetes-validations": [{"rule": "'text'"}]}, "must evaluate to a bool"),
        ({"x-kubernetes-validations": [{"rule": "true", "fieldPath": ".no"}]}, "fieldPath must be a valid path"),
        ({"properties": {"l": {"type": "array", "items": {
            "type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}}}},
         "oldSelf cannot be used on the uncorrelatable portion of the schema"),
        ({"properties": {"l": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                               "items": {"type": "object"}}}}, "entries must all be names of item properties"),
        ({"properties": {"n": {"type": "integer", "default": "x"}}}, 'default in body must be of type integer: "string"'),
        ({"properties": {"n": {"type": "text"}}}, 'Unsupported value: "text"'),
        ({"anyOf": [{"type": "object"}]}, "anyOf[0].type: Forbidden: must be empty to be structural"),
    ],
)  # fmt: skip
def test_schemas_that_are_refused(change: Json, text: str) -> None:
    async def test(c: Client) -> None:
        refused = await c.post(CRDS, definition({"type": "object", **change}))
        assert (refused.status, text in refused.message) == (422, True), refused.message

    with_server(test)


def test_names_that_are_taken() -> None:
    """Two definitions of one group cannot have one short name: the second is not served until the first is gone."""

    async def test(c: Client) -> None:
        first = definition({"type": "object"})
        first["spec"]["names"]["shortNames"] = ["fo"]
        await served(c, first)
        second = definition({"type": "object"})
        second["metadata"]["name"] = "others.e.example.com"
        second["spec"]["names"] = {"kind": "Other", "plural": "others", "shortNames": ["fo"]}
        assert (await c.post(CRDS, second)).status == 201

        async def accepted(wanted: str) -> Json:
            while True:
                state = (await c.get(f"{CRDS}/others.e.example.com")).body.get("status") or {}
                for condition in state.get("conditions") or ():
                    if (condition["type"], condition["status"]) == ("NamesAccepted", wanted):
                        return dict(condition)

        refused = await accepted("False")
        assert (refused["reason"], refused["message"]) == ("ShortNamesConflict", '"fo" is already in use')
        assert (await c.get(FOOS.replace("foos", "others"))).status == 404
        assert (await c.delete(f"{CRDS}/foos.e.example.com")).status == 200
        await accepted("True")

    with_server(test)


def test_definitions_that_are_refused() -> None:
    async def test(c: Client) -> None:
        plain = {"type": "object", "properties": {"n": {"type": "integer"}, "o": {"type": "object"}}}
        cases: list[tuple[str, Any, str]] = [
            ("subresources", {"scale": {"specReplicasPath": ".status.n", "statusReplicasPath": ".status.n"}},
             "scale.specReplicasPath: Invalid value: \".status.n\": should be a json path under .spec"),
            ("additionalPrinterColumns", [{"name": "N", "type": "text", "jsonPath": ".spec.n"}],
             'additionalPrinterColumns[0].type: Invalid value: "text": must be one of boolean,date,integer,number,string'),
            ("selectableFields", [{"jsonPath": ".spec.no"}], "is an invalid path: does not refer to a valid field"),
            ("selectableFields", [{"jsonPath": ".spec.o"}], "must point to a field of type string, boolean or integer"),
        ]  # fmt: skip
        for name, value, text in cases:
            crd = definition(plain)
            crd["spec"]["versions"][0][name] = value
            refused = await c.post(CRDS, crd)
            assert (refused.status, text in refused.message) == (422, True), refused.message
        conversions: list[tuple[Json, str]] = [
            ({"strategy": "Webhook"}, "spec.conversion.webhook.clientConfig: Required value: required when strategy is set to Webhook"),
            ({"strategy": "Other"}, 'spec.conversion.strategy: Unsupported value: "Other"'),
        ]  # fmt: skip
        for conversion, text in conversions:
            refused = await c.post(CRDS, definition(plain, "v1", "v2", conversion=conversion))
            assert (refused.status, text in refused.message) == (422, True), refused.message

    with_server(test)


def test_a_conversion_that_fails() -> None:
    """What cannot be converted is an error of the request, in lists and in watches, too; what needs none is not asked for."""

    async def test(c: Client) -> None:
        def broken(review: Json) -> Json:
            result = {"status": "Failed", "message": "cannot do that"}
            return {**review, "request": None, "response": {"uid": review["request"]["uid"], "result": result}}

        async with hooked(broken) as hook:
            webhook = {"clientConfig": hook.client(), "conversionReviewVersions": ["v1"]}
            open_ = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
            await served(c, definition(open_, "v1", "v2", conversion={"strategy": "Webhook", "webhook": webhook}))
            assert (await c.post(FOOS, foo())).status == 201
            assert hook.reviews == []
            second = FOOS.replace("/v1/", "/v2/")
            text = "Internal error occurred: conversion webhook for e.example.com/v1, Kind=Foo failed: cannot do that"
            for path in (second, f"{second}/f"):
                failed = await c.get(path)
                assert (failed.status, failed.message) == (500, text)
            assert (await c.post(second, foo("g", "v2"))).status == 500
            assert (await c.get(f"{FOOS}/g")).status == 404
            async with c.watch(second, resourceVersion=await c.server.store.revision()) as events:
                await c.post(FOOS, foo("h"))
                told = await events.next()
            assert (told["type"], told["object"]["message"]) == ("ERROR", text)

    with_server(test)


def test_every_verb_in_the_other_version() -> None:
    """Writes, status, apply and Tables go through the webhook; the store has one version only."""

    def swap(review: Json) -> Json:
        wanted = review["request"]["desiredAPIVersion"]
        objs = copy.deepcopy(review["request"]["objects"])
        for obj in objs:
            new, old = ("new", "old") if wanted.endswith("v2") else ("old", "new")
            if old in obj.get("spec", {}):
                obj["spec"][new] = obj["spec"].pop(old)
            obj["apiVersion"] = wanted
        response = {"uid": review["request"]["uid"], "result": {"status": "Success"}, "convertedObjects": objs}
        return {"apiVersion": review["apiVersion"], "kind": "ConversionReview", "response": response}

    async def test(c: Client) -> None:
        async with hooked(swap) as hook:
            webhook = {"clientConfig": hook.client(), "conversionReviewVersions": ["v1"]}
            crd = definition({"type": "object"}, "v1", "v2", conversion={"strategy": "Webhook", "webhook": webhook})
            for version, name in zip(crd["spec"]["versions"], ("old", "new"), strict=True):
                properties = version["schema"]["openAPIV3Schema"]["properties"]
                properties["spec"]["properties"] = {name: {"type": "string"}}
                version["additionalPrinterColumns"] = [{"name": "X", "type": "string", "jsonPath": f".spec.{name}"}]
            await served(c, crd)
            second = FOOS.replace("/v1/", "/v2/")
            made = await c.post(second, foo(version="v2", new="1"))
            assert (made.status, made.body["spec"], made.body["apiVersion"]) == (201, {"new": "1"}, "e.example.com/v2")
            patched = await c.patch(f"{second}/f", {"spec": {"new": "2"}})
            assert (patched.body["spec"], patched.body["metadata"]["generation"]) == ({"new": "2"}, 2)
            again = await c.patch(f"{second}/f", {"spec": {"new": "2"}})
            assert again.body["metadata"]["resourceVersion"] == patched.body["metadata"]["resourceVersion"]
            applied = await c.patch(f"{second}/f", foo(version="v2", new="3"), "apply", fieldManager="m", force="true")
            assert applied.body["spec"] == {"new": "3"}
            assert (await c.get(f"{FOOS}/f")).body["spec"] == {"old": "3"}
            table = (await c.get(second, accept="application/json;as=Table;v=v1;g=meta.k8s.io")).body
            assert table["rows"][0]["cells"] == ["f", "3"]
            put = applied.body
            put["spec"]["new"] = "4"
            assert (await c.put(f"{second}/f", put)).body["spec"] == {"new": "4"}
            assert (await c.delete(f"{second}/f")).status == 200

    with_server(test)
