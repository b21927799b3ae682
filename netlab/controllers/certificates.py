"""Certificate requests: what each signer asks of one, and the certificate. Pure.

Source: kubernetes pkg/apis/certificates/helpers.go, pkg/controller/certificates/authority.
"""

from __future__ import annotations

import datetime
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from netlab.base.errors import InputError
from netlab.client.rest import Object

_DOMAIN = "kubernetes.io/"
CLIENT, KUBELET_CLIENT = f"{_DOMAIN}kube-apiserver-client", f"{_DOMAIN}kube-apiserver-client-kubelet"
KUBELET_SERVING, LEGACY = f"{_DOMAIN}kubelet-serving", f"{_DOMAIN}legacy-unknown"
SIGNERS = (CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY)
NODE, NODES = "system:node:", "system:nodes"
#: seconds for which a certificate is good if nobody says otherwise, and at least; and by how much clocks may differ
LONGEST, SHORTEST, SKEW = 365 * 86400, 600, 300
_SIGNATURE, _ENCIPHERMENT = "digital signature", "key encipherment"
_EXTENDED = {
    "client auth": ExtendedKeyUsageOID.CLIENT_AUTH, "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "code signing": ExtendedKeyUsageOID.CODE_SIGNING, "email protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "timestamping": ExtendedKeyUsageOID.TIME_STAMPING, "ocsp signing": ExtendedKeyUsageOID.OCSP_SIGNING,
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
}  # fmt: skip
_PLAIN = {
    _SIGNATURE: "digital_signature", "signing": "digital_signature", "content commitment": "content_commitment",
    _ENCIPHERMENT: "key_encipherment", "data encipherment": "data_encipherment", "key agreement": "key_agreement",
    "cert sign": "key_cert_sign", "crl sign": "crl_sign",
}  # fmt: skip


class RequestError(ValueError):
    """What a signer does not accept."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says. names: DNS names; addresses; others: names of other kinds."""

    common: str
    organizations: tuple[str, ...]
    names: tuple[str, ...]
    addresses: tuple[IPv4Address | IPv6Address, ...]
    others: bool
    usages: frozenset[str]


def request_of(obj: Object) -> x509.CertificateSigningRequest:
    """The request in a CertificateSigningRequest. RequestError."""
    try:
        return x509.load_pem_x509_csr(b64decode(obj["spec"]["request"]))
    except (KeyError, ValueError) as e:
        raise RequestError(f"unable to parse csr: {e}") from e


def asked(obj: Object) -> Asked:
    """What it says. RequestError."""
    csr = request_of(obj)

    def subject(oid: x509.ObjectIdentifier) -> tuple[str, ...]:
        return tuple(str(a.value) for a in csr.subject.get_attributes_for_oid(oid))

    try:
        found = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        found = x509.SubjectAlternativeName([])
    names = tuple(found.get_values_for_type(x509.DNSName))
    addresses = tuple(a for a in found.get_values_for_type(x509.IPAddress) if isinstance(a, IPv4Address | IPv6Address))
    return Asked(
        "".join(subject(NameOID.COMMON_NAME)[:1]), subject(NameOID.ORGANIZATION_NAME), names, addresses,
        len(found) > len(names) + len(addresses), frozenset(obj["spec"].get("usages") or ()),
    )  # fmt: skip


def check(signer: str, wants: Asked) -> None:
    """Whether a signer signs it. RequestError with the original's words."""
    match signer:
        case "kubernetes.io/kube-apiserver-client":
            _usages(wants, "client auth", exact=False)
        case "kubernetes.io/kube-apiserver-client-kubelet":
            _of_node(wants)
            if wants.names or wants.addresses or wants.others:
                raise RequestError("DNS, IP, email and URI subject alternative names are not allowed")
            _usages(wants, "client auth", exact=True)
        case "kubernetes.io/kubelet-serving":
            _of_node(wants)
            if not wants.names and not wants.addresses:
                raise RequestError("DNS or IP subjectAltName is required")
            if wants.others:
                raise RequestError("email and URI subject alternative names are not allowed")
            _usages(wants, "server auth", exact=True)
        case _:
            pass


def _of_node(wants: Asked) -> None:
    if wants.organizations != (NODES,):
        raise RequestError("subject organization is not system:nodes")
    if not wants.common.startswith(NODE):
        raise RequestError("subject common name does not begin with system:node:")


def _usages(wants: Asked, needed: str, *, exact: bool) -> None:
    allowed = {needed, _SIGNATURE, _ENCIPHERMENT}
    required = {needed, _SIGNATURE} if exact else {needed}
    if not required <= wants.usages or not wants.usages <= allowed:
        listed = ", ".join(sorted(allowed))
        raise RequestError(f"usages did not match {listed}")


@dataclass(frozen=True, slots=True)
class Authority:
    """Who signs: a certificate and its key, in PEM."""

    cert: bytes
    key: bytes

    @classmethod
    def load(cls, cert: Path, key: Path) -> Authority:
        """Of two files. InputError."""
        try:
            found = cls(cert.read_bytes(), key.read_bytes())
            x509.load_pem_x509_certificate(found.cert)
            serialization.load_pem_private_key(found.key, None)
        except (OSError, ValueError, TypeError) as e:
            raise InputError(f"{cert} and {key} are no CA that can sign: {e}") from e
        return found

    def sign(
        self, csr: x509.CertificateSigningRequest, usages: Sequence[str], seconds: int | None, now: float
    ) -> bytes:
        """The certificate, in PEM. seconds: for which it is to be good; never longer than our own."""
        issuer = x509.load_pem_x509_certificate(self.cert)
        key = serialization.load_pem_private_key(self.key, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
        start = datetime.datetime.fromtimestamp(int(now), datetime.UTC)
        lasts = LONGEST if seconds is None else min(max(int(seconds), SHORTEST), LONGEST)
        builder = (
            x509.CertificateBuilder()
            .subject_name(csr.subject)
            .issuer_name(issuer.subject)
            .public_key(csr.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start - datetime.timedelta(seconds=SKEW))
            .not_valid_after(min(start + datetime.timedelta(seconds=lasts), issuer.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        )
        extended = [_EXTENDED[usage] for usage in usages if usage in _EXTENDED]
        if extended:
            builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
        plain = {_PLAIN[usage] for usage in usages if usage in _PLAIN}
        if plain:
            flags = {name: name in plain for name in (*_PLAIN.values(), "encipher_only", "decipher_only")}
            builder = builder.add_extension(x509.KeyUsage(**flags), critical=True)
        try:
            names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            builder = builder.add_extension(names.value, critical=names.critical)
        except x509.ExtensionNotFound:
            pass
        return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def condition(obj: Object, kind: str) -> Object | None:
    """The condition of a type: Approved, Denied, Failed."""
    return next((c for c in (obj.get("status") or {}).get("conditions") or () if c.get("type") == kind), None)
