"""Where a Kubernetes API server is and who asks: from a kubeconfig file, or from inside a pod; and how to write one.

Source: kubernetes.io/docs/reference/config-api/kubeconfig.v1 and client-go tools/clientcmd, rest/config.go. Refused:
users with `exec` or `auth-provider`, which would have this process start others.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import yaml

from netlab.base.errors import InputError, Problem

#: what every pod finds (kubernetes.io/docs/tasks/run-application/access-api-from-pod)
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_OPTIONS = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ApiConfig:
    """One server and one identity. Certificates and key are PEM; what is not used is empty.

    place: where it was read, for messages; server: `https://10.0.0.1:6443`; ca: authorities to trust, the system's
    without; verify: False trusts anybody; server_name: the name to expect in the server's certificate, if it is not the
    server's address; token_file: read again from time to time, for its content changes; namespace: the default one.
    """

    place: str
    server: str
    ca: bytes = b""
    verify: bool = True
    server_name: str = ""
    cert: bytes = b""
    key: bytes = b""
    token: str = ""
    token_file: Path | None = None
    username: str = ""
    password: str = ""
    namespace: str = "default"

    def __repr__(self) -> str:
        # keys and tokens do not belong into logs
        return f"ApiConfig(server={self.server!r}, place={self.place!r})"

    def tls(self) -> ssl.SSLContext | None:
        """For an https server. InputError if certificate or key are none."""
        if not self.server.startswith("https://"):
            return None
        try:
            context = ssl.create_default_context(cadata=self.ca.decode() if self.ca else None)
            if not self.verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if self.cert:
                # Python takes them from files alone
                with tempfile.TemporaryDirectory(prefix="netlab-") as scratch:
                    cert, key = Path(scratch, "cert"), Path(scratch, "key")
                    cert.write_bytes(self.cert)
                    key.touch(0o600)
                    key.write_bytes(self.key)
                    context.load_cert_chain(cert, key)
        except (ssl.SSLError, ValueError, OSError) as e:
            raise InputError(
                [Problem(self.place, f"certificates or key are of no use for TLS: {e}", "they are to be PEM")]
            ) from e
        return context


def find(path: Path | None = None, *, context: str | None = None, environ: Mapping[str, str] = os.environ,
         service_account: Path = SERVICE_ACCOUNT) -> ApiConfig:  # fmt: skip
    """Where kubectl would look: `path`, else $KUBECONFIG, else the pod's service account, else ~/.kube/config."""
    if path is not None:
        return load(path, context=context)
    if named := [Path(part) for part in environ.get("KUBECONFIG", "").split(":") if part]:
        # kubectl merges them; the first that is there is what nearly everybody means
        return load(next((p for p in named if p.exists()), named[0]), context=context)
    if environ.get("KUBERNETES_SERVICE_HOST"):
        return in_cluster(environ=environ, service_account=service_account)
    return load(Path(environ.get("HOME", "/root")) / ".kube" / "config", context=context)


