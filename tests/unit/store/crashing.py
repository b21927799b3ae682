"""A process that writes to a store until it is killed, and says on stdout what was acknowledged, a line for each.

crashing.py FILE PREFIX     "create KEY REVISION", "update KEY REVISION", "delete KEY REVISION", "compact - REVISION"
crashing.py FILE --hold     opens the store, says "open - REVISION", and waits
"""

import asyncio
import os
import sys
from pathlib import Path

from netlab.store.sqlite import SqliteStore


def say(what: str, key: str, revision: int) -> None:
    os.write(1, f"{what} {key} {revision}\n".encode())


async def write(store: SqliteStore, prefix: str, writer: int) -> None:
    number = 0
    while True:
        key = f"{prefix}/{writer}/{number}"
        number += 1
        revision = await store.create(key, key.encode() * 50)
        say("create", key, revision)
        if number % 3 == 0:
            revision = await store.update(key, b"updated", expected=revision)
            say("update", key, revision)
        if number % 5 == 0:
            _, revision = await store.delete(key)
            say("delete", key, revision)
        if number % 200 == 0 and writer == 0:
            await store.compact(revision)
            say("compact", "-", revision)


async def main(file: str, prefix: str) -> None:
    store = await SqliteStore.open(Path(file))
    if prefix == "--hold":
        say("open", "-", await store.revision())
        sys.stdin.read()
        await store.aclose()
        return
    await asyncio.gather(*(write(store, prefix, n) for n in range(8)))


asyncio.run(main(*sys.argv[1:]))
