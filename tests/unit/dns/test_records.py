"""What names mean. Numbers are those of the points in the list of facts about Services and DNS."""

from __future__ import annotations

import pytest
from dnsworld import TEXT, cluster
from hypothesis import given, settings
from hypothesis import strategies as st

from netlab.base.manifests import parse
from netlab.compile.objects import Ref, Value
from netlab.compile.parse import ref, value
from netlab.dns.records import Answer, PodNames, Records, ZoneConfig

RECORDS = Records.of(cluster(), ZoneConfig(), serial=7)
SOA = "ns.dns.cluster.local. hostmaster.cluster.local. 7 7200 1800 86400 5"


def look(name: str, kind: str = "A", records: Records = RECORDS) -> Answer:
    found = records.look(tuple(name.split(".")), kind)
    assert found is not None
    return found


def data(name: str, kind: str = "A", records: Records = RECORDS) -> list[str]:
    found = look(name, kind, records)
    assert found.status == "NOERROR" and not found.authority, found
    return [record.data for record in found.records]


def nothing(name: str, kind: str, status: str, origin: str = "cluster.local") -> None:
    """No answer, and the SOA that says so."""
    found = look(name, kind)
    assert (found.status, found.records) == (status, ())
    (soa,) = found.authority
    assert (soa.name, soa.type, soa.data, soa.ttl) == (origin, "SOA", SOA, 5)


HOSTNAMES = "hostnames.default.svc.cluster.local"
NGINX = "nginx.default.svc.cluster.local"


def test_123_version() -> None:
    (record,) = look("dns-version.cluster.local", "TXT").records
    assert (record.data, record.ttl) == ('"1.1.0"', 28800)
    nothing("dns-version.cluster.local", "A", "NOERROR")


def test_124_cluster_ip_also_without_endpoints() -> None:
    assert data(HOSTNAMES) == ["10.96.0.5"]
    assert data("dual.x.svc.cluster.local") == ["10.96.0.6"]
    assert data("dual.x.svc.cluster.local", "AAAA") == ["fd00:96::6"]


def test_125_srv_of_named_ports() -> None:
    found = look(f"_default._tcp.{HOSTNAMES}", "SRV")
    assert [r.data for r in found.records] == [f"0 100 80 {HOSTNAMES}."]
    assert [(r.name, r.type, r.data) for r in found.additional] == [(HOSTNAMES, "A", "10.96.0.5")]
    assert data(f"_dns._udp.{HOSTNAMES}", "SRV") == [f"0 100 53 {HOSTNAMES}."]
    nothing(f"_default._udp.{HOSTNAMES}", "SRV", "NXDOMAIN")
    nothing(f"default.tcp.{HOSTNAMES}", "SRV", "NXDOMAIN")
    nothing("_._tcp.dual.x.svc.cluster.local", "SRV", "NXDOMAIN")
    # CoreDNS: of the Service's own name, every port; two addresses share one record's weight
    assert data(HOSTNAMES, "SRV") == [f"0 50 80 {HOSTNAMES}.", f"0 50 53 {HOSTNAMES}."]
    dual = look("dual.x.svc.cluster.local", "SRV")
    assert [r.data for r in dual.records] == ["0 50 80 dual.x.svc.cluster.local."]
    assert [r.type for r in dual.additional] == ["A", "AAAA"]


def test_126_ptr_of_a_cluster_ip() -> None:
    assert data("5.0.96.10.in-addr.arpa", "PTR") == [f"{HOSTNAMES}."]
    six = ".".join(reversed("fd000096000000000000000000000006"))
    assert data(f"{six}.ip6.arpa", "PTR") == ["dual.x.svc.cluster.local."]


def test_127_headless_is_its_ready_endpoints() -> None:
    assert sorted(data(NGINX)) == ["10.244.0.30", "10.244.1.30", "10.244.1.31"]
    # without any port there are addresses all the same
    assert len(data("portless.default.svc.cluster.local")) == 3
    nothing("portless.default.svc.cluster.local", "SRV", "NOERROR")


def test_128_headless_without_a_ready_endpoint_does_not_exist() -> None:
    nothing("waiting.default.svc.cluster.local", "A", "NXDOMAIN")


def test_129_publish_not_ready() -> None:
    assert data("eager.default.svc.cluster.local") == ["10.244.1.32"]


