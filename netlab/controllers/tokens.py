"""Secrets of type kubernetes.io/service-account-token: filled with a token of the account that they name.

A person makes such a Secret to have a token that lasts as long as the Secret. The token is asked of the API server
(TokenRequest, bound to the Secret): no signing key leaves it. So it is one of the server's own issuer, and expires
after 136 years, where the original's does not. Source: kubernetes pkg/controller/serviceaccount/tokens_controller.go.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable

from netlab.client.informer import Interest
from netlab.client.resources import key_of
from netlab.client.rest import ApiError, Object
from netlab.controllers.shape import SECRETS, SERVICE_ACCOUNTS, Hopeless, Tools, Watch, namespace_key

TYPE = "kubernetes.io/service-account-token"
NAME, UID = "kubernetes.io/service-account.name", "kubernetes.io/service-account.uid"
#: the longest time that a TokenRequest may ask for (seconds)
LONGEST = 1 << 32

#: the fieldSelector spares this process all the other Secrets of the cluster
TOKEN_SECRETS = Interest(SECRETS, field_selector=f"type={TYPE}")


def _account_of(secret: Object) -> str:
    return str((secret["metadata"].get("annotations") or {}).get(NAME, ""))


class TokenSecrets:
    """Keys are those of Secrets."""

    NAME = "serviceaccount-token-controller"

    def __init__(self, tools: Tools) -> None:
        self._client, self._ca = tools.client, tools.ca
        self._secrets = tools.store(TOKEN_SECRETS)
        self._accounts = tools.store(Interest(SERVICE_ACCOUNTS))
        self.WATCHES = (Watch(TOKEN_SECRETS), Watch(Interest(SERVICE_ACCOUNTS), self._secrets_of))

    def _secrets_of(self, old: Object | None, new: Object | None) -> Iterable[str]:
        """The token Secrets that name the account."""
        for namespace in namespace_key(old, new):
            account = new if new is not None else old
            name = account["metadata"]["name"] if account is not None else ""
            for secret in self._secrets.find("namespace", namespace):
                if _account_of(secret) == name:
                    yield key_of(secret)

    async def reconcile(self, key: str) -> float | None:
        """Fill the Secret, or delete it if its account is gone."""
        secret = self._secrets.get(key)
        if secret is None or secret["metadata"].get("deletionTimestamp"):
            return None
        meta = secret["metadata"]
        account = await self._account(meta["namespace"], _account_of(secret))
        wanted_uid = (meta.get("annotations") or {}).get(UID)
        if account is None or wanted_uid not in (None, "", account["metadata"]["uid"]):
            try:
                await self._client.delete(
                    SECRETS.at(key), uid=meta["uid"], resource_version=str(meta["resourceVersion"])
                )
            except ApiError as e:
                if e.code != 404:
                    raise
            return None
        data = secret.get("data") or {}
        wanted = {"ca.crt": _coded(self._ca), "namespace": _coded(meta["namespace"].encode())}
        missing = {name: value for name, value in wanted.items() if data.get(name) != value}
        if not data.get("token"):
            missing["token"] = _coded((await self._token(account, secret)).encode())
        if missing or not wanted_uid:
            await self._client.patch(SECRETS.at(key), {
                "metadata": {"resourceVersion": meta["resourceVersion"],
                             "annotations": {UID: account["metadata"]["uid"]}},
                "data": missing,
            })  # fmt: skip
        return None

    async def _account(self, namespace: str, name: str) -> Object | None:
        if not name:
            return None
        known = self._accounts.get(f"{namespace}/{name}")
        if known is not None:
            return known
        try:
            return await self._client.get(SERVICE_ACCOUNTS.path(namespace, name))
        except ApiError as e:
            if e.code == 404:
                return None
            raise

    async def _token(self, account: Object, secret: Object) -> str:
        meta = secret["metadata"]
        bound = {"kind": "Secret", "apiVersion": "v1", "name": meta["name"], "uid": meta["uid"]}
        request = {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"audiences": [], "expirationSeconds": LONGEST, "boundObjectRef": bound},
        }  # fmt: skip
        path = SERVICE_ACCOUNTS.path(meta["namespace"], account["metadata"]["name"], "token")
        answer = await self._client.create(path, request)
        token = str((answer.get("status") or {}).get("token", ""))
        if not token:
            raise Hopeless(f"the API server gives no token for {key_of(account)}")
        return token


def _coded(data: bytes) -> str:
    return b64encode(data).decode("ascii")