def in_cluster(*, environ: Mapping[str, str] = os.environ, service_account: Path = SERVICE_ACCOUNT) -> ApiConfig:
    """As a pod sees the API server. InputError if this is none."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise InputError("KUBERNETES_SERVICE_HOST is not set: this is no pod", hint="give --kubeconfig-file")
    token_file = service_account / "token"
    if not _read(token_file, "token", str(service_account)).strip():
        raise InputError([Problem(str(token_file), "is empty")])
    ca = _read(service_account / "ca.crt", "ca.crt", str(service_account))
    namespace_file = service_account / "namespace"
    return ApiConfig(
        place=str(service_account),
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        ca=ca,
        token_file=token_file,
        namespace=namespace_file.read_text().strip() if namespace_file.exists() else "default",
    )


def load(path: Path, *, context: str | None = None) -> ApiConfig:
    """From a kubeconfig file; context: another than its current-context. InputError names file and field."""
    try:
        data = yaml.safe_load(_read(path, "", str(path)))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as e:
        raise InputError([Problem(str(path), f"is not YAML: {e}")]) from e
    return _Reading(path, data).config(context)


def renewed(path: Path, cert: bytes, key: bytes) -> bytes:
    """The content of a kubeconfig file, with another certificate for its user."""
    data = yaml.safe_load(_read(path, "", str(path)))
    _Reading(path, data).config(None)  # it says what is wrong with the file
    name = next(c["context"]["user"] for c in data["contexts"] if c["name"] == data["current-context"])
    user = next(user for user in data["users"] if user["name"] == name)
    user["user"] = _by_certificate(cert, key)
    return orjson.dumps(data, option=_OPTIONS)


def kubeconfig(
    server: str, ca: bytes, *, cert: bytes = b"", key: bytes = b"", token: str = "", user: str = "admin",
    name: str = "netlab",
) -> bytes:  # fmt: skip
    """A kubeconfig (as JSON, which is YAML) for one user of one cluster. name: of the cluster and the context."""
    authority = base64.b64encode(ca).decode()
    who = {"token": token} if token else _by_certificate(cert, key)
    return orjson.dumps(
        {
            "apiVersion": "v1", "kind": "Config", "current-context": name, "preferences": {},
            "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": authority}}],
            "users": [{"name": user, "user": who}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
        },
        option=_OPTIONS,
    )  # fmt: skip


def _by_certificate(cert: bytes, key: bytes) -> dict[str, str]:
    return {
        f"client-{name}-data": base64.b64encode(data).decode() for name, data in (("certificate", cert), ("key", key))
    }


def _read(path: Path, field: str, place: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as e:
        what = f"{field}: {path}" if field and place != str(path) else str(path)
        raise InputError([Problem(place, f"{what} cannot be read: {e.strerror}")]) from e


class _Reading:
    """One file. Files that it names are relative to its folder."""

    def __init__(self, path: Path, data: Any) -> None:
        self.path, self.data = path, data

    def fault(self, field: str, message: str, hint: str | None = None) -> InputError:
        return InputError([Problem(str(self.path), f"{field} {message}", hint)])

    def config(self, context: str | None) -> ApiConfig:
        if not isinstance(self.data, dict):
            raise self.fault("the file", "is not a kubeconfig: it has no fields")
        name = context or self.text(self.data, "current-context", "current-context")
        if not name:
            raise self.fault("current-context", "is not set", "kubectl config use-context NAME")
        used = self.named("contexts", "context", name, "current-context" if context is None else "the context given")
        at = f"contexts[{name}].context"
        cluster_name, user_name = self.text(used, "cluster", at), self.text(used, "user", at)
        if not cluster_name:
            raise self.fault(f"{at}.cluster", "is missing")
        cluster = self.named("clusters", "cluster", cluster_name, f"{at}.cluster")
        user = self.named("users", "user", user_name, f"{at}.user") if user_name else {}
        at_cluster, at_user = f"clusters[{cluster_name}].cluster", f"users[{user_name}].user"
        server = self.text(cluster, "server", at_cluster).rstrip("/")
        if not server.startswith(("http://", "https://")):
            raise self.fault(f"{at_cluster}.server", f"is {server!r}, expected https://HOST:PORT")
        for field in ("exec", "auth-provider"):
            if user.get(field):
                raise self.fault(f"{at_user}.{field}", "is not supported", "use a client certificate or a token")
        if cluster.get("proxy-url"):
            raise self.fault(f"{at_cluster}.proxy-url", "is not supported")
        skip = cluster.get("insecure-skip-tls-verify", False)
        if not isinstance(skip, bool):
            raise self.fault(f"{at_cluster}.insecure-skip-tls-verify", f"is {skip!r}, expected true or false")
        cert = self.data_or_file(user, "client-certificate", at_user)
        key = self.data_or_file(user, "client-key", at_user)
        if bool(cert) != bool(key):
            raise self.fault(at_user, "has one of client-certificate and client-key without the other")
        token_file = self.text(user, "tokenFile", at_user)
        if token_file:
            _read(self.file(token_file), f"{at_user}.tokenFile", str(self.path))
        return ApiConfig(
            place=str(self.path),
            server=server,
            ca=self.data_or_file(cluster, "certificate-authority", at_cluster),
            verify=not skip,
            server_name=self.text(cluster, "tls-server-name", at_cluster),
            cert=cert,
            key=key,
            # client-go: the file has precedence
            token="" if token_file else self.text(user, "token", at_user),
            token_file=self.file(token_file) if token_file else None,
            username=self.text(user, "username", at_user),
            password=self.text(user, "password", at_user),
            namespace=self.text(used, "namespace", at) or "default",
        )

    def named(self, listed: str, kind: str, name: str, why: str) -> dict[str, Any]:
        entries = self.data.get(listed) or []
        if not isinstance(entries, list):
            raise self.fault(listed, "is not a list")
        for entry in entries:
            if isinstance(entry, dict) and entry.get("name") == name:
                found = entry.get(kind) or {}
                if not isinstance(found, dict):
                    raise self.fault(f"{listed}[{name}].{kind}", "is not an object")
                return found
        known = ", ".join(str(entry.get("name")) for entry in entries if isinstance(entry, dict))
        raise self.fault(why, f"names {name!r}, which {listed} does not have", f"there are: {known}" if known else None)

    def text(self, data: Mapping[str, Any], field: str, at: str) -> str:
        value = data.get(field)
        if value is None:
            return ""
        if not isinstance(value, str):
            # a token or a password of digits is read by YAML as a number: do not print it
            name = field if field == at else f"{at}.{field}"
            raise self.fault(name, "is not a text", "put it in quotes")
        return value

    def file(self, name: str) -> Path:
        return self.path.parent / name

    def data_or_file(self, data: Mapping[str, Any], field: str, at: str) -> bytes:
        """The field with -data, in base64, which has precedence, or the file that the field names."""
        encoded = self.text(data, f"{field}-data", at)
        if encoded:
            try:
                return base64.b64decode("".join(encoded.split()), validate=True)
            except binascii.Error as e:
                raise self.fault(f"{at}.{field}-data", f"is not base64: {e}") from e
        name = self.text(data, field, at)
        return _read(self.file(name), f"{at}.{field}", str(self.path)) if name else b""
