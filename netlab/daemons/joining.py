"""How a machine becomes a node of a cluster that it knows by address, token and the fingerprint of its authority.

    cluster-info, asked of anybody ─▶ the authority, if its fingerprint is the one that was told
    token ─▶ certificate request ─▶ approved and signed by the cluster ─▶ the node's kubeconfig
    as the node ─▶ the cluster's networks, and later a certificate to serve with, for the addresses that its Node has

As kubeadm join, without its preflight. What it gets is in one directory, so that the next start needs no token.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import orjson
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from netlab.base.errors import InputError, NetlabError, Problem
from netlab.base.lockedfiles import put
from netlab.client.kubeconfig import ApiConfig, kubeconfig
from netlab.client.resources import Resource
from netlab.client.rest import ApiError, RestClient, path

REQUESTS = Resource("certificates.k8s.io/v1", "certificatesigningrequests")
CLIENT, SERVING = "kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving"
#: seconds in which a certificate has to come, and between two looks
PATIENCE, LOOK = 120.0, 0.1
NODE, NODES = "system:node:", "system:nodes"
log = logging.getLogger("agent")


@dataclass(frozen=True, slots=True)
class Invitation:
    """server: https://HOST:PORT; token: a bootstrap token; ca_hash: `sha256:` and the hash of the authority's key."""

    server: str
    token: str
    ca_hash: str


def fingerprint(ca: bytes) -> str:
    """An authority's, as kubeadm has it: of its public key."""
    key = x509.load_pem_x509_certificate(ca).public_key()
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return f"sha256:{hashlib.sha256(der).hexdigest()}"


async def join(invitation: Invitation, node: str, directory: Path) -> ApiConfig:
    """Become that node: ca.crt and kubelet.conf in the directory. InputError if the authority is another one, ApiError
    if the token is not good, NetlabError if no certificate comes."""
    ca = await _authority(invitation)
    config = ApiConfig(place=invitation.server, server=invitation.server, ca=ca, token=invitation.token)
    client = RestClient(config, user_agent="netlab-agent")
    try:
        cert, key = await certificate(client, node, CLIENT, ())
    finally:
        await client.aclose()
    put(directory / "ca.crt", ca)
    written = kubeconfig(invitation.server, ca, cert=cert, key=key, user=f"{NODE}{node}")
    put(directory / "kubelet.conf", written, mode=0o600)
    return replace(config, token="", cert=cert, key=key)


async def _authority(invitation: Invitation) -> bytes:
    """The authority's certificate, which anybody may have told us: it is believed for its fingerprint alone."""
    blind = ApiConfig(place=invitation.server, server=invitation.server, verify=False)
    client = RestClient(blind, user_agent="netlab-agent")
    try:
        found = await client.get(path("v1", "configmaps", namespace="kube-public", name="cluster-info"))
        config = orjson.loads(found["data"]["kubeconfig"])
        ca = base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"])
        seen = fingerprint(ca)
    except (KeyError, IndexError, ValueError) as e:
        raise InputError(f"{invitation.server}: its ConfigMap cluster-info makes no sense: {e}") from e
    finally:
        await client.aclose()
    if seen != invitation.ca_hash:
        text = f"the authority of {invitation.server} is {seen}, expected {invitation.ca_hash}"
        raise InputError([Problem("--ca-hash", text, "somebody else may answer there: ask who runs the cluster")])
    return ca


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
    """Have kubelet.crt and kubelet.key in the directory; as soon as the Node is in the API with these addresses."""
    if (directory / "kubelet.crt").exists():
        return
    while not set(ips) <= await _addresses(client, node):
        await asyncio.sleep(LOOK)
    cert, key = await certificate(client, node, SERVING, [node, *ips])
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
    client = RestClient(config, user_agent="netlab-agent")
    try:
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
    finally:
        await client.aclose()
    return {
        "files": flannel, "proxy": proxy["mode"], "pods": proxy["clusterCIDR"].split(","),
        "dns": dns["spec"]["clusterIP"], "lease": kubelet["nodeLeaseDurationSeconds"],
    }  # fmt: skip


async def _configuration(client: RestClient, namespace: str, name: str) -> dict[str, str]:
    found: dict[str, str] = (await client.get(path("v1", "configmaps", namespace=namespace, name=name)))["data"]
    return found
