"""How a machine becomes a node of a cluster that it knows by address, token and the fingerprint of its authority.

    cluster-info, asked of anybody ─▶ the authority, if its fingerprint is the one that was told
    token ─▶ no other machine is the node of that name
    token ─▶ certificate request ─▶ approved and signed by the cluster ─▶ the node's kubeconfig
    as the node ─▶ the cluster's networks, and later a certificate to serve with, for the addresses that its Node has

As kubeadm join, without its preflight. What it gets is in one directory, so that the next start needs no token.
"""

from __future__ import annotations

import asyncio
import base64
import datetime
import hashlib
import logging
import re
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from netlab.base.errors import ConflictError, InputError, MachineError, NetlabError, Problem
from netlab.base.lockedfiles import put
from netlab.client.kubeconfig import ApiConfig, kubeconfig, load
from netlab.client.resources import Resource
from netlab.client.rest import ApiError, ApiUnavailable, RestClient, path
from netlab.daemons.renewing import expiry

REQUESTS = Resource("certificates.k8s.io/v1", "certificatesigningrequests")
CLIENT, SERVING = "kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving"
#: seconds in which a certificate has to come, and between two looks
PATIENCE, LOOK = 120.0, 0.1
NODE, NODES = "system:node:", "system:nodes"
#: where an API server is if nothing else is said
PORT = 6443
_TOKEN, _HASH = re.compile(r"[a-z0-9]{6}\.[a-z0-9]{16}"), re.compile(r"sha256:[0-9a-f]{64}")
#: `netlab token` makes one where `netlab server` runs, and `netlab cluster token` for a cluster of one machine
ANOTHER = "netlab token, on the server's machine, prints a new command"
#: of OpenSSL's x509_vfy.h: not good yet, and no longer
_NOT_YET, _EXPIRED = 9, 10
log = logging.getLogger("agent")


@dataclass(frozen=True, slots=True)
class Invitation:
    """server: https://HOST:PORT; token: a bootstrap token; ca_hash: `sha256:` and the hash of the authority's key."""

    server: str
    token: str
    ca_hash: str

    @classmethod
    def parse(cls, server: str, token: str, ca_hash: str) -> Invitation:
        """As it is typed: of the server its address is enough. InputError with all that is wrong."""
        problems = []
        parts = urlsplit(server if "://" in server else f"https://{_host(server)}")
        try:
            port = parts.port or PORT
        except ValueError:
            port = 0
        if parts.scheme != "https" or not parts.hostname or not port or parts.path.strip("/"):
            problems.append(
                Problem("--join", f"{server!r} is no API server", "expected ADDRESS or https://ADDRESS:PORT")
            )
        if not _TOKEN.fullmatch(token):
            problems.append(Problem("--token", "is no bootstrap token, expected abcdef.0123456789abcdef", ANOTHER))
        if not _HASH.fullmatch(ca_hash.lower()):
            problems.append(Problem("--ca-hash", f"{ca_hash!r} is none, expected sha256: and 64 digits", ANOTHER))
        if problems:
            raise InputError(problems)
        return cls(f"https://{_host(parts.hostname or '')}:{port}", token, ca_hash.lower())

    @property
    def host(self) -> str:
        """The server's address or name."""
        return urlsplit(self.server).hostname or ""

    def command(self) -> str:
        """What a person types on the machine that is to become a node."""
        return f"netlab agent --this-machine --join {self.server} --token {self.token} --ca-hash {self.ca_hash}"


def _host(text: str) -> str:
    """As a URL has it."""
    try:
        return f"[{text}]" if ip_address(text).version == 6 else text
    except ValueError:
        return text


def fingerprint(ca: bytes) -> str:
    """An authority's, as kubeadm has it: of its public key."""
    key = x509.load_pem_x509_certificate(ca).public_key()
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return f"sha256:{hashlib.sha256(der).hexdigest()}"


def joined(server: str, ca_hash: str, directory: Path) -> bool:
    """Whether what is in the directory is a node of that cluster already, by that server, and can still say so."""
    try:
        known = load(directory / "kubelet.conf")
        good = expiry(known.cert) > datetime.datetime.now(datetime.UTC)
        return good and known.server == server and fingerprint(known.ca) == ca_hash
    except (InputError, ValueError):
        return False


