"""Who is let in and what they may do: tokens, impersonation, RBAC, nodes, reviews."""

import base64

import jwt
import orjson
from serving import MAPS, PODS, Client, config_map, pod, with_server

ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
RBAC = "/apis/rbac.authorization.k8s.io/v1"


async def account_token(c: Client, name: str = "bob", **spec: object) -> str:
    """A token of a new ServiceAccount."""
    await c.post(ACCOUNTS, {"metadata": {"name": name}})
    made = await c.post(f"{ACCOUNTS}/{name}/token", {"spec": spec})
    assert made.status == 201, made.body
    return str(made.body["status"]["token"])


async def grant(c: Client, user: str, *verbs: str, resource: str = "pods") -> None:
    """A role in the namespace `default`, and its binding to a user."""
    rule = {"apiGroups": [""], "resources": [resource], "verbs": list(verbs)}
    await c.post(f"{RBAC}/namespaces/default/roles", {"metadata": {"name": "r"}, "rules": [rule]})
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
    subject = {"kind": "User", "name": user}
    body = {"metadata": {"name": "b"}, "roleRef": ref, "subjects": [subject]}
    made = await c.post(f"{RBAC}/namespaces/default/rolebindings", body)
    assert made.status == 201, made.body


def test_refusals_in_the_words_of_the_original() -> None:
    async def test(c: Client) -> None:
        jane = c.as_("jane-token")
        cases = [
            (await jane.get(PODS), 'pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the '
             'namespace "default"'),
            (await jane.get(f"{PODS}/x"), 'pods "x" is forbidden: User "jane" cannot get resource "pods" in API group "" '
             'in the namespace "default"'),
            (await jane.get("/api/v1/nodes"), 'nodes is forbidden: User "jane" cannot list resource "nodes" in API group '
             '"" at the cluster scope'),
            (await jane.get(f"{PODS}/x/log"), 'pods "x" is forbidden: User "jane" cannot get resource "pods/log" in API '
             'group "" in the namespace "default"'),
            (await jane.get("/metrics"), 'forbidden: User "jane" cannot get path "/metrics"'),
            (await c.as_("").get(PODS), 'pods is forbidden: User "system:anonymous" cannot list resource "pods" in API '
             'group "" in the namespace "default"'),
        ]  # fmt: skip
        for answer, message in cases:
            assert (answer.status, answer.body["reason"], answer.message) == (403, "Forbidden", message)
        assert (await jane.get("/apis")).status == 200
        assert (await c.as_("").get("/version")).status == 200
        assert (await c.as_("").get("/apis")).status == 403

    with_server(test)


def test_a_rule_for_one_name_is_for_no_other() -> None:
    async def test(c: Client) -> None:
        jane = c.as_("jane-token")
        for name in ("a", "b"):
            await c.post(PODS, pod(name))
        rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "resourceNames": ["a"]}
        await grant(c, "jane", "get", resource="configmaps")
        assert (await jane.get(f"{PODS}/a")).status == 403
        await c.put(f"{RBAC}/namespaces/default/roles/r", {"metadata": {"name": "r"}, "rules": [rule]})
        for _ in range(2):  # the second is remembered
            assert [(await jane.get(f"{PODS}/{name}")).status for name in ("a", "b")] == [200, 403]

    with_server(test)


def test_roles_take_hold_and_let_go() -> None:
    async def test(c: Client) -> None:
        jane = c.as_("jane-token")
        await c.post(PODS, pod())
        await grant(c, "jane", "get", "list")
        async with c.watch(f"{RBAC}/rolebindings") as events:
            await events.next()
        assert (await jane.get(f"{PODS}/p")).status == 200
        assert (await jane.delete(f"{PODS}/p")).status == 403
        assert (await jane.get("/api/v1/namespaces/kube-system/pods")).status == 403
        review = {"spec": {"resourceAttributes": {"namespace": "default", "verb": "list", "resource": "pods"}}}
        asked = (await jane.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)).body["status"]
        assert asked == {
            "allowed": True,
            "reason": 'RBAC: allowed by RoleBinding "b/default" of Role "r" to User "jane"',
        }
        rules = (await jane.post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
                                 {"spec": {"namespace": "default"}})).body["status"]  # fmt: skip
        assert {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]} in rules["resourceRules"]

    with_server(test)


