"""The door of the compilers: defaults as the API has them, and every problem with its place."""

from __future__ import annotations

import pytest

from netlab.base.errors import InputError
from netlab.base.manifests import parse
from netlab.compile.parse import objects, one

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: x}
spec:
  clusterIP: 10.96.0.1
  ports: [{port: 80}]
---
kind: Deployment
metadata: {name: passed-over}
---
apiVersion: v1
kind: List
items:
- kind: Namespace
  metadata: {name: x}
"""


def test_defaults() -> None:
    found = objects(parse(SERVICE, "web.yaml"))
    (service,) = found.services
    assert (service.type, service.ports[0].protocol, service.ports[0].target) == ("ClusterIP", "tcp", 80)
    assert found.namespaces[0].name == "x"
    assert found.namespace_labels()["x"] == {"kubernetes.io/metadata.name": "x"}


BAD = """kind: Service
metadata: {name: Web_1}
spec:
  type: Clusterip
  clusterIP: 10.96.0.300
  ports:
  - port: 70000
  - port: "80"
  - port: 80
    protocol: ICMP
---
kind: NetworkPolicy
metadata: {name: p}
spec:
  policyTypes: [ingress]
  ingress:
  - from:
    - ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}
      podSelector: {}
    - {}
    ports: [{port: 90, endPort: 80}]
"""


def test_every_problem_at_once_with_its_line() -> None:
    with pytest.raises(InputError) as caught:
        objects(parse(BAD, "bad.yaml"))
    told = str(caught.value)
    for place, words in (
        ("bad.yaml:2", "Web_1"),
        ("bad.yaml:4", "Clusterip"),
        ("bad.yaml:5", "10.96.0.300"),
        ("bad.yaml:7", "70000"),
        ("bad.yaml:8", "'80', expected a number"),
        ("bad.yaml:10", "ICMP"),
        ("bad.yaml:15", "'ingress'"),
        ("bad.yaml:18", "stands beside a selector"),
        ("bad.yaml:18", "11.0.0.0/16"),
        ("bad.yaml:20", "selects nothing"),
        ("bad.yaml:21", "endPort"),
    ):
        assert any(line.startswith(place) and words in line for line in told.splitlines()), (place, words, told)


def test_an_object_of_an_informer_is_named() -> None:
    with pytest.raises(InputError, match="Service x/web"):
        one({"kind": "Service", "metadata": {"name": "web", "namespace": "x"}, "spec": {"ports": [{"port": 0}]}})


@pytest.mark.parametrize("text", ["a: [", "\ta: 1", "a: 1\na: 2"])
def test_no_yaml(text: str) -> None:
    with pytest.raises(InputError, match=r"x\.yaml:"):
        parse(text, "x.yaml")


def test_two_of_one_name() -> None:
    with pytest.raises(InputError, match="another object"):
        objects(parse(SERVICE + "\n---" + SERVICE, "web.yaml"))


def test_S22_S23_balancer_addresses() -> None:
    data = {
        "kind": "Service", "metadata": {"name": "web"},
        "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.1", "ports": [{"port": 80}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}, {"ip": "1.2.3.5", "ipMode": "Proxy"}, {"hostname": "lb"}]}},
    }  # fmt: skip
    assert one(data).balancer_ips == ("1.2.3.4",)


def test_S60_endpoints_objects_are_mirrored() -> None:
    data = {
        "kind": "Endpoints", "metadata": {"name": "web"},
        "subsets": [{"addresses": [{"ip": "1.2.3.4"}], "notReadyAddresses": [{"ip": "fd00::1"}], "ports": [{"port": 80}]}],
    }  # fmt: skip
    four, six = objects([data]).slices
    assert (four.family, four.service, four.endpoints[0].ready) == (4, "web", True)
    assert (six.family, six.endpoints[0].ready) == (6, False)


def test_N1_policy_types() -> None:
    def types(spec: dict[str, object]) -> tuple[bool, bool]:
        policy = one({"kind": "NetworkPolicy", "metadata": {"name": "p"}, "spec": {"podSelector": {}, **spec}})
        return policy.ingress is not None, policy.egress is not None

    assert types({}) == (True, False)
    assert types({"egress": []}) == (True, False)
    assert types({"egress": [{}]}) == (True, True)
    assert types({"policyTypes": ["Egress"]}) == (False, True)
    assert types({"policyTypes": ["Egress"], "ingress": [{}]}) == (False, True)