async def join(invitation: Invitation, node: str, directory: Path, *, machine: str) -> ApiConfig:
    """Become that node: ca.crt and kubelet.conf in the directory. machine: this one's id.

    InputError if the authority is another one or the token is not good, ConflictError if another machine is that node,
    MachineError if this one's clock is wrong, NetlabError if the server cannot be reached or no certificate comes.
    """
    ca = await _authority(invitation)
    config = ApiConfig(place=invitation.server, server=invitation.server, ca=ca, token=invitation.token)
    async with _asking(config) as client:
        await _free(client, node, machine)
        cert, key = await certificate(client, node, CLIENT, ())
    put(directory / "ca.crt", ca)
    written = kubeconfig(invitation.server, ca, cert=cert, key=key, user=f"{NODE}{node}")
    put(directory / "kubelet.conf", written, mode=0o600)
    # of another cluster's, perhaps; the agent asks for its own
    (directory / "kubelet.crt").unlink(missing_ok=True)
    return replace(config, token="", cert=cert, key=key)


@asynccontextmanager
async def _asking(config: ApiConfig) -> AsyncIterator[RestClient]:
    """A client, whose errors say what a person who joins a machine can do about them."""
    client = RestClient(config, user_agent="netlab-agent")
    try:
        yield client
    except ApiUnavailable as e:
        raise _unreachable(config.server, e) from e
    except ApiError as e:
        if e.code == 401 and config.token:
            text = f"{config.server} does not know this token: it is wrong, or has expired"
            raise InputError([Problem("--token", text, ANOTHER)]) from e
        raise
    finally:
        await client.aclose()


def _unreachable(server: str, error: ApiUnavailable) -> NetlabError:
    cause = error.__cause__
    wrong = cause.certificate_error if isinstance(cause, aiohttp.ClientConnectorCertificateError) else None
    if isinstance(wrong, ssl.SSLCertVerificationError) and wrong.verify_code in (_NOT_YET, _EXPIRED):
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        when = "not good yet" if wrong.verify_code == _NOT_YET else "no longer good"
        return MachineError(
            f"the certificate of {server} is {when} by this machine's clock, which says {now}",
            hint="set the clocks of both machines: timedatectl set-ntp true",
        )
    if wrong is not None:
        return NetlabError(f"{server}: {wrong}", hint="join it by an address that its certificate has: --tls-san there")
    host = urlsplit(server)
    return NetlabError(
        f"{server} cannot be reached: {error.message}",
        hint=f"is `netlab server` running there? Can this machine reach it: ping {host.hostname}, and a firewall that "
        f"lets TCP port {host.port} through?",
    )


async def _authority(invitation: Invitation) -> bytes:
    """The authority's certificate, which anybody may have told us: it is believed for its fingerprint alone."""
    blind = ApiConfig(place=invitation.server, server=invitation.server, verify=False)
    try:
        async with _asking(blind) as client:
            found = await client.get(path("v1", "configmaps", namespace="kube-public", name="cluster-info"))
        config = orjson.loads(found["data"]["kubeconfig"])
        ca = base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"])
        seen = fingerprint(ca)
    except ApiError as e:
        text = f"{invitation.server} does not tell who it is: {e.message}"
        raise InputError([Problem("--join", text, "a netlab server without --no-nodes does, and kubeadm's")]) from e
    except (KeyError, IndexError, ValueError) as e:
        raise InputError(f"{invitation.server}: its ConfigMap cluster-info makes no sense: {e}") from e
    if seen != invitation.ca_hash:
        text = f"the authority of {invitation.server} is {seen}, expected {invitation.ca_hash}"
        raise InputError([Problem("--ca-hash", text, "somebody else may answer there: ask who runs the cluster")])
    return ca


