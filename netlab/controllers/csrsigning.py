"""Certificate requests that are approved get their certificate, by the cluster's CA.

All four signers of the original are one here. Without a CA (`--cluster-signing-cert-file`) this does nothing. Source:
kubernetes pkg/controller/certificates/signer.
"""

from __future__ import annotations

from base64 import b64encode

from netlab.api import times
from netlab.client.informer import Interest
from netlab.client.resources import Resource
from netlab.controllers.certificates import SIGNERS, RequestError, asked, check, condition, request_of
from netlab.controllers.shape import Tools, Watch

REQUESTS = Resource("certificates.k8s.io/v1", "certificatesigningrequests")


class CertificateSigning:
    """Keys are names of requests."""

    NAME = "certificatesigningrequest-signing-controller"

    def __init__(self, tools: Tools) -> None:
        self._client, self._now, self._authority = tools.client, tools.now, tools.authority
        self._requests = tools.store(Interest(REQUESTS))
        self.WATCHES = (Watch(Interest(REQUESTS)),)

    async def reconcile(self, key: str) -> float | None:
        """Sign it, or say why it cannot be."""
        obj = self._requests.get(key)
        if obj is None or self._authority is None or obj["spec"].get("signerName") not in SIGNERS:
            return None
        state = obj.get("status") or {}
        if not condition(obj, "Approved") or condition(obj, "Failed") or state.get("certificate"):
            return None
        spec, now = obj["spec"], self._now()
        try:
            check(spec["signerName"], asked(obj))
            cert = self._authority.sign(request_of(obj), spec.get("usages") or (), spec.get("expirationSeconds"), now)
        except RequestError as e:
            stamp = times.seconds(now)
            failed = {"type": "Failed", "status": "True", "reason": "SignerValidationFailure", "message": str(e),
                      "lastUpdateTime": stamp, "lastTransitionTime": stamp}  # fmt: skip
            state = {**state, "conditions": [*(state.get("conditions") or ()), failed]}
        else:
            state = {**state, "certificate": b64encode(cert).decode("ascii")}
        await self._client.replace(REQUESTS.at(key, "status"), {**obj, "status": state})
        return None
