"""Where an API server is and who asks: every form of a kubeconfig, and errors that name file and field."""

import base64
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from netlab.base.errors import InputError
from netlab.client.kubeconfig import ApiConfig, find, in_cluster, load

BASE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "lab",
    "clusters": [
        {"name": "c1", "cluster": {"server": "https://10.0.0.1:6443/"}},
        {"name": "c2", "cluster": {"server": "https://10.0.0.2:6443", "insecure-skip-tls-verify": True}},
    ],
    "users": [{"name": "u1", "user": {"token": "t1"}}, {"name": "u2", "user": {"username": "u", "password": "p"}}],
    "contexts": [
        {"name": "lab", "context": {"cluster": "c1", "user": "u1", "namespace": "web"}},
        {"name": "other", "context": {"cluster": "c2", "user": "u2"}},
    ],
}


def written(folder: Path, change: Callable[[Any], object] = lambda data: None) -> Path:
    data = copy.deepcopy(BASE)
    change(data)
    file = folder / "config"
    file.write_text(json.dumps(data))
    return file


def test_contexts(tmp_path: Path) -> None:
    file = written(tmp_path)
    assert load(file) == ApiConfig(place=str(file), server="https://10.0.0.1:6443", token="t1", namespace="web")
    assert load(file, context="other") == ApiConfig(
        place=str(file), server="https://10.0.0.2:6443", verify=False, username="u", password="p"
    )
    assert "t1" not in repr(load(file))


def test_data_and_files(tmp_path: Path) -> None:
    ca = trustme.CA()
    own = ca.issue_cert("client.example")
    ca_pem, cert, key = ca.cert_pem.bytes(), own.cert_chain_pems[0].bytes(), own.private_key_pem.bytes()
    for name, content in (("ca.pem", ca_pem), ("cert.pem", cert), ("key.pem", key), ("token", b"t2\n")):
        (tmp_path / name).write_bytes(content)

    def files(data: Any) -> None:
        # relative to the folder of the kubeconfig, or not
        data["clusters"][0]["cluster"] |= {"certificate-authority": "ca.pem", "tls-server-name": "api"}
        data["users"][0]["user"] = {
            "client-certificate": "cert.pem", "client-key": str(tmp_path / "key.pem"), "token": "no", "tokenFile": "token",
        }  # fmt: skip

    def encoded(data: Any) -> None:
        files(data)
        b64 = {name: base64.b64encode(text).decode() for name, text in (("ca", ca_pem), ("cert", cert), ("key", key))}
        data["clusters"][0]["cluster"] |= {"certificate-authority-data": b64["ca"], "certificate-authority": "/none"}
        data["users"][0]["user"] |= {"client-certificate-data": b64["cert"], "client-key-data": b64["key"]}

    for change in (files, encoded):
        config = load(written(tmp_path, change))
        assert (config.ca, config.cert, config.key, config.server_name) == (ca_pem, cert, key, "api")
        assert (config.token, config.token_file) == ("", tmp_path / "token")
        context = config.tls()
        assert context and context.check_hostname and len(context.get_ca_certs()) == 1


def test_no_tls() -> None:
    assert ApiConfig(place="x", server="http://127.0.0.1:8080").tls() is None
    loose = ApiConfig(place="x", server="https://127.0.0.1", verify=False).tls()
    assert loose and not loose.check_hostname
    with pytest.raises(InputError, match="x: certificates or key"):
        ApiConfig(place="x", server="https://h", cert=b"junk", key=b"junk").tls()
    with pytest.raises(InputError, match="x: certificates or key"):
        ApiConfig(place="x", server="https://h", ca=b"junk").tls()


def _user(**fields: object) -> Callable[[Any], object]:
    return lambda data: data["users"][0]["user"].update({k.replace("_", "-"): v for k, v in fields.items()})