async def _free(client: RestClient, node: str, machine: str) -> None:
    """ConflictError if another machine is that node, and is well."""
    try:
        found = await client.get(path("v1", "nodes", name=node))
    except ApiError as e:
        # 403: a cluster that does not let us look
        if e.code in (403, 404):
            return
        raise
    status = found.get("status") or {}
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ())
    if ready and (status.get("nodeInfo") or {}).get("machineID") != machine:
        where = ", ".join(a["address"] for a in status.get("addresses") or () if a["type"] == "InternalIP")
        raise ConflictError(
            f"another machine is node {node} already, and is Ready: {where}",
            hint=f"--node-name gives this one another; or kubectl delete node {node}, once the other is off",
        )


async def certificate(
    client: RestClient, node: str, signer: str, addresses: Sequence[str], *, patience: float = PATIENCE
) -> tuple[bytes, bytes]:
    """Ask for one, and wait. Certificate and key, in PEM. NetlabError if it is denied, or nobody signs it in time."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = [_alternative(address) for address in addresses]
    subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, NODES),
               x509.NameAttribute(NameOID.COMMON_NAME, f"{NODE}{node}")]  # fmt: skip
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    request = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    usages = ["digital signature", "server auth" if signer == SERVING else "client auth"]
    body: dict[str, Any] = {
        "metadata": {"generateName": "node-csr-"},
        "spec": {"request": base64.b64encode(request).decode(), "signerName": signer, "usages": usages},
    }
    made = await client.create(REQUESTS.path(), body)
    name, end = made["metadata"]["name"], time.monotonic() + patience
    while True:
        state = (await client.get(REQUESTS.path(None, name))).get("status") or {}
        if state.get("certificate"):
            pem = key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            return base64.b64decode(state["certificate"]), pem
        refused = [c for c in state.get("conditions") or () if c["type"] in ("Denied", "Failed")]
        if refused:
            raise NetlabError(f"certificate request {name}: {refused[0].get('message') or refused[0]['type']}")
        if time.monotonic() > end:
            raise NetlabError(
                f"certificate request {name} was not signed in {patience:g} s", hint=f"kubectl describe csr {name}"
            )
        await asyncio.sleep(LOOK)


def _alternative(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(address))
    except ValueError:
        return x509.DNSName(address)


async def serving(client: RestClient, node: str, ips: Sequence[str], directory: Path) -> None:
    """Get kubelet.crt and kubelet.key into the directory, as soon as the Node is in the API with these addresses."""
    while not set(ips) <= await _addresses(client, node):
        await asyncio.sleep(LOOK)
    cert, key = await certificate(client, node, SERVING, [node, *ips])
    # the two are never there without being a pair
    (directory / "kubelet.crt").unlink(missing_ok=True)
    put(directory / "kubelet.key", key, mode=0o600)
    put(directory / "kubelet.crt", cert)
    log.info("got a certificate to serve with")


async def _addresses(client: RestClient, node: str) -> set[str]:
    found = await client.get(path("v1", "nodes", name=node))
    return {address["address"] for address in (found.get("status") or {}).get("addresses") or ()}


async def settings(config: ApiConfig) -> dict[str, Any]:
    """What the cluster's nodes have in common: `files` of the pod network by name, `proxy` mode, `pods` prefixes, the
    address of `dns`, seconds of a `lease`.

    InputError if its network is none that a machine can join.
    """
    async with _asking(config) as client:
        proxy = orjson.loads((await _configuration(client, "kube-system", "kube-proxy"))["config.conf"])
        try:
            flannel = await _configuration(client, "kube-flannel", "kube-flannel-cfg")
        except ApiError as e:
            if e.code != 404:
                raise
            raise InputError(
                "the cluster's pod network is not flannel: only that one can be joined by other machines"
            ) from e
        kubelet = orjson.loads((await _configuration(client, "kube-system", "kubelet-config"))["kubelet"])
        dns = await client.get(path("v1", "services", namespace="kube-system", name="kube-dns"))
    return {
        "files": flannel, "proxy": proxy["mode"], "pods": proxy["clusterCIDR"].split(","),
        "dns": dns["spec"]["clusterIP"], "lease": kubelet["nodeLeaseDurationSeconds"],
    }  # fmt: skip


async def _configuration(client: RestClient, namespace: str, name: str) -> dict[str, str]:
    found: dict[str, str] = (await client.get(path("v1", "configmaps", namespace=namespace, name=name)))["data"]
    return found
