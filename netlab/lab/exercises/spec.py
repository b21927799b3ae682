"""exercise.yaml as pydantic models. `book` checks what these cannot: that places, checks and devices exist."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from netlab.lab.checkspec import Check, Hop, Reach
from netlab.lab.schema import Device, Family, IpAddress, IpInterface, IpNetwork, Label, Mac, Mtu, Strict, Text

Table = Literal["raw", "mangle", "nat", "filter"]


class Edit(Strict):
    """What all edits have: the place that they change."""

    on: str = Field(description="the node or container")


class LinkDown(Edit):
    """`ip link set DEV down`."""

    dev: Device


class Unplug(Edit):
    """`ip link set DEV nomaster`: a port taken out of its bridge."""

    dev: Device


class Plug(Edit):
    """One more port on a bridge: a cable to `far` (node:device), where nobody answers. What it gets was flooded."""

    dev: Device
    bridge: Device
    far: str


class Gateway(Edit):
    """The default route of via's family leads to `via`."""

    via: IpAddress


class DropRoute(Edit):
    """A route is missing."""

    to: IpNetwork


class AddRoute(Edit):
    """One more route."""

    to: IpNetwork
    via: IpAddress
    dev: Device


class AddressEdit(Edit):
    """`from` is replaced by `to`; without `from` it is added, without `to` it is missing."""

    dev: Device
    from_: IpInterface | None = Field(None, alias="from")
    to: IpInterface | None = None

    @model_validator(mode="after")
    def _says_something(self) -> AddressEdit:
        if self.from_ is None and self.to is None:
            raise ValueError("say from, to, or both")
        return self


class MtuEdit(Edit):
    """A device takes smaller (or larger) packets."""

    dev: Device
    mtu: Mtu


class NeighbourEdit(Edit):
    """A permanent ARP or NDP entry: somebody has nailed a MAC to an address."""

    dev: Device
    address: IpAddress
    mac: Mac


class SysctlEdit(Edit):
    """A kernel setting."""

    name: str
    value: Text


class DropRule(Edit):
    """The iptables rules of a chain that contain a text are missing. family: both if left out."""

    table: Table
    chain: str
    contains: str
    family: Family | None = None


class AddRule(Edit):
    """One more iptables rule, ahead of the lab's own in that chain."""

    table: Table = "filter"
    chain: str
    rule: str
    family: Family = 4


class Policy(Edit):
    """The policy of a built-in chain."""

    table: Table = "filter"
    chain: str
    policy: Literal["ACCEPT", "DROP"]
    family: Family = 4


class DropNeighbour(Edit):
    """A permanent ARP or NDP entry is missing."""

    dev: Device
    address: IpAddress


class DropFdb(Edit):
    """The forwarding entries of a device that lead to `dst` are missing, or all of them."""

    dev: Device
    dst: IpAddress | None = None


class RealServer(Edit):
    """An endpoint behind a virtual server of IPVS has another weight; without `weight` it is missing.

    service: `tcp 10.0.1.175:80`; server: `10.244.1.7:9376`.
    """

    service: str
    server: str
    weight: int | None = Field(None, ge=0, le=65535)


class Stop(Edit):
    """A process does not run. What it has asked of the network stays, as far as no other edit changes it."""

    process: str


class ConfigEdit(Edit):
    """The configuration of a BGP speaker has another text in the place of `replace`, which must be there once."""

    process: str = "bgpd"
    replace: str = Field(min_length=1)
    by: str


class ManifestEdit(Strict):
    """A file of the lab's manifests/ has another content, or another text in the place of `replace` (there once)."""

    file: str
    content: str | None = None
    replace: str | None = Field(None, min_length=1)
    by: str = ""

    @model_validator(mode="after")
    def _one_way(self) -> ManifestEdit:
        if (self.content is None) == (self.replace is None):
            raise ValueError("say either content or replace (with by)")
        return self


class ApplyObjects(Strict):
    """On a cluster: objects that are applied, new ones or others in the place of the lab's."""

    objects: list[dict[str, Any]] = Field(min_length=1)


class DeleteObject(Strict):
    """On a cluster: an object is missing."""

    kind: str
    name: Text
    namespace: Label = "default"


class PatchObject(DeleteObject):
    """On a cluster: an object has other fields, as a merge patch (RFC 7386) has them."""

    patch: dict[str, Any] = Field(min_length=1)


class Power(Strict):
    """On a cluster: a node is off, shut down in good order or by its plug."""

    node: Label
    how: Literal["stop", "crash"] = "crash"


class RunCommand(Edit):
    """On a cluster: a command on a node, or in the network of another place, and the one that takes it back.

    In both, {pod/NAMESPACE/NAME} is that pod's address.
    """

    command: list[Text] = Field(min_length=1)
    undo: list[Text] = Field(min_length=1)


class Remove(Edit):
    """Devices that are not there, with all that hangs on them; a veth pair goes whole. firewall: nor any chain."""

    devices: list[Device] | Literal["all"] = Field(default_factory=list)
    firewall: bool = False