def _cluster(**fields: object) -> Callable[[Any], object]:
    return lambda data: data["clusters"][0]["cluster"].update({k.replace("_", "-"): v for k, v in fields.items()})


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda d: d.update({"current-context": ""}), "current-context is not set"),
        (lambda d: d.update({"current-context": "x"}), "current-context names 'x', which contexts does not have"),
        (lambda d: d.update(contexts="x"), "contexts is not a list"),
        (lambda d: d["contexts"][0].update(context="x"), "contexts[lab].context is not an object"),
        (lambda d: d["contexts"][0].update(context={}), "contexts[lab].context.cluster is missing"),
        (lambda d: d.update(clusters=[]), "contexts[lab].context.cluster names 'c1', which clusters does not have"),
        (lambda d: d.update(users=None), "contexts[lab].context.user names 'u1', which users does not have"),
        (_cluster(server="10.0.0.1"), "clusters[c1].cluster.server is '10.0.0.1', expected https://HOST:PORT"),
        (_cluster(server=7), "clusters[c1].cluster.server is not a text"),
        (_cluster(insecure_skip_tls_verify="yes"), "insecure-skip-tls-verify is 'yes', expected true or false"),
        (_cluster(certificate_authority="none"), "clusters[c1].cluster.certificate-authority: "),
        (_cluster(certificate_authority_data="%"), "clusters[c1].cluster.certificate-authority-data is not base64"),
        (_cluster(proxy_url="http://p"), "clusters[c1].cluster.proxy-url is not supported"),
        (_user(token=12345), "users[u1].user.token is not a text"),
        (_user(client_certificate_data="AAAA"), "users[u1].user has one of client-certificate and client-key"),
        (_user(client_key="none"), "users[u1].user.client-key: "),
        (_user(tokenFile="none"), "users[u1].user.tokenFile: "),
        (_user(exec={"command": "aws"}), "users[u1].user.exec is not supported"),
        (_user(auth_provider={"name": "gcp"}), "users[u1].user.auth-provider is not supported"),
    ],
)
def test_errors_name_file_and_field(tmp_path: Path, change: Callable[[Any], object], expected: str) -> None:
    file = written(tmp_path, change)
    with pytest.raises(InputError) as found:
        load(file)
    assert str(found.value).startswith(f"{file}: ") and expected in str(found.value)
    assert "12345" not in str(found.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"a: [", b"\xff\xfe\x00", b"x", b"{" * 1500])
def test_what_is_no_kubeconfig(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "config"
    file.write_bytes(content)
    with pytest.raises(InputError, match="config: "):
        load(file)
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path / "none")
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path)


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["c1", "u1", "lab"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["name", "cluster", "user", "server"]), inner),
    max_leaves=8,
)  # fmt: skip


@settings(deadline=None)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("current-context", "clusters", "users", "contexts"), _values)))
def test_any_object_is_a_config_or_an_input_error(tmp_path_factory: pytest.TempPathFactory, data: object) -> None:
    file = tmp_path_factory.getbasetemp() / "fuzzed"
    file.write_text(json.dumps(data))
    try:
        load(file, context="lab")
    except InputError:
        return


def test_where_it_looks(tmp_path: Path) -> None:
    account = tmp_path / "account"
    account.mkdir()
    file = written(tmp_path)
    home = {"HOME": str(tmp_path / "home")}
    (tmp_path / "home" / ".kube").mkdir(parents=True)
    written(tmp_path / "home" / ".kube", lambda d: d["clusters"][0]["cluster"].update(server="https://home"))
    pod = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    assert find(environ=home).server == "https://home"
    assert find(file, environ=home).server == "https://10.0.0.1:6443"
    assert find(environ={**home, "KUBECONFIG": f"{tmp_path}/none:{file}"}).server == "https://10.0.0.1:6443"
    with pytest.raises(InputError, match=r"token: .*cannot be read"):
        find(environ={**home, **pod}, service_account=account)
    (account / "token").write_text("\n")
    with pytest.raises(InputError, match="is empty"):
        in_cluster(environ=pod, service_account=account)
    (account / "token").write_text("secret")
    (account / "ca.crt").write_bytes(trustme.CA().cert_pem.bytes())
    (account / "namespace").write_text("kube-flannel")
    config = find(environ={**home, **pod}, service_account=account)
    assert (config.server, config.namespace) == ("https://10.96.0.1:443", "kube-flannel")
    assert config.token_file == account / "token" and config.tls()
    six = in_cluster(environ={"KUBERNETES_SERVICE_HOST": "fd00::1"}, service_account=account)
    assert six.server == "https://[fd00::1]:443"
    with pytest.raises(InputError, match="this is no pod"):
        in_cluster(environ={}, service_account=account)
