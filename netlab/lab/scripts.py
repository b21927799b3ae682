"""A lab as a shell script: see `netlab.model.explain.script`. What runs in the lab is left out."""

from __future__ import annotations

from dataclasses import replace

from netlab.lab.labfile import Lab
from netlab.model import Chain, HostState, IptablesRule, Item
from netlab.model.explain import script


def lab_script(lab: Lab) -> str:
    """The text of scripts/labs/NAME.sh. Places in it are relative to the lab's folder, wherever it was read from."""
    states = {ns: HostState(tuple(_local(item, lab) for item in state)) for ns, state in lab.whole.items()}
    description = lab.file.description.strip() or lab.file.title
    return script(states, name=lab.name, title=lab.file.title or lab.name, description=description)


def _local(item: Item, lab: Lab) -> Item:
    if isinstance(item, Chain):
        rules = tuple(IptablesRule(rule.args, _short(rule.why, lab)) for rule in item.rules)
        item = replace(item, rules=rules)
    return replace(item, why=_short(item.why, lab))


def _short(why: str, lab: Lab) -> str:
    return why.replace(lab.document.name, lab.path.name)