class Break(Strict):
    """One edit: a mapping with exactly one key."""

    link_down: LinkDown | None = None
    unplug: Unplug | None = None
    plug: Plug | None = None
    gateway: Gateway | None = None
    drop_route: DropRoute | None = None
    add_route: AddRoute | None = None
    address: AddressEdit | None = None
    mtu: MtuEdit | None = None
    neighbour: NeighbourEdit | None = None
    sysctl: SysctlEdit | None = None
    drop_rule: DropRule | None = None
    add_rule: AddRule | None = None
    policy: Policy | None = None
    drop_neighbour: DropNeighbour | None = None
    drop_fdb: DropFdb | None = None
    real_server: RealServer | None = None
    stop: Stop | None = None
    config: ConfigEdit | None = None
    manifest: ManifestEdit | None = None
    remove: Remove | None = None
    apply: ApplyObjects | None = None
    delete: DeleteObject | None = None
    patch: PatchObject | None = None
    power: Power | None = None
    run: RunCommand | None = None

    @model_validator(mode="after")
    def _one_edit(self) -> Break:
        if sum(getattr(self, kind) is not None for kind in EDITS) != 1:
            raise ValueError(f"a break has exactly one of {', '.join(EDITS)}")
        return self

    @property
    def kind(self) -> str:
        """Which edit it is."""
        return next(kind for kind in EDITS if getattr(self, kind) is not None)

    @property
    def edit(self) -> AnyEdit:
        """The edit itself."""
        edit: AnyEdit = getattr(self, self.kind)
        return edit


#: what is done to a cluster, and has no place in lab.yaml
OnCluster = ApplyObjects | DeleteObject | Power | RunCommand
AnyEdit = Edit | ManifestEdit | OnCluster

EDITS = tuple(Break.model_fields)
#: of them, what can be done on a cluster, whose networks are not the lab's
CLUSTER_EDITS = ("manifest", "apply", "delete", "patch", "power", "run")


class Build(Strict):
    """Built by hand: what of the lab the learner has to make. objects: on a cluster."""

    leave_out: list[Remove] = Field(default_factory=list)
    objects: list[DeleteObject] = Field(default_factory=list)

    @model_validator(mode="after")
    def _something(self) -> Build:
        if not self.leave_out and not self.objects:
            raise ValueError("say what is left out: leave_out, or on a cluster objects")
        return self


def _name_or_check(value: Any) -> str:
    return "name" if isinstance(value, str) else "check"


#: a check of lab.yaml by its name, or one of the exercise's own
CheckRef = Annotated[Annotated[str, Tag("name")] | Annotated[Check, Tag("check")], Discriminator(_name_or_check)]


class Stage(Strict):
    """A step on the way. The stages are looked at in order, up to the first that does not stand."""

    title: str
    checks: list[CheckRef] = Field(min_length=1)
    hint: str | None = None


class Finding(Strict):
    """A packet that must be in the capture.

    where: what it is known by (field names: `netlab lab capture --help`); at: the devices at which this one packet was
    """

    title: str
    where: dict[str, Any] = Field(min_length=1)
    at: list[Hop] = Field(min_length=1)
    also_at: list[str] = Field(default_factory=list)
    not_at: list[str] = Field(default_factory=list)


class Pcap(Strict):
    """A capture that the learner makes. Each finding is a packet later than the one before, if they are `ordered`."""

    findings: list[Finding] = Field(min_length=1)
    ordered: bool = True


class Forget(Strict):
    """A neighbour entry to forget first, so that the packet is preceded by ARP or NDP."""

    on: str
    address: IpAddress


class Question(Strict):
    """What does the packet carry? netlab sends `probe`, watches `at`, reads `field` of the first packet of `where`."""

    ask: str
    probe: Reach
    at: str = Field(description="node:device")
    where: dict[str, Any] = Field(min_length=1)
    field: str
    forget: Forget | None = None
    look: str = Field(description="where to look; told after the third wrong answer")


class Exercise(Strict):
    """One exercise.

    checks: fail at the start, hold when it is done; keeps: hold all the time; stages: instead of checks, for a build.
    task: what the learner is told - symptoms, never the cause. solution: why; told when it is done.
    """

    id: Label
    title: str
    level: int = Field(ge=1, le=3)
    about: str = Field(description="what it teaches")
    task: str
    breaks: list[Break] = Field(default_factory=list)
    build: Build | None = None
    checks: list[CheckRef] = Field(default_factory=list)
    keeps: list[CheckRef] = Field(default_factory=list)
    stages: list[Stage] = Field(default_factory=list)
    pcap: Pcap | None = None
    questions: list[Question] = Field(default_factory=list)
    hints: list[str] = Field(default_factory=list)
    solution: str

    @model_validator(mode="after")
    def _can_be_graded(self) -> Exercise:
        if bool(self.checks or self.stages) == self.captures:
            raise ValueError("an exercise is graded either by checks or stages, or by pcap and questions")
        if self.checks and self.stages:
            raise ValueError("an exercise has checks or stages, not both")
        if (self.checks or self.stages) and not (self.breaks or self.build):
            raise ValueError(
                "nothing is broken or left out, so its checks hold from the start: it needs breaks or build"
            )
        return self

    @property
    def captures(self) -> bool:
        """Whether packets grade it."""
        return bool(self.pcap or self.questions)

    @property
    def changes(self) -> bool:
        """Whether the lab is another one at its start."""
        return bool(self.breaks or self.build)

    @property
    def kind(self) -> str:
        """What the learner does: `build`, `mend` or `capture`."""
        return "build" if self.build else "capture" if self.captures else "mend"


class ExerciseFile(Strict):
    """exercise.yaml."""

    exercises: list[Exercise] = Field(min_length=1)
