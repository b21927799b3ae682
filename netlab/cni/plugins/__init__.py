"""netlab's plugins, one per file. Each decides what a network should be; the machine that it is handed makes it so."""

from __future__ import annotations

import importlib

from netlab.cni.protocol import Plugin

#: what stands as `type` in a configuration, and whose code it is
PLUGINS = {
    "bridge": "netlab.cni.plugins.bridge",
    "calico": "netlab.cni.plugins.calico",
    "flannel": "netlab.cni.plugins.flannel",
    "host-local": "netlab.cni.plugins.hostlocal",
    "loopback": "netlab.cni.plugins.loopback",
    "portmap": "netlab.cni.plugins.portmap",
}


def plugin(name: str) -> Plugin | None:
    """The plugin of that name; imports no other."""
    if name not in PLUGINS:
        return None
    made: Plugin = importlib.import_module(PLUGINS[name]).PLUGIN
    return made
