"""Resources as clients name them, the keys of objects, and what a server says that it serves (discovery).

Source: kubernetes.io/docs/reference/using-api/api-concepts; apidiscovery.k8s.io/v2. A server without aggregated
discovery (before Kubernetes 1.30) is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from netlab.base.errors import NetlabError
from netlab.client.rest import Object, RestClient, path

_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
#: groups whose resources are also those of a newer group, under the same plural: the same objects by two names
_COHABITANTS = ("extensions", "events.k8s.io")


class Resource(NamedTuple):
    """Resource("apps/v1", "deployments")."""

    api_version: str
    plural: str

    @property
    def group(self) -> str:
        """ "" for the core group."""
        return self.api_version.rpartition("/")[0]

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The path of the collection, of an object, or of a part of it. An empty namespace is none."""
        return path(self.api_version, self.plural, namespace=namespace or None, name=name, subresource=subresource)

    def at(self, key: str, subresource: str | None = None) -> str:
        """The path of the object with a key."""
        namespace, name = split_key(key)
        return self.path(namespace, name, subresource)

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


class Served(NamedTuple):
    """A resource that a server has. preferred: its version is the first of its group."""

    resource: Resource
    kind: str
    namespaced: bool
    verbs: frozenset[str]
    preferred: bool


def key_of(obj: Object) -> str:
    """`namespace/name`, or `name` of what is in no namespace."""
    metadata = obj["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


def split_key(key: str) -> tuple[str, str]:
    """Namespace ("" for none) and name."""
    namespace, _, name = key.rpartition("/")
    return namespace, name


async def discover(client: RestClient) -> list[Served]:
    """All resources in all versions. ApiError, ApiUnavailable; NetlabError if the server speaks an older language."""
    found: list[Served] = []
    for root in ("/api", "/apis"):
        document = await client.get(root, accept=_AGGREGATED)
        if document.get("kind") != "APIGroupDiscoveryList":
            raise NetlabError(
                f"{client.config.server}{root} is no aggregated discovery (apidiscovery.k8s.io/v2)",
                hint="Kubernetes has it from 1.30 on",
            )
        for group in document.get("items") or ():
            found += _served(group)
    return found


def _served(group: Mapping[str, object]) -> Iterator[Served]:
    metadata, versions = group.get("metadata"), group.get("versions")
    name = metadata.get("name", "") if isinstance(metadata, dict) else ""
    for number, version in enumerate(versions if isinstance(versions, list) else ()):
        api_version = f"{name}/{version['version']}" if name else str(version["version"])
        for r in version.get("resources") or ():
            yield Served(
                Resource(api_version, r["resource"]), r["responseKind"]["kind"], r["scope"] == "Namespaced",
                frozenset(r["verbs"]), number == 0,
            )  # fmt: skip


def distinct(served: Iterable[Served]) -> list[Served]:
    """Each resource once: in its preferred version, and by one group where two have the same objects."""
    preferred = [s for s in served if s.preferred]
    taken = {s.resource.plural for s in preferred if s.resource.group not in _COHABITANTS}
    return [s for s in preferred if s.resource.group not in _COHABITANTS or s.resource.plural not in taken]
