"""Certificate requests: what signers accept (pure), and the way of a node from its bootstrap token to its certificates."""

from __future__ import annotations

import asyncio
import datetime
from base64 import b64decode, b64encode
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from controlworld import SECRETS, World, until, world
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from netlab.apiserver import certs
from netlab.client.resources import Resource
from netlab.client.rest import Object
from netlab.controllers import certificates
from netlab.controllers.bootstraptokens import TokenCleaner, expiration
from netlab.controllers.certificates import (
    CLIENT,
    KUBELET_CLIENT,
    KUBELET_SERVING,
    LEGACY,
    Authority,
    RequestError,
    asked,
    check,
    condition,
)
from netlab.controllers.csrapproving import CertificateApproval
from netlab.controllers.csrcleaning import DECIDED, PENDING, CertificateCleaner, expires
from netlab.controllers.csrsigning import CertificateSigning

REQUESTS = Resource("certificates.k8s.io/v1", "certificatesigningrequests")
NODES = Resource("v1", "nodes")
CLIENT_USAGES = ["key encipherment", "digital signature", "client auth"]
SERVING_USAGES = ["digital signature", "server auth"]
NOW = 1_700_000_000.0


def pem(common: str = "system:node:n1", organization: str = "system:nodes", *names: str) -> str:
    """A request, in base64. names: DNS names and addresses."""
    subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([*subject, x509.NameAttribute(NameOID.COMMON_NAME, common)])
    )
    if names:
        found: list[x509.GeneralName] = []
        for name in names:
            if "@" in name:
                found.append(x509.RFC822Name(name))
            elif name[0].isdigit():
                found.append(x509.IPAddress(ip_address(name)))
            else:
                found.append(x509.DNSName(name))
        builder = builder.add_extension(x509.SubjectAlternativeName(found), critical=False)
    request = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return b64encode(request.public_bytes(serialization.Encoding.PEM)).decode()


def a_request(signer: str, usages: list[str], request: str, **spec: Any) -> Object:
    return {"spec": {"signerName": signer, "usages": usages, "request": request, **spec}}


@pytest.mark.parametrize(
    ("signer", "usages", "words", "said"),
    [
        (KUBELET_CLIENT, CLIENT_USAGES, (), ""),
        (KUBELET_CLIENT, ["digital signature", "client auth"], (), ""),
        (KUBELET_CLIENT, ["client auth"], (), "usages did not match"),
        (KUBELET_CLIENT, [*CLIENT_USAGES, "server auth"], (), "usages did not match"),
        (KUBELET_CLIENT, CLIENT_USAGES, ("system:node:n1", "people"), "organization is not system:nodes"),
        (KUBELET_CLIENT, CLIENT_USAGES, ("jane", "system:nodes"), "common name does not begin with system:node:"),
        (KUBELET_CLIENT, CLIENT_USAGES, ("system:node:n1", "system:nodes", "n1"), "are not allowed"),
        (KUBELET_SERVING, SERVING_USAGES, ("system:node:n1", "system:nodes", "n1", "10.0.0.1"), ""),
        (KUBELET_SERVING, SERVING_USAGES, (), "subjectAltName is required"),
        (KUBELET_SERVING, SERVING_USAGES, ("system:node:n1", "system:nodes", "n1", "a@b.c"), "email and URI"),
        (KUBELET_SERVING, CLIENT_USAGES, ("system:node:n1", "system:nodes", "n1"), "usages did not match"),
        (CLIENT, ["client auth"], ("jane", ""), ""),
        (CLIENT, ["server auth"], ("jane", ""), "usages did not match"),
        (LEGACY, ["any"], ("jane", ""), ""),
    ],
)
def test_what_signers_accept(signer: str, usages: list[str], words: tuple[str, ...], said: str) -> None:
    wants = asked(a_request(signer, usages, pem(*words)))
    if not said:
        check(signer, wants)
        return
    with pytest.raises(RequestError, match=said):
        check(signer, wants)


def test_a_certificate(tmp_path: Path) -> None:
    pair = certs.Authority.open(tmp_path).pair
    authority = Authority(pair.cert, pair.key)
    request = a_request(KUBELET_SERVING, SERVING_USAGES, pem("system:node:n1", "system:nodes", "n1", "10.0.0.1"))
    now = datetime.datetime.now(datetime.UTC).timestamp()
    made = x509.load_pem_x509_certificate(authority.sign(certificates.request_of(request), SERVING_USAGES, 3600, now))
    made.verify_directly_issued_by(x509.load_pem_x509_certificate(pair.cert))
    assert made.subject.rfc4514_string() == "CN=system:node:n1,O=system:nodes"
    assert (made.not_valid_after_utc - made.not_valid_before_utc).total_seconds() == 3600 + 300
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["n1"]
    assert made.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    # nobody's certificate outlives its CA's
    late = x509.load_pem_x509_certificate(
        authority.sign(certificates.request_of(request), [], None, now + 3649.5 * 86400)
    )
    assert late.not_valid_after_utc == x509.load_pem_x509_certificate(pair.cert).not_valid_after_utc