def test_130_name_of_an_endpoint() -> None:
    assert data(f"web-0.{NGINX}") == ["10.244.0.30"]
    assert data(f"10-244-1-31.{NGINX}") == ["10.244.1.31"]
    nothing(f"10-244-1-30.{NGINX}", "A", "NXDOMAIN")
    assert data("fd00--7.manual.default.svc.cluster.local", "AAAA") == ["fd00::7"]
    by_pod = Records.of(cluster(), ZoneConfig(endpoint_pod_names=True))
    assert data(f"nameless.{NGINX}", records=by_pod) == ["10.244.1.31"]


def test_130_endpoints_that_share_a_hostname() -> None:
    twins = TEXT.replace("hostname: web-1", "hostname: web-0")
    assert sorted(data(f"web-0.{NGINX}", records=Records.of(cluster(twins), ZoneConfig()))) == [
        "10.244.0.30", "10.244.1.30",
    ]  # fmt: skip


def test_131_headless_srv() -> None:
    found = look(f"_web._tcp.{NGINX}", "SRV")
    assert sorted(r.data for r in found.records) == [
        f"0 33 80 10-244-1-31.{NGINX}.", f"0 33 80 web-0.{NGINX}.", f"0 33 80 web-1.{NGINX}.",
    ]  # fmt: skip
    assert (f"web-0.{NGINX}", "10.244.0.30") in [(r.name, r.data) for r in found.additional]
    nothing("_web._tcp.waiting.default.svc.cluster.local", "SRV", "NXDOMAIN")


def test_132_headless_ptr() -> None:
    names = data("30.0.244.10.in-addr.arpa", "PTR")
    # a pod of two headless Services has two names, of which only one is by its hostname
    assert names == [f"web-0.{NGINX}.", "10-244-0-30.portless.default.svc.cluster.local."]
    nothing("9.9.244.10.in-addr.arpa", "PTR", "NXDOMAIN", "in-addr.arpa")


def test_133_headless_without_a_selector() -> None:
    assert data("manual.default.svc.cluster.local") == ["192.0.2.7"]
    assert data("manual.default.svc.cluster.local", "AAAA") == ["fd00::7"]


def test_134_external_name() -> None:
    name = "my-service.default.svc.cluster.local"
    for kind in ("A", "AAAA", "CNAME", "TXT"):
        found = look(name, kind)
        assert [(r.type, r.data) for r in found.records] == [("CNAME", "my.database.example.com.")]
        assert found.alias == ("" if kind == "CNAME" else "my.database.example.com")
    nothing(f"endpoint.{name}", "A", "NXDOMAIN")
    changed = TEXT.replace("type: ExternalName, externalName: my.database.example.com", "clusterIP: 10.96.0.77")
    assert data(name, records=Records.of(cluster(changed), ZoneConfig())) == ["10.96.0.77"]


def test_134_alias_within_the_cluster() -> None:
    found = look("inward.default.svc.cluster.local")
    assert [(r.name, r.type, r.data) for r in found.records] == [
        ("inward.default.svc.cluster.local", "CNAME", f"{HOSTNAMES}."),
        (HOSTNAMES, "A", "10.96.0.5"),
    ]
    # RFC 6604: the status is that of the last name, and so is the SOA
    gone = look("nowhere.default.svc.cluster.local")
    assert (gone.status, len(gone.records), len(gone.authority)) == ("NXDOMAIN", 1, 1)
    none = look("inward.default.svc.cluster.local", "AAAA")
    assert (none.status, len(none.records), len(none.authority)) == ("NOERROR", 1, 1)
    assert look("round.default.svc.cluster.local").status == "SERVFAIL"


@pytest.mark.parametrize(
    ("pods", "known", "stranger"), [("disabled", 0, 0), ("insecure", 1, 1), ("verified", 1, 0)]
)  # fmt: skip
def test_136_pod_names(pods: PodNames, known: int, stranger: int) -> None:
    records = Records.of(cluster(), ZoneConfig(pods=pods))
    for label, expected in (("10-244-0-30", known), ("10-9-9-9", stranger)):
        found = look(f"{label}.default.pod.cluster.local", records=records)
        assert (found.status, len(found.records)) == (("NOERROR", 1) if expected else ("NXDOMAIN", 0))
    assert look("10-244-0.default.pod.cluster.local", records=records).status == "NXDOMAIN"
    assert look("10-244-0-30.nowhere.pod.cluster.local", records=records).status == "NXDOMAIN"