def test_credentials_that_are_wrong() -> None:
    async def test(c: Client) -> None:
        token = await account_token(c)
        head, body, signature = token.split(".")
        claims = orjson.loads(base64.urlsafe_b64decode(body + "=="))
        other = jwt.encode(claims, "0" * 64, "HS256")
        none = jwt.encode(claims, None, "none")
        foreign = await account_token(c, "eve", audiences=["elsewhere"])
        broken = f"{head}.{body}.{signature[:-4]}AAAA"
        for wrong in ("nonsense", other, none, foreign, broken, f"{head}.{body}.", "a.b.c", "x" * 20000):
            answer = await c.as_(wrong).get(PODS)
            assert (answer.status, answer.message) == (401, "Unauthorized"), wrong[:40]
        assert (await c.as_(token).get("/apis")).status == 200

    with_server(test)


def test_tokens_end() -> None:
    now = [1_700_000_000.0]

    async def test(c: Client) -> None:
        token = await account_token(c, expirationSeconds=600)
        assert (await c.as_(token).get("/apis")).status == 200
        now[0] += 700
        assert (await c.as_(token).get("/apis")).status == 401
        token = await account_token(c, "carl")
        assert (await c.as_(token).get("/apis")).status == 200
        await c.delete(f"{ACCOUNTS}/carl")
        now[0] += 60  # what is remembered of a token is soon forgotten
        assert (await c.as_(token).get("/apis")).status == 401
        token = await account_token(c, "dora")
        assert (await c.as_(token).get("/apis")).status == 200
        await c.delete(f"{ACCOUNTS}/dora")
        now[0] -= 3600  # and no later if the clock is set back
        assert (await c.as_(token).get("/apis")).status == 401
        short = await c.post(f"{ACCOUNTS}/bob/token", {"spec": {"expirationSeconds": 10}})
        assert "may not specify a duration less than 10 minutes" in short.message

    with_server(test, now=lambda: now[0])


def test_a_token_tells_who_it_is() -> None:
    async def test(c: Client) -> None:
        token = await account_token(c)
        me = (await c.as_(token).post("/apis/authentication.k8s.io/v1/selfsubjectreviews", {})).body["status"][
            "userInfo"
        ]
        assert me["username"] == "system:serviceaccount:default:bob"
        assert me["groups"] == ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"]
        review = await c.post("/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": token}})
        assert review.body["status"]["authenticated"] is True
        keys = (await c.get("/openid/v1/jwks")).body["keys"]
        assert jwt.get_unverified_header(token)["kid"] == keys[0]["kid"]

    with_server(test)


def test_impersonation_asks_for_the_right_to_it() -> None:
    async def test(c: Client) -> None:
        async def who(client: Client, **headers: str) -> tuple[int, str]:
            names = {f"Impersonate-{k}": v for k, v in headers.items()}
            async with client.session.post(
                f"{client.url}/apis/authentication.k8s.io/v1/selfsubjectreviews", json={}, headers=client.headers(names)
            ) as r:
                body = await r.json()
                return r.status, body.get("message") or body["status"]["userInfo"]["username"]

        assert await who(c, User="max") == (201, "max")
        assert await who(c.as_("jane-token"), User="max") == (
            403, 'users "max" is forbidden: User "jane" cannot impersonate resource "users" in API group "" at the cluster '
            "scope",
        )  # fmt: skip
        assert (await who(c.as_("jane-token"), User="jane", Group="system:masters"))[0] == 403

    with_server(test)