def test_when_requests_and_tokens_go() -> None:
    stamp = "2023-11-14T22:13:20Z"
    made: Object = {"metadata": {"creationTimestamp": stamp}}
    assert expires(made) == NOW + PENDING
    made["status"] = {"conditions": [{"type": "Denied", "status": "True", "lastUpdateTime": "2023-11-14T22:13:30Z"}]}
    assert expires(made) == NOW + 10 + DECIDED
    assert expiration({"data": {"expiration": b64encode(stamp.encode()).decode()}}) == NOW
    assert expiration({"data": {}}) is None and expiration({"data": {"expiration": "eA=="}}) == 0.0


async def sent(w: World, name: str, body: Object, user: str = "", groups: tuple[str, ...] = ()) -> None:
    """A request by somebody."""
    headers = {"Impersonate-User": user, **({"Impersonate-Group": groups[0]} if groups else {})} if user else {}
    made = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": name}}
    url, headers = w.server.url + REQUESTS.path(), w.server.headers(headers)
    async with w.server.session.post(url, json={**made, **body}, headers=headers) as response:
        assert response.status == 201, await response.text()


async def certificate(w: World, name: str) -> Any:
    obj = await w.get(REQUESTS, name, "")
    text = ((obj or {}).get("status") or {}).get("certificate")
    return x509.load_pem_x509_certificate(b64decode(text)) if text else None


def test_a_node_comes_with_a_token_and_renews(tmp_path: Path) -> None:
    pair = certs.Authority.open(tmp_path).pair

    async def test() -> None:
        controllers = [CertificateApproval, CertificateSigning, TokenCleaner]
        async with world([]) as w, w.more(controllers, authority=Authority(pair.cert, pair.key)):
            token = {"token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true"}
            await w.make(SECRETS, "bootstrap-token-abcdef", "kube-system", type="bootstrap.kubernetes.io/token",
                         stringData=token)  # fmt: skip
            request = a_request(KUBELET_CLIENT, CLIENT_USAGES, pem())
            bootstrapper, group = "system:bootstrap:abcdef", ("system:bootstrappers",)
            await sent(w, "first", request, bootstrapper, group)
            made = await until(lambda: certificate(w, "first"))
            assert made.subject.rfc4514_string() == "CN=system:node:n1,O=system:nodes"
            # a node asks for itself, and for nobody else
            node, nodes = "system:node:n1", ("system:nodes",)
            await sent(w, "again", a_request(KUBELET_CLIENT, CLIENT_USAGES, pem()), node, nodes)
            await until(lambda: certificate(w, "again"))
            await sent(w, "other", a_request(KUBELET_CLIENT, CLIENT_USAGES, pem("system:node:n2")), node, nodes)
            # where it can be reached is what its Node says, and nobody else's
            for number in (1, 2):
                addresses = [{"type": "Hostname", "address": f"n{number}"},
                             {"type": "InternalIP", "address": f"10.0.0.{number}"}]  # fmt: skip
                await w.client.create(NODES.path(), {"metadata": {"name": f"n{number}"}})
                await w.client.patch(NODES.path("", f"n{number}", "status"), {"status": {"addresses": addresses}})
            for name, where in (("theirs", ("n1", "10.0.0.2")), ("mine", ("n1", "10.0.0.1"))):
                body = a_request(KUBELET_SERVING, SERVING_USAGES, pem(node, "system:nodes", *where))
                await sent(w, name, body, node, nodes)
            await until(lambda: certificate(w, "mine"))
            for name in ("other", "theirs"):
                obj = await w.get(REQUESTS, name, "")
                assert obj is not None and condition(obj, "Approved") is None
            # what a person approves and the signer does not accept
            await sent(w, "wrong", a_request(KUBELET_CLIENT, CLIENT_USAGES, pem("jane", "people")))
            obj = await w.get(REQUESTS, "wrong", "")
            assert obj is not None
            approved = {"type": "Approved", "status": "True", "reason": "Fine", "message": ""}
            await w.client.replace(
                REQUESTS.path("", "wrong", "approval"), {**obj, "status": {"conditions": [approved]}}
            )

            async def failed() -> Any:
                found = await w.get(REQUESTS, "wrong", "")
                return condition(found or {}, "Failed")

            assert (await until(failed))["reason"] == "SignerValidationFailure"
            # a token that has expired
            past = b64encode(b"2020-01-01T00:00:00Z").decode()
            await w.client.patch(SECRETS.path("kube-system", "bootstrap-token-abcdef"), {"data": {"expiration": past}})

            async def gone() -> bool:
                return await w.get(SECRETS, "bootstrap-token-abcdef", "kube-system") is None

            await until(gone)

    asyncio.run(test())


def test_old_requests_go() -> None:
    async def test() -> None:
        async with world([]) as w:
            # by the clock of this server it is long ago
            await sent(w, "old", a_request(KUBELET_CLIENT, CLIENT_USAGES, pem()))
            async with w.more([CertificateCleaner]):

                async def gone() -> bool:
                    return await w.names(REQUESTS, "") == []

                await until(gone)

    asyncio.run(test())
