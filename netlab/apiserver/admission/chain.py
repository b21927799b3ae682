"""Which plugins there are, in the original's order, and the caches that they look into."""

from __future__ import annotations

from collections.abc import Sequence

from netlab.apiserver.admission import Admission
from netlab.apiserver.admission.accounts import ServiceAccounts
from netlab.apiserver.admission.classes import DefaultStorageClass, NewObjects, StorageObjectInUse
from netlab.apiserver.admission.escalation import Escalation
from netlab.apiserver.admission.limits import LimitRanger
from netlab.apiserver.admission.namespaces import NamespaceLifecycle
from netlab.apiserver.admission.nodes import NodeRestriction
from netlab.apiserver.admission.pods import DefaultTolerationSeconds, Priority, QualityOfService
from netlab.apiserver.admission.policies import ValidatingPolicies
from netlab.apiserver.admission.presets import PodPresets
from netlab.apiserver.admission.quota import ResourceQuotas
from netlab.apiserver.admission.runtimes import RuntimeClasses
from netlab.apiserver.admission.webhooks import MutatingWebhooks, ValidatingWebhooks, Webhooks
from netlab.apiserver.allocation import ServiceAllocation
from netlab.apiserver.lister import Lister
from netlab.apiserver.rbac import Rbac
from netlab.apiserver.registry import Registry
from netlab.apiserver.webhooks.caller import Caller
from netlab.apiserver.webhooks.matching import Matcher
from netlab.base.addresses import Network
from netlab.store.protocol import Store


class Chain:
    """admission: the plugins; listers: to be started and closed."""

    def __init__(
        self, store: Store, rbac: Rbac, registry: Registry, caller: Caller, *, service_ranges: Sequence[Network],
        accounts_required: bool,
    ) -> None:  # fmt: skip
        def lister(name: str) -> Lister:
            found = Lister(store, f"/registry/{name}/")
            self.listers.append(found)
            return found

        self.listers: list[Lister] = []
        self.namespaces = lister("namespaces")
        matcher = Matcher(registry, self.namespaces)
        self.admission = Admission([
            NamespaceLifecycle(store, self.namespaces),
            NewObjects(),
            ServiceAccounts(store, lister("serviceaccounts"), required=accounts_required),
            PodPresets(lister("podpresets")),
            NodeRestriction(store),
            LimitRanger(lister("limitranges")),
            DefaultTolerationSeconds(),
            Priority(store, lister("priorityclasses")),
            RuntimeClasses(store, lister("runtimeclasses")),
            DefaultStorageClass(lister("storageclasses")),
            StorageObjectInUse(),
            QualityOfService(),
            MutatingWebhooks(Webhooks(matcher, caller, lister("mutatingwebhookconfigurations"))),
            Escalation(rbac),
            ValidatingPolicies(
                matcher, lister("validatingadmissionpolicies"), lister("validatingadmissionpolicybindings")
            ),
            ValidatingWebhooks(Webhooks(matcher, caller, lister("validatingwebhookconfigurations"))),
            ServiceAllocation(lister("services/specs"), service_ranges),
            ResourceQuotas(store, lister("resourcequotas")),
        ])  # fmt: skip
