"""auth: certificates' requests, accounts, reviews."""

from __future__ import annotations

import base64
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from lifecycles import CORE, collection, condition, fine, lifecycle, made, object_, status_life
from serving import PODS, Client, Json, with_server

ACCOUNTS = f"{CORE}/serviceaccounts"
CSRS = collection("certificates.k8s.io/v1", "certificatesigningrequests", namespaced=False)
RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


def request() -> Json:
    """The spec of a CertificateSigningRequest."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "e2e-example-com")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(
        ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()
    )  # fmt: skip
    text = base64.b64encode(csr.public_bytes(serialization.Encoding.PEM)).decode()
    usages = ["digital signature", "key encipherment", "server auth"]
    return {"request": text, "signerName": "example.com/e2e", "expirationSeconds": 3600, "usages": usages}


def test_csr_api() -> None:
    body = {"spec": request()}
    lifecycle("certificates.k8s.io/v1", "CertificateSigningRequest", "certificatesigningrequests", body,
              namespaced=False)  # fmt: skip

    async def test(c: Client) -> None:
        obj = await made(c, CSRS, object_("certificates.k8s.io/v1", "CertificateSigningRequest", "r", spec=request()))
        assert obj["spec"]["username"] == "admin"
        one = f"{CSRS}/r"
        assert (await fine(c.get(f"{one}/approval")))["metadata"]["name"] == "r"
        approved = {"status": {"conditions": [condition("ApprovalPatch")]}}
        assert (await fine(c.patch(f"{one}/approval", approved)))["status"]["conditions"][0]["type"] == "ApprovalPatch"
        now = await fine(c.get(one))
        now["status"]["conditions"].append(condition("Approved"))
        now = await fine(c.put(f"{one}/approval", now))
        assert [x["type"] for x in now["status"]["conditions"]] == ["ApprovalPatch", "Approved"]
        certificate = base64.b64encode(authority()).decode()
        await status_life(c, one, {"certificate": certificate})

    with_server(test)


def authority() -> bytes:
    """Some certificate."""
    import trustme

    return trustme.CA().cert_pem.bytes()


def test_serviceaccount_update() -> None:
    async def test(c: Client) -> None:
        obj = await made(c, ACCOUNTS, object_("v1", "ServiceAccount", "sa"))
        obj["automountServiceAccountToken"] = True
        assert (await fine(c.put(f"{ACCOUNTS}/sa", obj)))["automountServiceAccountToken"] is True
        assert (await fine(c.get(f"{ACCOUNTS}/sa")))["automountServiceAccountToken"] is True

    with_server(test)


def test_sa_token_automount_opt_out() -> None:
    async def test(c: Client) -> None:
        accounts: dict[str, Any] = {"default-sa": None, "mount": True, "nomount": False}
        for name, value in accounts.items():
            fields = {} if value is None else {"automountServiceAccountToken": value}
            await made(c, ACCOUNTS, object_("v1", "ServiceAccount", name, **fields))
        for account, of_account in accounts.items():
            for of_pod in (None, True, False):
                spec: Json = {"serviceAccountName": account, "containers": [{"name": "c", "image": "x"}]}
                if of_pod is not None:
                    spec["automountServiceAccountToken"] = of_pod
                name = f"{account}-{of_pod}".lower()
                got = (await made(c, PODS, object_("v1", "Pod", name, spec=spec)))["spec"]
                mounts = [m["mountPath"] for m in got["containers"][0].get("volumeMounts", ())]
                wanted = of_pod if of_pod is not None else of_account is not False
                assert (MOUNT in mounts) == wanted, name

    with_server(test)


def test_subjectaccessreview_api() -> None:
    async def test(c: Client) -> None:
        await made(c, ACCOUNTS, object_("v1", "ServiceAccount", "e2e"))
        user = "system:serviceaccount:default:e2e"
        asked = {"namespace": "default", "verb": "list", "resource": "configmaps", "version": "v1"}
        local = "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews"

        async def verdicts() -> list[bool]:
            spec = {"user": user, "resourceAttributes": asked}
            whole = await made(c, "/apis/authorization.k8s.io/v1/subjectaccessreviews", {"spec": spec})
            here = await made(c, local, {"metadata": {"namespace": "default"}, "spec": spec})
            async with c.session.get(
                f"{c.url}{CORE}/configmaps", headers={**c.headers(), "Impersonate-User": user}
            ) as response:
                return [whole["status"]["allowed"], here["status"]["allowed"], response.status == 200]

        assert await verdicts() == [False] * 3
        rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]
        await made(c, f"{RBAC}/roles", {"metadata": {"name": "r"}, "rules": rules})
        subject = {"kind": "ServiceAccount", "name": "e2e", "namespace": "default"}
        ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
        await made(c, f"{RBAC}/rolebindings", {"metadata": {"name": "b"}, "subjects": [subject], "roleRef": ref})
        while not all(found := await verdicts()):
            assert len(set(found)) <= 2
        assert found == [True] * 3

    with_server(test)


def test_tokenrequest_tokenreview() -> None:
    async def test(c: Client) -> None:
        account = await made(c, ACCOUNTS, object_("v1", "ServiceAccount", "e2e"))
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
        token = (await made(c, f"{ACCOUNTS}/e2e/token", asked))["status"]["token"]
        review = await made(c, "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": token}})
        assert (review["status"]["authenticated"], "error" in review["status"]) == (True, False)
        user = review["status"]["user"]
        assert (user["username"], user["uid"]) == ("system:serviceaccount:default:e2e", account["metadata"]["uid"])
        groups = {"system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"}
        assert set(user["groups"]) == groups
        assert user["extra"]["authentication.kubernetes.io/credential-id"][0].startswith("JTI=")

    with_server(test)