def test_nodes_see_what_their_pods_need_and_write_what_is_theirs() -> None:
    async def test(c: Client) -> None:
        node = c.as_("node-token")
        await c.post(MAPS, config_map("mine"))
        await c.post(MAPS, config_map("other"))
        volume = {"name": "v", "configMap": {"name": "mine"}}
        await c.post(PODS, pod(volumes=[volume], nodeName="n1"))
        assert (await node.get(f"{MAPS}/mine")).status == 200
        assert (await node.get(f"{MAPS}/other")).status == 403
        assert (await node.get(MAPS)).status == 403
        assert (await node.get(MAPS, fieldSelector="metadata.name=mine")).status == 200
        assert (await node.get(MAPS, fieldSelector="metadata.name=other")).status == 403
        assert (await node.get(MAPS, fieldSelector="metadata.name!=mine")).status == 403
        assert (await node.post("/api/v1/nodes", {"metadata": {"name": "n1"}})).status == 201
        refused = await node.post("/api/v1/nodes", {"metadata": {"name": "n2"}})
        assert refused.message == 'nodes "n2" is forbidden: node "n1" is not allowed to modify node "n2"'
        await c.post(PODS, pod("elsewhere", nodeName="n2"))
        state = {"status": {"phase": "Running"}}
        assert (await node.patch(f"{PODS}/p/status", state)).status == 200
        assert (await node.patch(f"{PODS}/elsewhere/status", state)).status == 403

    with_server(test)


def test_nobody_gives_away_more_than_he_has() -> None:
    async def test(c: Client) -> None:
        jane = c.as_("jane-token")
        rules = [
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
            {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"], "verbs": ["*"]},
        ]
        # `*` holds escalate and bind too: that is for administrators, so name the verbs
        rules[1]["verbs"] = ["create", "update", "get"]
        base = f"{RBAC}/namespaces/default"
        await c.post(f"{base}/roles", {"metadata": {"name": "editor"}, "rules": rules})
        ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "editor"}
        body = {"metadata": {"name": "e"}, "roleRef": ref, "subjects": [{"kind": "User", "name": "jane"}]}
        await c.post(f"{base}/rolebindings", body)
        async with c.watch(f"{RBAC}/rolebindings") as events:
            await events.next()
        assert (await jane.post(f"{base}/roles", {"metadata": {"name": "less"}, "rules": rules[:1]})).status == 201
        more = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
        refused = await jane.post(f"{base}/roles", {"metadata": {"name": "more"}, "rules": more})
        assert (refused.status, refused.message) == (
            403,
            'roles.rbac.authorization.k8s.io "more" is forbidden: user "jane" (groups=["dev" "system:authenticated"]) is '
            "attempting to grant RBAC permissions not currently held:\n"
            '{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}',
        )
        admin = {**body, "metadata": {"name": "up"}, "roleRef": {**ref, "kind": "ClusterRole", "name": "cluster-admin"}}
        assert (await jane.post(f"{base}/rolebindings", admin)).status == 403

    with_server(test)


def test_controllers_have_the_roles_of_their_names() -> None:
    async def test(c: Client) -> None:
        roles = {r["metadata"]["name"]: r for r in (await c.get(f"{RBAC}/clusterroles")).body["items"]}
        bindings = (await c.get(f"{RBAC}/clusterrolebindings")).body["items"]
        bound = {
            b["roleRef"]["name"]: b["subjects"] for b in bindings if b["metadata"]["name"].startswith("system:con")
        }
        assert bound.keys() == {name for name in roles if name.startswith("system:controller:")} and len(bound) > 20
        assert bound["system:controller:job-controller"] == [
            {"kind": "ServiceAccount", "name": "job-controller", "namespace": "kube-system"}
        ]
        review = {"spec": {"user": "system:serviceaccount:kube-system:statefulset-controller", "resourceAttributes": {
            "verb": "create", "resource": "pods", "namespace": "default"}}}  # fmt: skip
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        assert (await c.post(path, review)).body["status"]["allowed"]
        review["spec"]["resourceAttributes"] = {"verb": "delete", "resource": "nodes"}
        assert not (await c.post(path, review)).body["status"]["allowed"]

    with_server(test)
