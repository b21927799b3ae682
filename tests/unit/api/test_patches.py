"""Patches by themselves."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.api import strategic
from netlab.api.managed import compare, merged, said, to_fields, to_tree, type_of_kind, without
from netlab.api.patches import PatchConflict, PatchError, json_patch, merge

POD_SPEC = "io.k8s.api.core.v1.PodSpec"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=2), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("target", "patch", "wanted"),
    [  # RFC 7386, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}), ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}), ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}), ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}), (["a", "b"], ["c", "d"], ["c", "d"]), ({"a": "b"}, ["c"], ["c"]),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}), ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)  # fmt: skip
def test_merge_patch(target: Any, patch: Any, wanted: Any) -> None:
    assert merge(target, patch) == wanted


@given(json_values, json_values)
def test_a_merge_patch_twice_is_a_merge_patch_once(target: Any, patch: Any) -> None:
    before = copy.deepcopy(target)
    once = merge(target, patch)
    assert merge(once, patch) == once
    assert target == before


@pytest.mark.parametrize(
    ("doc", "operation", "wanted"),
    [
        ({"a": [1]}, {"op": "add", "path": "/a/-", "value": 2}, {"a": [1, 2]}),
        ({"a": [1]}, {"op": "add", "path": "/a/0", "value": 2}, {"a": [2, 1]}),
        ({"a/b": 1}, {"op": "remove", "path": "/a~1b"}, {}), ({"a~b": 1}, {"op": "replace", "path": "/a~0b", "value": 2}, {"a~b": 2}),
        ({"a": 1}, {"op": "move", "from": "/a", "path": "/b"}, {"b": 1}),
        ({"a": [1]}, {"op": "copy", "from": "/a", "path": "/b"}, {"a": [1], "b": [1]}),
        ({"a": 1}, {"op": "test", "path": "/a", "value": 1}, {"a": 1}),
    ],
)  # fmt: skip
def test_json_patch(doc: Any, operation: Any, wanted: Any) -> None:
    assert json_patch(doc, [operation]) == wanted


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/a", "value": True}, {"op": "remove", "path": "/x"}, {"op": "replace", "path": "/x", "value": 1},
        {"op": "add", "path": "/x/y", "value": 1}, {"op": "add", "path": "/l/9", "value": 1}, {"op": "remove", "path": "/l/01"},
        {"op": "move", "from": "/m", "path": "/m/n"},
    ],
)  # fmt: skip
def test_a_json_patch_that_does_not_fit(operation: Any) -> None:
    with pytest.raises(PatchConflict):
        json_patch({"a": 1, "l": [1], "m": {}}, [operation])


@given(json_values, json_values)
def test_json_patches_of_chance(doc: Any, operations: Any) -> None:
    try:
        json_patch(doc, operations)
    except (PatchError, PatchConflict):
        pass


def test_strategic_merge() -> None:
    spec = {
        "containers": [{"name": "a", "image": "1", "ports": [{"containerPort": 80}]}, {"name": "b", "image": "2"}],
        "volumes": [{"name": "v", "emptyDir": {}}], "tolerations": [{"key": "x"}],
    }  # fmt: skip

    def patched(patch: Any) -> Any:
        given = copy.deepcopy(patch)
        found = strategic.apply(copy.deepcopy(spec), patch, POD_SPEC)
        assert patch == given
        return found

    ports = {"containers": [{"name": "a", "ports": [{"containerPort": 81}]}]}
    assert patched(ports)["containers"][0]["ports"] == [{"containerPort": 80}, {"containerPort": 81}]
    assert patched({"containers": [{"name": "b", "$patch": "delete"}]})["containers"] == spec["containers"][:1]
    assert patched({"containers": [{"$patch": "replace"}, {"name": "z"}]})["containers"] == [{"name": "z"}]
    volume = {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/"}}]}
    assert patched(volume)["volumes"] == [{"name": "v", "hostPath": {"path": "/"}}]
    assert patched({"tolerations": [{"key": "y"}]})["tolerations"] == [{"key": "y"}]
    assert "volumes" not in patched({"volumes": None})
    order = {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}
    assert [c["name"] for c in patched(order)["containers"]] == ["b", "a"]
    meta = strategic.apply({"finalizers": ["a", "b"]}, {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]},
                           "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")  # fmt: skip
    assert meta == {"finalizers": ["b", "c"]}
    with pytest.raises(PatchError, match="does not contain declared merge key: name"):
        patched({"containers": [{"image": "x"}]})


_containers = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from("abc"), "image": st.sampled_from("xy")}), max_size=3,
    unique_by=lambda c: c["name"],
)  # fmt: skip
_pods = st.fixed_dictionaries(
    {"metadata": st.fixed_dictionaries({"labels": st.dictionaries(st.sampled_from("kl"), st.sampled_from("12"))})},
    optional={"spec": st.fixed_dictionaries({"containers": _containers}, optional={"hostname": st.sampled_from("hi")})},
)


@given(_pods, _pods)
def test_what_is_applied_is_there_afterwards(live: Any, config: Any) -> None:
    type_ = type_of_kind("", "v1", "Pod")
    result = merged(live, config, type_)
    fields: set[Any] = set()
    said(config, type_, (), fields)
    assert set(to_fields(to_tree(frozenset(fields)))) == fields
    changed: set[Any] = set()
    gone: set[Any] = set()
    compare(live, result, type_, (), changed, gone)
    assert not gone
    assert merged(result, config, type_) == result
    rest = without(result, type_, frozenset(fields))
    left: set[Any] = set()
    said(rest, type_, (), left)
    assert not {p for p in left & fields if p[-1].startswith("f:image")}
