"""Variables: their order, what they may refer to, and what is said when that is missing."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from ipaddress import ip_address
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from makingworld import NODE, Given, pod

from netlab.api import Json
from netlab.kubelet.making import Missing, env, fields, links
from netlab.kubelet.making.expansion import expand, from_mappings

IPS = (ip_address("10.244.1.7"), ip_address("2001:db8:1::7"))


def by_the_letter(text: str, known: dict[str, str]) -> str:
    """The syntax read one character after the other, as the documentation tells it."""
    out, at = "", 0
    while at < len(text):
        if text[at] != "$" or at + 1 == len(text):
            out, at = out + text[at], at + 1
        elif text[at + 1] == "$":
            out, at = out + "$", at + 2
        elif text[at + 1] == "(" and ")" in text[at + 2 :]:
            end = text.index(")", at + 2)
            name = text[at + 2 : end]
            out, at = out + known.get(name, f"$({name})"), end + 1
        else:
            out, at = out + "$", at + 1
    return out


@given(
    st.text("$()AB x", max_size=24), st.dictionaries(st.sampled_from(["A", "B", "AB", ""]), st.text("$()x", max_size=4))
)
def test_expansion_is_by_the_letter(text: str, known: dict[str, str]) -> None:
    assert expand(text, known.get) == by_the_letter(text, known)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("$(A)-$(B)", "1-2"), ("$$(A)", "$(A)"), ("$$$(A)", "$1"), ("$(NONE)", "$(NONE)"), ("$(A", "$(A"),
        ("$A", "$A"), ("5$", "5$"), ("$(A)$(A)", "11"),
    ],
)  # fmt: skip
def test_expansion(text: str, wanted: str) -> None:
    assert expand(text, from_mappings({"A": "1"}, {"A": "9", "B": "2"})) == wanted


def variables(
    container: Json, world: Given | None = None, *, told: dict[str, str] | None = None, warned: list[str] | None = None
) -> Json:
    made = pod({"resources": {}, **container})
    warnings = [] if warned is None else warned
    return env.variables(
        made, made["spec"]["containers"][0], world or Given(), NODE, ips=IPS, links=told or {},
        tell=lambda *said: warnings.append(": ".join(said)),
    )  # fmt: skip


def test_the_order_of_variables() -> None:
    world = Given()
    world.put("configmap", "one", data={"A": "one", "B": "one", "odd.key-1": "x", "not=possible": "y"})
    world.put_secret("two", B="two", C="two")
    warned: list[str] = []
    found = variables(
        {
            "envFrom": [{"configMapRef": {"name": "one"}}, {"prefix": "P_", "secretRef": {"name": "two"}},
                        {"secretRef": {"name": "two"}}],
            "env": [
                {"name": "C", "value": "own $(B) $(LATER) $(WEB_SERVICE_HOST)"}, {"name": "LATER", "value": "$(C)$$"},
                {"name": "EMPTY"}, {"name": "WEB_PORT", "value": "mine"},
            ],
        },
        world, told={"WEB_SERVICE_HOST": "10.96.0.7", "WEB_PORT": "tcp://"}, warned=warned,
    )  # fmt: skip
    assert found == {
        "A": "one", "B": "two", "odd.key-1": "x", "P_B": "two", "P_C": "two", "C": "own two $(LATER) 10.96.0.7",
        "LATER": "own two $(LATER) 10.96.0.7$", "EMPTY": "", "WEB_PORT": "mine", "WEB_SERVICE_HOST": "10.96.0.7",
    }  # fmt: skip
    assert warned == [
        "InvalidEnvironmentVariableNames: Keys [not=possible] from the EnvFrom configMap default/one were skipped since "
        "they are considered invalid environment variable names."
    ]


@pytest.mark.parametrize(
    ("container", "said"),
    [
        ({"envFrom": [{"configMapRef": {"name": "none"}}]}, 'configmap "none" not found'),
        ({"envFrom": [{"secretRef": {"name": "none"}}]}, 'secret "none" not found'),
        (
            {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "k"}}}]},
            'configmap "none" not found',
        ),
        (
            {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "none", "key": "k"}}}]},
            'secret "none" not found',
        ),
        (
            {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "one", "key": "k"}}}]},
            "couldn't find key k in ConfigMap default/one",
        ),
        (
            {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "two", "key": "k"}}}]},
            "couldn't find key k in Secret default/two",
        ),
        (
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.no"}}}]},
            "unsupported fieldPath: spec.no",
        ),
    ],
)
def test_what_is_missing_is_named_and_forgiven_if_it_is_optional(container: Json, said: str) -> None:
    world = Given()
    world.put("configmap", "one", data={"a": "b"})
    world.put_secret("two", a="b")
    with pytest.raises(Missing) as lacking:
        variables(container, world)
    assert (str(lacking.value), lacking.value.reason) == (said, "CreateContainerConfigError")
    for source in container.get("envFrom", ()):
        next(iter(source.values()))["optional"] = True
    for entry in container.get("env", ()):
        next(iter(entry["valueFrom"].values()))["optional"] = True
    if "fieldPath" not in said:
        assert variables(container, world) == {}


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("metadata.name", "web-0"), ("metadata.namespace", "default"), ("metadata.uid", "u1"),
        ("metadata.labels['app']", "web"), ("metadata.labels['none']", ""), ("metadata.annotations['x.y/z']", ""),
        ("spec.nodeName", "node1"), ("spec.serviceAccountName", "default"), ("status.hostIP", "192.0.2.11"),
        ("status.hostIPs", "192.0.2.11,2001:db8::11"), ("status.podIP", "10.244.1.7"),
        ("status.podIPs", "10.244.1.7,2001:db8:1::7"),
    ],
)  # fmt: skip
def test_fields_of_the_pod(path: str, wanted: str) -> None:
    assert variables({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": path}}}]}) == {"A": wanted}


def test_a_pod_on_the_hosts_network_has_the_hosts_addresses() -> None:
    made = pod(hostNetwork=True)
    assert fields.field(made, "status.podIP", node="n", node_ips=NODE.ips, ips=()) == "192.0.2.11"


def test_maps_as_files_are_quoted_as_go_does() -> None:
    assert fields.file(pod(), "metadata.labels") == 'app="web"\ntier="a \\"b\\""'
    assert fields.quoted('a\n\t"\\é\u200b\x01') == '"a\\n\\t\\"\\\\é\\u200b\\x01"'


@pytest.mark.parametrize(
    ("resource", "divisor", "wanted"),
    [
        ("limits.cpu", None, "1"), ("limits.cpu", "1m", "250"), ("requests.cpu", "1m", "100"),
        ("limits.memory", "1Mi", "64"), ("limits.memory", None, str(64 << 20)), ("requests.memory", "1Ki", "32768"),
        ("limits.ephemeral-storage", "1Gi", "10"), ("requests.ephemeral-storage", None, "0"),
        ("limits.hugepages-2Mi", None, "0"),
    ],
)  # fmt: skip
def test_resources_in_units(resource: str, divisor: str | None, wanted: str) -> None:
    resources = {"limits": {"cpu": "250m", "memory": "64Mi"}, "requests": {"cpu": "100m", "memory": "32Mi"}}
    ref = {"resource": resource, **({"divisor": divisor} if divisor else {})}
    source = {"env": [{"name": "A", "valueFrom": {"resourceFieldRef": ref}}], "resources": resources}
    assert variables(source) == {"A": wanted}


def test_a_limit_that_is_not_set_is_what_the_node_has() -> None:
    def told(resource: str) -> str:
        return fields.resource({}, {"resource": resource, "divisor": "1"}, {"cpu": "1500m", "memory": "4Gi"})

    assert [told(r) for r in ("limits.cpu", "limits.memory", "requests.cpu")] == ["2", str(4 << 30), "0"]
    with pytest.raises(fields.Unsupported, match=r"unsupported container resource : limits\.disk"):
        told("limits.disk")


@given(st.integers(1, 10**7), st.integers(1, 10**5))
def test_processors_are_divided_as_thousandths(amount: int, divisor: int) -> None:
    container = {"resources": {"limits": {"cpu": f"{amount}m"}}}
    told = fields.resource(container, {"resource": "limits.cpu", "divisor": f"{divisor}m"}, {})
    assert told == str(ceil(Fraction(amount, divisor)))


def service(name: str, ip: str, *ports: tuple[str, int, str], namespace: str = "default") -> Json:
    listed = [{"name": n, "port": p, "protocol": proto} for n, p, proto in ports]
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"clusterIP": ip, "ports": listed}}


MASTER = service("kubernetes", "10.96.0.1", ("https", 443, "TCP"))


def test_services_as_variables() -> None:
    db = service("my-db", "10.96.0.9", ("sql", 3306, "TCP"), ("x-y", 53, "UDP"))
    found = links.variables("default", [db, MASTER, service("none", "None", ("", 1, "TCP"))], [MASTER], linked=True)
    assert {k: v for k, v in found.items() if k.startswith("MY_DB")} == {
        "MY_DB_SERVICE_HOST": "10.96.0.9", "MY_DB_SERVICE_PORT": "3306", "MY_DB_SERVICE_PORT_SQL": "3306",
        "MY_DB_SERVICE_PORT_X_Y": "53", "MY_DB_PORT": "tcp://10.96.0.9:3306",
        "MY_DB_PORT_3306_TCP": "tcp://10.96.0.9:3306", "MY_DB_PORT_3306_TCP_PROTO": "tcp",
        "MY_DB_PORT_3306_TCP_PORT": "3306", "MY_DB_PORT_3306_TCP_ADDR": "10.96.0.9",
        "MY_DB_PORT_53_UDP": "udp://10.96.0.9:53", "MY_DB_PORT_53_UDP_PROTO": "udp", "MY_DB_PORT_53_UDP_PORT": "53",
        "MY_DB_PORT_53_UDP_ADDR": "10.96.0.9",
    }  # fmt: skip
    assert found["KUBERNETES_SERVICE_HOST"] == "10.96.0.1" and "NONE_SERVICE_HOST" not in found


def test_without_links_there_is_the_server_and_elsewhere_the_namespaces_own() -> None:
    other = service("other", "10.96.0.8", ("", 1, "TCP"))
    found = links.variables("default", [other, MASTER], [other, MASTER], linked=False)
    assert {name.partition("_")[0] for name in found} == {"KUBERNETES"}
    own = service("kubernetes", "2001:db8::5", ("", 80, "TCP"), namespace="team")
    found = links.variables("team", [own], [MASTER], linked=True)
    assert found["KUBERNETES_PORT"] == "tcp://[2001:db8::5]:80"


def test_the_node_is_named_although_the_pod_does_not_say_it() -> None:
    made = pod()
    del made["spec"]["nodeName"]
    node = replace(NODE, name="other")
    assert fields.field(made, "spec.nodeName", node=node.name, node_ips=(), ips=()) == "other"
