"""Who gets which address: transitions from one value of all blocks to the next. Nothing here is done, only decided.

A node takes addresses of blocks that have its affinity; when they are full it claims another block of a pool that
serves it; when there is none left it borrows from another node's block, unless affinity is strict. In a cluster each
transition is written as compare-and-swap on one block (its sequence number, the API's resourceVersion), and whoever
loses decides again. Source: docs.tigera.io, get started with IP address management; libcalico-go lib/ipam.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from netlab.base.addresses import Address, Network, inside
from netlab.base.errors import NetlabError
from netlab.calico.block import API, Attribute, Block, name_of
from netlab.calico.objects import IPAMConfig, IPPool, Node, Objects


class NoAddress(NetlabError):
    """Nothing can be handed out: why, and what would help."""


class Change(NamedTuple):
    """What has to be written: the object as it should be, or as it was for a deletion."""

    verb: Literal["create", "update", "delete"]
    item: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ipam:
    """All blocks, in the order of their addresses, and the rules."""

    pools: tuple[IPPool, ...]
    blocks: tuple[Block, ...] = ()
    config: IPAMConfig = field(default_factory=IPAMConfig)
    reservations: tuple[Network, ...] = ()

    @classmethod
    def of(cls, objects: Objects) -> Ipam:
        """As the objects say. InputError for a block that makes no sense."""
        blocks = [Block.of(given.data) for given in objects.blocks]
        return cls(objects.pools, _sorted(blocks), objects.ipam, objects.reservations)

    # -- looking

    def block_of(self, address: Address) -> Block | None:
        """The block that has the address."""
        found = (b for b in self.blocks if b.cidr.version == address.version and address in b.cidr)
        return next(found, None)

    def affine(self, node: str) -> list[Block]:
        """The blocks with the node's affinity."""
        return [b for b in self.blocks if b.node == node]

    def used(self) -> dict[Address, Attribute]:
        """Every address in use."""
        return {address: owner for block in self.blocks for address, owner in block.used()}

    def borrowed(self, node: str) -> list[Address]:
        """Addresses in use on the node, of blocks that are not its own."""
        return [a for b in self.blocks if b.node != node for a, owner in b.used() if owner.node == node]

    # -- transitions

    def assign(self, node: Node, owner: Attribute, version: int) -> tuple[Ipam, Address]:
        """The next address for a pod of the node. NoAddress."""
        pools = [p for p in self.pools if p.cidr.version == version and p.serves(node)]
        if not pools:
            raise NoAddress(f"no IPPool for IPv{version} serves node {node.name}", hint="disabled, or its nodeSelector")
        for block in self.affine(node.name):
            ordinal = self._free(block) if self._within(block, pools) else None
            if ordinal is not None:
                return self._put(block.with_(ordinal, owner)), block.address(ordinal)
        claimed = self._claimed(node, pools)
        if claimed is not None:
            ordinal = self._free(claimed)
            assert ordinal is not None
            return self._put(claimed.with_(ordinal, owner)), claimed.address(ordinal)
        if not self.config.strict:
            for block in self.blocks:
                ordinal = self._free(block) if not block.strict and self._within(block, pools) else None
                if ordinal is not None:
                    return self._put(block.with_(ordinal, owner)), block.address(ordinal)
        raise NoAddress(
            f"node {node.name} gets no IPv{version} address: its blocks are full and there is no other",
            hint="strictAffinity forbids to borrow" if self.config.strict else "the pools are used up: add an IPPool",
        )

    def assign_given(self, node: Node, owner: Attribute, address: Address) -> Ipam:
        """This very address. NoAddress if it is in use, or of no pool."""
        pool = next((p for p in self.pools if p.cidr.version == address.version and address in p.cidr), None)
        if pool is None or pool.disabled:
            raise NoAddress(f"{address} is in no IPPool that is in use")
        block = self.block_of(address)
        if block is None:
            cidr = next(c for c in _pieces(pool) if address in c)
            block = Block.fresh(cidr, node.name, strict=self.config.strict)
        elif block.node != node.name and block.strict:
            raise NoAddress(f"{address} is of a block of node {block.node}, and affinity is strict")
        try:
            return self._put(block.with_(block.ordinal(address), owner))
        except ValueError as e:
            raise NoAddress(str(e)) from e

    def release(self, address: Address) -> Ipam:
        """The address is free again. NoAddress if it was."""
        block = self.block_of(address)
        if block is None:
            raise NoAddress(f"{address} is not in use: there is no block that has it")
        try:
            left = block.without(block.ordinal(address))
        except ValueError as e:
            raise NoAddress(str(e)) from e
        return self._put(left) if left.node or not left.empty else self._drop(left)

    def release_handle(self, handle: str) -> Ipam:
        """All that goes by a handle is free again; none is no error, for a pod is deleted more than once."""
        after = self
        for address, owner in self.used().items():
            if owner.handle == handle:
                after = after.release(address)
        return after

    def release_affinity(self, node: str) -> Ipam:
        """The node is gone: its empty blocks too, the others are nobody's until their last address is released."""
        after = self
        for block in self.affine(node):
            if block.empty:
                after = after._drop(block)
            else:
                after = after._put(replace(block, node=None, sequence=block.sequence + 1))
        return after

    # -- the parts of it

    def _free(self, block: Block) -> int | None:
        def reserved(ordinal: int) -> bool:
            address = block.address(ordinal)
            return any(r.version == address.version and address in r for r in self.reservations)

        return next((n for n in block.unallocated if not reserved(n)), None)

    def _claimed(self, node: Node, pools: Iterable[IPPool]) -> Block | None:
        """A block that becomes the node's: one that nobody has any more, or a new one."""
        version = next(iter(pools)).cidr.version
        mine = [b for b in self.affine(node.name) if b.cidr.version == version]
        if not self.config.auto_blocks or (self.config.max_blocks and len(mine) >= self.config.max_blocks):
            return None
        known = {b.cidr: b for b in self.blocks}
        for pool in pools:
            for cidr in _pieces(pool):
                old = known.get(cidr)
                if old is None:
                    block = Block.fresh(cidr, node.name, strict=self.config.strict)
                elif old.node is None:
                    block = replace(old, node=node.name, sequence=old.sequence + 1)
                else:
                    continue
                if self._free(block) is not None:
                    return block
        return None

    def _within(self, block: Block, pools: Iterable[IPPool]) -> bool:
        return any(inside(block.cidr, pool.cidr) for pool in pools)

    def _put(self, block: Block) -> Ipam:
        return replace(self, blocks=_sorted([*(b for b in self.blocks if b.cidr != block.cidr), block]))

    def _drop(self, block: Block) -> Ipam:
        return replace(self, blocks=tuple(b for b in self.blocks if b.cidr != block.cidr))

    # -- objects

    def objects(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Blocks, affinities and handles as objects, by kind and name."""
        found: list[dict[str, Any]] = []
        handles: dict[str, Counter[str]] = {}
        for block in self.blocks:
            found.append(block.as_object())
            if block.node:
                name = f"{block.node}-{name_of(block.cidr)}"
                spec = {"node": block.node, "cidr": str(block.cidr), "state": "confirmed", "deleted": "false"}
                found.append(_object("BlockAffinity", name, spec))
            for _, owner in block.used():
                handles.setdefault(owner.handle, Counter())[str(block.cidr)] += 1
        for handle, counts in sorted(handles.items()):
            held = {"handleID": handle, "block": dict(counts), "deleted": False}
            found.append(_object("IPAMHandle", handle.lower(), held))
        return {(str(o["kind"]), str(o["metadata"]["name"])): o for o in found}


def changes(old: Ipam, new: Ipam) -> list[Change]:
    """What has to be written to get from one to the other, in an order in which nothing is handed out twice."""
    before, after = old.objects(), new.objects()
    order = {"BlockAffinity": 0, "IPAMBlock": 1, "IPAMHandle": 2}
    written = [
        Change("update" if key in before else "create", item) for key, item in after.items() if before.get(key) != item
    ]
    gone = [Change("delete", item) for key, item in before.items() if key not in after]
    return [
        *sorted(written, key=lambda c: order[c.item["kind"]]),
        *sorted(gone, key=lambda c: -order[c.item["kind"]]),
    ]


def _object(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name}, "spec": spec}


def _sorted(blocks: Iterable[Block]) -> tuple[Block, ...]:
    return tuple(sorted(blocks, key=lambda b: (b.cidr.version, int(b.cidr.network_address))))


def _pieces(pool: IPPool) -> Iterator[Network]:
    return iter(pool.cidr.subnets(new_prefix=pool.block_size))
