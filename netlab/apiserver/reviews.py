"""Questions to the server that look like creates: may I, who am I, is this token good. Nothing of them is stored."""

from __future__ import annotations

from aiohttp import web

from netlab.api import Json, status
from netlab.api.fielderrors import FieldError, invalid, required
from netlab.apiserver.authn import Authenticator
from netlab.apiserver.authz import Authorizer
from netlab.apiserver.call import Call, User, answer
from netlab.apiserver.decoding import object_of
from netlab.apiserver.handlers import Context
from netlab.apiserver.kinds import Kind
from netlab.apiserver.negotiate import negotiate
from netlab.apiserver.rbac import Ask


class Reviews:
    """The creates of authentication.k8s.io and authorization.k8s.io."""

    def __init__(self, authenticator: Authenticator, authorizer: Authorizer) -> None:
        self.authenticator, self.authorizer = authenticator, authorizer

    async def create(self, ctx: Context, call: Call, kind: Kind) -> web.StreamResponse:
        """POST of a review."""
        r = kind.resource
        try:
            form = negotiate(call.request.headers.get("Accept", ""))
        except status.ApiError as e:
            if "as=Table" in call.request.headers.get("Accept", ""):
                raise status.not_acceptable(
                    f"the resource {r.plural}.{r.group} does not support being converted to a Table"
                ) from e
            raise
        obj = await object_of(call, kind)
        spec = obj.get("spec") or {}
        match r.kind:
            case "SelfSubjectReview":
                obj["status"] = {"userInfo": call.user.as_json()}
            case "TokenReview":
                obj["status"] = await self._token(spec)
            case "SelfSubjectRulesReview":
                obj["status"] = self._rules(call.user, spec)
            case "SelfSubjectAccessReview":
                obj["status"] = await self._access(kind, call.user, spec)
            case _:
                if r.kind == "LocalSubjectAccessReview":
                    self._check_local(call, kind, obj, spec)
                user = User(
                    spec.get("user", ""), tuple(spec.get("groups") or ()), spec.get("uid", ""),
                    tuple((k, tuple(v)) for k, v in (spec.get("extra") or {}).items()),
                )  # fmt: skip
                if not user.name and not user.groups:
                    wrong = required("spec.user", "at least one of user or group must be specified")
                    raise status.invalid(r.kind, r.group, "", [wrong])
                obj["status"] = await self._access(kind, user, spec)
        obj["metadata"].setdefault("creationTimestamp", None)
        return answer(call, obj, 201, form)

    @staticmethod
    def _check_local(call: Call, kind: Kind, obj: Json, spec: Json) -> None:
        where = (spec.get("resourceAttributes") or {}).get("namespace", "")
        if where != call.info.namespace:
            message = "must match metadata.namespace"
            wrong = invalid("spec.resourceAttributes.namespace", where, message)
            raise status.invalid(kind.resource.kind, kind.resource.group, "", [wrong])
        obj["metadata"]["namespace"] = call.info.namespace

    async def _token(self, spec: Json) -> Json:
        token = spec.get("token", "")
        asked = spec.get("audiences") or list(self.authenticator.audiences)
        if not token:
            return {"user": {}}
        user = await self.authenticator.token_user(token, asked)
        if user is None:
            return {"user": {}, "error": "[invalid bearer token, Token has been invalidated]"}
        return {"authenticated": True, "user": user.as_json(), "audiences": asked}

    def _rules(self, user: User, spec: Json) -> Json:
        namespace = spec.get("namespace", "")
        if not namespace:
            wrong: list[FieldError] = [required("spec.namespace", "no namespace on request")]
            raise status.bad_request(str(wrong[0].detail))
        resources, paths = [], []
        for rule in self.authorizer.rules(user, namespace):
            if rule.get("nonResourceURLs"):
                paths.append({k: rule[k] for k in ("verbs", "nonResourceURLs") if k in rule})
            else:
                kept = {k: rule[k] for k in ("verbs", "apiGroups", "resources", "resourceNames") if k in rule}
                resources.append(kept)
        return {"resourceRules": resources, "nonResourceRules": paths, "incomplete": False}

    async def _access(self, kind: Kind, user: User, spec: Json) -> Json:
        resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
        if (resource is None) == (other is None):
            detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
            if resource is not None:
                detail = "cannot be specified in combination with resourceAttributes"
                wrong = invalid("spec.nonResourceAttributes", other, detail)
            else:
                wrong = FieldError("FieldValueInvalid", "spec.resourceAttributes", detail, None)
            raise status.invalid(kind.resource.kind, kind.resource.group, "", [wrong])
        if resource is not None:
            plural = resource.get("resource", "")
            if resource.get("subresource"):
                plural = f"{plural}/{resource['subresource']}"
            ask = Ask(resource.get("verb", ""), resource.get("group", ""), plural, resource.get("namespace", ""),
                      resource.get("name", ""))  # fmt: skip
        else:
            ask = Ask((other or {}).get("verb", ""), path=(other or {}).get("path", ""))
        decision = await self.authorizer.decide(user, ask)
        out: Json = {"allowed": decision.allowed}
        if decision.reason:
            out["reason"] = decision.reason
        return out
