"""A process that is a node's proxy, policy agent and name server at once, as `netlab agent` is: argv are a kubeconfig, the
node's name and a folder for claims. It says `ready` on its output when all of them are, and ends by a line on its input.
"""

import asyncio
import sys
from pathlib import Path

from netlab.base.aio import first
from netlab.client.informer import Informers
from netlab.client.kubeconfig import load
from netlab.client.rest import RestClient
from netlab.daemons import dns
from netlab.daemons.api_watch import Followed
from netlab.daemons.policyd import agent as policyd_agent
from netlab.daemons.policyd import machine as policyd
from netlab.daemons.policyd.options import Options as PolicydOptions
from netlab.daemons.proxy import feed
from netlab.daemons.proxy import machine as proxy
from netlab.daemons.proxy.options import Options as ProxyOptions


async def main(kubeconfig: Path, node: str, home: Path) -> None:
    client = RestClient(load(kubeconfig))
    informers = Informers(client)
    ready: asyncio.Queue[None] = asyncio.Queue()

    def told() -> None:
        ready.put_nowait(None)

    async def tell() -> None:
        for _ in range(3):
            await ready.get()
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)

    serving = ProxyOptions(node=node, iptables="nft", claims=home / "proxy.claims", min_sync_period=0)
    isolating = PolicydOptions(node=node, iptables="nft", claims=home / "policyd.claims", bridged=True)
    naming = dns.Options(addresses=("127.0.0.1",))
    try:
        await first(
            tell(),
            proxy.serve(serving, Followed(informers, feed.wants(node)), ready=told),
            policyd.serve(isolating, Followed(informers, policyd_agent.wants(node)), ready=told),
            dns.serve(naming, Followed(informers, dns.wants(naming.zone)), ready=told),
        )
    finally:
        await informers.aclose()
        await client.aclose()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
