"""Bodies that mean harm, and bodies of chance: every one is answered with a Status, and the server lives on."""

import asyncio
import gzip
from typing import Any

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving import DEADLINE, DEPLOYMENTS, MAPS, PODS, Answer, Client, config_map, deployment, pod, serving, with_server

YAML, PROTOBUF = "application/yaml", "application/vnd.kubernetes.protobuf"


def test_bombs_and_giants() -> None:
    async def test(c: Client) -> None:
        lines = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9) if i else 'x'}]" for i in range(9)]
        bomb = "\n".join(["apiVersion: v1", "kind: ConfigMap", "metadata: {name: b}", *lines]).encode()
        deep = (
            b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"d"},"data":'
            + b'{"a":' * 900
            + b"1"
            + b"}" * 901
        )
        deeper = b"[" * 100_000
        large = orjson.dumps(config_map(a="x" * 3_200_000))
        middling = orjson.dumps(config_map(a="x" * 1_600_000))
        cases: list[tuple[Any, int]] = [
            (await c.post(MAPS, bomb, type_=YAML), 400),
            (await c.post(MAPS, deep), 400),
            (await c.post(MAPS, deeper), 400),
            (await c.post(MAPS, deeper, type_=YAML), 400),
            (await c.post(MAPS, large), 413),
            (await c.post(MAPS, middling), 422),
            (await c.post(MAPS, b""), 400),
            (await c.post(MAPS, b"[1]"), 400),
            (await c.post(MAPS, b"null"), 400),
            (await c.post(MAPS, b'{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x"}}'), 400),
            (await c.post(MAPS, b'{"apiVersion":"v2","kind":"ConfigMap","metadata":{"name":"x"}}'), 400),
            (await c.post(MAPS, b'{"metadata":{"name":"\\ud800"}}'), 400),
            (await c.post(MAPS, b"a: 1\na: 2\n", type_=YAML), 400),
            (await c.post(MAPS, b"k8s\x00" + b"\xff" * 40, type_=PROTOBUF), 400),
            (await c.post(MAPS, b"k8s\x00" + b"\x12\xff\xff\xff\xff\x0f", type_=PROTOBUF), 400),
            (await c.post(MAPS, gzip.compress(b"{}" * 10), type_="application/gzip"), 415),
        ]
        for i, (answer, code) in enumerate(cases):
            assert (answer.status, answer.body["kind"]) == (code, "Status"), (i, answer.data[:300])
        assert (await c.get(MAPS)).body["items"] == []

    with_server(test)


def test_paths_lead_nowhere_else() -> None:
    async def test(c: Client) -> None:
        import yarl

        async def raw(path: str) -> int:
            async with c.session.get(yarl.URL(c.url + path, encoded=True), headers=c.headers()) as r:
                await r.read()
                return r.status

        for path in (
            "/api/v1/namespaces/default/configmaps/..%2f..%2fsecrets", "/api/v1/namespaces/%2e%2e/configmaps/x",
            "/api/v1/namespaces/default/pods/a%00b", "/apis/../api/v1/nodes/x", "//api//v1//nodes//x",
            "/api/v1/namespaces/default/configmaps/" + "x" * 5000,
        ):  # fmt: skip
            assert await raw(path) == 404, path

    with_server(test)


def test_yaml_is_read_as_kubernetes_reads_it() -> None:
    async def test(c: Client) -> None:
        body = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: y\ndata:\n  when: '2020-01-01'\n  text: |\n    a\n    b\n"
        made = await c.post(MAPS, body, type_=YAML)
        assert made.body["data"] == {"when": "2020-01-01", "text": "a\nb\n"}
        stamp = body.replace(b"'2020-01-01'", b"2020-01-01").replace(b"name: y", b"name: z")
        assert (await c.post(MAPS, stamp, type_=YAML)).body["data"]["when"] == "2020-01-01"
        shown = await c.get(f"{MAPS}/y", accept="application/yaml")
        assert b"kind: ConfigMap\n" in shown.data

    with_server(test)


def _varint(n: int) -> bytes:
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def test_protobuf_as_clients_send_it() -> None:
    async def test(c: Client) -> None:
        metadata = _field(1, b"p") + _field(2, b"") + _field(11, _field(1, b"app") + _field(2, b"x"))
        data = _field(1, b"k") + _field(2, b"v")
        message = _field(1, metadata) + _field(2, data)
        unknown = _field(1, _field(1, b"v1") + _field(2, b"ConfigMap")) + _field(2, message) + _field(3, b"")
        made = await c.post(MAPS, b"k8s\x00" + unknown, type_=PROTOBUF, accept=f"{PROTOBUF},application/json")
        assert made.status == 201, made.data
        assert made.headers["Content-Type"] == "application/json"
        assert (made.body["data"], made.body["metadata"]["labels"]) == ({"k": "v"}, {"app": "x"})

    with_server(test)


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        found += _paths(inner, (*path, key))
    return found


_BODIES = {MAPS: config_map("f", a="1"), PODS: pod("f"), DEPLOYMENTS: deployment("f")}


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_whatever_stands_in_a_field_is_answered(data: st.DataObject) -> None:
    """One field after another is replaced by chance: the answer is a Status or an object, never a 500."""
    mutations = []
    for _ in range(12):
        where = data.draw(st.sampled_from(list(_BODIES)))
        body = orjson.loads(orjson.dumps(_BODIES[where]))
        path = data.draw(st.sampled_from(_paths(body)))
        node: Any = body
        for step in path[:-1]:
            node = node[step]
        node[path[-1]] = data.draw(_json)
        mutations.append((where, body))

    async def run() -> list[Answer]:
        async with asyncio.timeout(DEADLINE), serving() as c:
            answers = []
            for where, body in mutations:
                try:
                    raw = orjson.dumps(body)
                except TypeError:  # integers beyond 64 bits
                    import json

                    raw = json.dumps(body).encode()
                for query in ({}, {"fieldValidation": "Strict"}):
                    answers.append(await c.post(where, raw, **query))
                answers.append(await c.ask("PATCH", f"{where}/f", raw, type_="application/merge-patch+json"))
                answers.append(await c.ask("PATCH", f"{where}/f", raw, type_="application/strategic-merge-patch+json"))
                answers.append(
                    await c.ask("PATCH", f"{where}/f", raw, type_="application/apply-patch+yaml", fieldManager="m")
                )
            return answers

    for answer in asyncio.run(run()):
        assert answer.status < 500, answer.data
