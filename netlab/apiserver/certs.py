"""The cluster's certificate authority, and what it signs: the server, its clients, the keys of tokens.

Keys are ECDSA P-256 (RSA 2048 for tokens, whose readers expect RS256). Files are readable by their owner only.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

#: days that a CA and a leaf are good for
CA_DAYS, LEAF_DAYS = 3650, 365
#: a leaf with less than this many days left is made anew at the next start
RENEW_DAYS = 30

_UTC = datetime.UTC


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, in PEM."""

    cert: bytes
    key: bytes


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _name(common: str, organizations: Sequence[str] = ()) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, o) for o in organizations]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common)])


class Authority:
    """A CA whose files are `ca.crt` and `ca.key` in a directory."""

    def __init__(self, directory: Path, pair: Pair) -> None:
        self.directory, self.pair = directory, pair
        self._cert = x509.load_pem_x509_certificate(pair.cert)
        key = serialization.load_pem_private_key(pair.key, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key

    @classmethod
    def open(cls, directory: Path, name: str = "netlab-ca") -> Authority:
        """The CA in a directory, made if there is none."""
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        cert, key = directory / "ca.crt", directory / "ca.key"
        if not (cert.exists() and key.exists()):
            pair = _make_ca(name)
            _write(key, pair.key)
            _write(cert, pair.cert)
        return cls(directory, Pair(cert.read_bytes(), key.read_bytes()))

    def issue(
        self, common: str, organizations: Sequence[str] = (), *, addresses: Sequence[str] = (), server: bool = False
    ) -> Pair:
        """A certificate for a client, or for a server at these addresses (names or IP addresses)."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(_UTC)
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(common, organizations))
            .issuer_name(self._cert.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=LEAF_DAYS))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if addresses:
            names = x509.SubjectAlternativeName([_alternative(a) for a in addresses])
            builder = builder.add_extension(names, critical=False)
        cert = builder.sign(self._key, hashes.SHA256())
        return Pair(cert.public_bytes(serialization.Encoding.PEM), _pem(key))

    def kept(
        self, name: str, common: str, organizations: Sequence[str] = (), *, addresses: Sequence[str] = (),
        server: bool = False,
    ) -> Pair:  # fmt: skip
        """The certificate in `<name>.crt` and `.key`, made anew if it is missing, old, or for other addresses."""
        cert, key = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        if cert.exists() and key.exists():
            pair = Pair(cert.read_bytes(), key.read_bytes())
            if self._good(pair, addresses):
                return pair
        pair = self.issue(common, organizations, addresses=addresses, server=server)
        _write(key, pair.key)
        _write(cert, pair.cert)
        return pair

    def _good(self, pair: Pair, addresses: Sequence[str]) -> bool:
        cert = x509.load_pem_x509_certificate(pair.cert)
        left = cert.not_valid_after_utc - datetime.datetime.now(_UTC)
        if cert.issuer != self._cert.subject or left < datetime.timedelta(days=RENEW_DAYS):
            return False
        if not addresses:
            return True
        try:
            names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return False
        return {_alternative(a) for a in addresses} <= set(names)


def _alternative(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def _make_ca(name: str) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(_UTC)
    usage = x509.KeyUsage(
        digital_signature=True, key_encipherment=False, content_commitment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    cert = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Pair(cert.public_bytes(serialization.Encoding.PEM), _pem(key))


def token_key(directory: Path) -> bytes:
    """The key that signs tokens (PEM), in `sa.key`, made if there is none."""
    path = directory / "sa.key"
    if not path.exists():
        _write(path, _pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)))
    return path.read_bytes()