def test_136_pod_name_of_an_ipv6_address() -> None:
    assert data("fd00--30.default.pod.cluster.local", "AAAA") == ["fd00::30"]
    nothing("fd00--30.default.pod.cluster.local", "A", "NOERROR")


def test_137_case_is_the_askers() -> None:
    found = look("HostNames.Default.SVC.cluster.LOCAL")
    assert [(r.name, r.data) for r in found.records] == [("HostNames.Default.SVC.cluster.LOCAL", "10.96.0.5")]


def test_138_names_that_lead_to_others() -> None:
    for name in ("cluster.local", "svc.cluster.local", "pod.cluster.local", "default.svc.cluster.local",
                 "empty.svc.cluster.local", "empty.pod.cluster.local", "dns.cluster.local",
                 f"_tcp.{HOSTNAMES}"):  # fmt: skip
        nothing(name, "A", "NOERROR")
    for kind in ("TXT", "MX", "CNAME", "ANY", "SOA", "NS"):
        nothing(HOSTNAMES, kind, "NOERROR")
    nothing(f"_default._tcp.{HOSTNAMES}", "A", "NOERROR")


def test_138_names_that_do_not_exist() -> None:
    for name in ("foo.cluster.local", "nowhere.svc.cluster.local", "foo.default.svc.cluster.local",
                 f"_sctp.{HOSTNAMES}", f"_other._tcp.{HOSTNAMES}", f"a._default._tcp.{HOSTNAMES}",
                 "a.b.default.pod.cluster.local"):  # fmt: skip
        for kind in ("A", "SRV", "TXT", "NS"):
            nothing(name, kind, "NXDOMAIN")


def test_139_other_family_is_nodata() -> None:
    nothing(HOSTNAMES, "AAAA", "NOERROR")
    nothing("manual.x.svc.cluster.local", "AAAA", "NXDOMAIN")


def test_140_ttl_soa_and_name_server() -> None:
    assert look(HOSTNAMES).records[0].ttl == 5
    assert look(HOSTNAMES, records=Records.of(cluster(), ZoneConfig(ttl=30))).records[0].ttl == 30
    assert data("cluster.local", "SOA") == [SOA]
    assert data("cluster.local", "NS") == ["ns.dns.cluster.local."]
    alone = Records.of(cluster(), ZoneConfig(addresses=("10.244.0.10",)))
    assert [r.data for r in look("cluster.local", "NS", alone).additional] == ["10.244.0.10"]
    assert data("ns.dns.cluster.local", records=alone) == ["10.244.0.10"]
    service = (
        "\n---\nkind: Service\nmetadata: {name: kube-dns, namespace: kube-system}\nspec: {clusterIP: 10.96.0.10}\n"
    )
    known = Records.of(cluster(TEXT + service), ZoneConfig(addresses=("10.244.0.10",)))
    assert data("ns.dns.cluster.local", records=known) == ["10.96.0.10"]


def test_141_no_wildcards() -> None:
    nothing("*.default.svc.cluster.local", "A", "NXDOMAIN")
    nothing("any.default.svc.cluster.local", "A", "NXDOMAIN")


def test_143_what_is_not_the_clusters() -> None:
    assert RECORDS.look(("example", "com"), "A") is None
    assert RECORDS.look((), "NS") is None
    assert RECORDS.look(("xcluster", "local"), "A") is None
    through = Records.of(cluster(), ZoneConfig(fallthrough=True))
    assert through.look(("9", "9", "244", "10", "in-addr", "arpa"), "PTR") is None
    assert through.look(("10", "in-addr", "arpa"), "NS") is None
    assert data("5.0.96.10.in-addr.arpa", "PTR", through) == [f"{HOSTNAMES}."]


def test_143_reverse_names_that_are_no_addresses() -> None:
    for name in ("05.0.96.10", "256.0.96.10", "1.5.0.96.10", "x.0.96.10", "٣.0.96.10"):
        nothing(f"{name}.in-addr.arpa", "PTR", "NXDOMAIN", "in-addr.arpa")
    nothing("0.96.10.in-addr.arpa", "PTR", "NOERROR", "in-addr.arpa")
    nothing("5.0.96.10.in-addr.arpa", "A", "NOERROR", "in-addr.arpa")
    assert data("in-addr.arpa", "SOA") == [SOA]


def test_149_terminating_endpoints_vanish() -> None:
    leaving = TEXT.replace(
        "metadata: {name: web-0,", 'metadata: {name: web-0, deletionTimestamp: "2024-01-01T00:00:00Z",'
    )
    assert sorted(data(NGINX, records=Records.of(cluster(leaving), ZoneConfig()))) == ["10.244.1.30", "10.244.1.31"]


