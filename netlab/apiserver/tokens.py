"""ServiceAccount tokens: signed, and looked at. RS256 and nothing else; the header of a token decides nothing."""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from netlab.api import Json


class Tokens:
    """key: PEM of the private key; issuer: a URL; now: seconds since 1970."""

    def __init__(self, key: bytes, issuer: str, now: Callable[[], float]) -> None:
        private = serialization.load_pem_private_key(key, None)
        assert isinstance(private, rsa.RSAPrivateKey)
        self._private, self._public = private, private.public_key()
        self.issuer, self._now = issuer, now
        der = self._public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.key_id = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).decode().rstrip("=")

    def issue(
        self, account: Json, audiences: Sequence[str], seconds: int, bound: Json | None = None
    ) -> tuple[str, int]:
        """A token for a ServiceAccount, and when it expires (seconds since 1970).

        bound: {"pod"|"secret"|"node": {"name", "uid"}} that it dies with.
        """
        now = int(self._now())
        meta = account["metadata"]
        claim: Json = {
            "namespace": meta["namespace"], "serviceaccount": {"name": meta["name"], "uid": meta["uid"]},
            **(bound or {}),
        }  # fmt: skip
        payload = {
            "aud": list(audiences), "exp": now + seconds, "iat": now, "iss": self.issuer, "jti": str(uuid.uuid4()),
            "kubernetes.io": claim, "nbf": now, "sub": f"system:serviceaccount:{meta['namespace']}:{meta['name']}",
        }  # fmt: skip
        return jwt.encode(payload, self._private, "RS256", headers={"kid": self.key_id}), now + seconds

    def verify(self, token: str, audiences: Sequence[str]) -> Json | None:
        """The claims of a token that is ours, for one of these audiences, and not expired; None otherwise."""
        try:
            claims: Json = jwt.decode(
                token, self._public, algorithms=["RS256"], audience=list(audiences), issuer=self.issuer,
                options={"require": ["exp", "iat", "sub"], "verify_exp": False, "verify_nbf": False,
                         "verify_iat": False},
            )  # fmt: skip
        except jwt.PyJWTError:
            return None
        now = self._now()
        if claims["exp"] <= now or claims.get("nbf", 0) > now + 60:
            return None
        return claims

    def keys(self) -> Json:
        """The JSON Web Key Set."""
        numbers = self._public.public_numbers()

        def number(value: int) -> str:
            data = value.to_bytes((value.bit_length() + 7) // 8, "big")
            return base64.urlsafe_b64encode(data).decode().rstrip("=")

        key: dict[str, Any] = {
            "use": "sig", "kty": "RSA", "kid": self.key_id, "alg": "RS256", "n": number(numbers.n),
            "e": number(numbers.e),
        }  # fmt: skip
        return {"keys": [key]}