def test_zone_transfers_are_refused() -> None:
    assert look("cluster.local", "AXFR").status == "REFUSED"


def test_a_deeper_zone() -> None:
    records = Records.of(cluster(), ZoneConfig(zone="k8s.Example.COM."))
    assert data("hostnames.default.svc.k8s.example.com", records=records) == ["10.96.0.5"]
    assert records.look(tuple(HOSTNAMES.split(".")), "A") is None


LABEL = st.sampled_from(
    ["default", "svc", "pod", "cluster", "local", "nginx", "web-0", "_web", "_tcp", "hostnames", "in-addr", "arpa", "ip6",
     "10", "5", "0", "a", "*", "", "dns", "ns", "my-service", "round", "10-244-0-30", "Ünicode"]
) | st.text(max_size=5)  # fmt: skip


@given(st.lists(LABEL, max_size=9), st.sampled_from(["A", "AAAA", "SRV", "PTR", "CNAME", "TXT", "NS", "SOA", "ANY"]))
def test_every_question_has_an_answer_that_is_whole(labels: list[str], kind: str) -> None:
    found = RECORDS.look((*labels, "cluster", "local"), kind)
    assert found is not None
    assert found.status in ("NOERROR", "NXDOMAIN", "SERVFAIL")
    if found.status == "NOERROR":
        types = {r.type for r in found.records}
        assert types <= {kind, "CNAME"}
        # either it ends with an answer, or it goes on elsewhere, or the SOA says that there is none
        assert (kind in types) + bool(found.alias) + bool(found.authority) == 1
    if found.status == "NXDOMAIN":
        # a name that does not exist does not exist for any type
        other = RECORDS.look((*labels, "cluster", "local"), "MX")
        assert other is not None and other.status == "NXDOMAIN"


KINDS = ("A", "AAAA", "SRV", "PTR", "CNAME", "TXT", "NS", "SOA")
#: names of all sorts of what is in the world, and addresses of it
ASKED = [
    *(f"{more}{name}.{space}.svc.cluster.local"
      for name in ("hostnames", "dual", "nginx", "portless", "waiting", "eager", "manual", "my-service", "inward", "round")
      for space in ("default", "x") for more in ("", "web-0.", "web-1.", "_web._tcp.", "_tcp.", "_sql._tcp.", "10-244-1-31.")),
    *(f"{space}.svc.cluster.local" for space in ("default", "x", "empty", "other")),
    *(f"{ip.replace('.', '-')}.{space}.pod.cluster.local" for ip in ("10.244.0.30", "10.244.1.32") for space in ("default", "x")),
    *(".".join(reversed(ip.split("."))) + ".in-addr.arpa"
      for ip in ("10.96.0.5", "10.96.0.6", "10.244.0.30", "10.244.1.30", "10.244.1.31", "10.244.1.32", "192.0.2.7", "192.0.2.8")),
]  # fmt: skip
#: the world's objects, and others of the same names
EARLIER = {ref(m.data): value(m) for m in parse(TEXT, "world.yaml")}
LATER = {ref(m.data): value(m) for m in parse(
    TEXT.replace("10.244.0.30", "10.244.0.31").replace("10.96.0.5", "10.96.0.6").replace("clusterIP: None, selector", "selector")
    .replace("name: by-hand,", "name: by-hand, ").replace("192.0.2.7", "192.0.2.8").replace("hostname: web-1", "hostname: web-0"),
    "later.yaml",
)}  # fmt: skip


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.sampled_from(sorted(EARLIER)), st.sampled_from([EARLIER, LATER, {}])), max_size=25))
def test_names_that_come_and_go_one_by_one_are_as_if_they_had_come_at_once(
    steps: list[tuple[Ref, dict[Ref, Value | None]]],
) -> None:
    config = ZoneConfig(pods="verified")
    followed, there = Records(config, implied=True), dict[Ref, Value | None]()
    followed.take(EARLIER)
    there |= EARLIER
    for at, objects in steps:
        followed.take({at: objects.get(at)})
        there[at] = objects.get(at)
    whole = Records(config, implied=True)
    whole.take(there)
    for name in ASKED:
        for kind in KINDS:
            assert look(name, kind, followed) == look(name, kind, whole), (name, kind)
    assert followed.services == whole.services
