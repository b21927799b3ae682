"""A store on a disk that is really full: a tmpfs of 2 MB in a mount namespace of its own."""

import subprocess
import sys
from pathlib import Path

from patience import patience

SCRIPT = """
import asyncio, os, sys
from pathlib import Path
from netlab.store.protocol import StoreError
from netlab.store.sqlite import SqliteStore

folder = Path(sys.argv[1])

async def main():
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(400_000))
    store = await SqliteStore.open(folder / "state.db")
    count = 0
    try:
        while True:
            await store.create(f"/{count}", os.urandom(3000))
            count += 1
    except StoreError as e:
        assert "state.db: the disk is full" in str(e), e
    assert 10 < count < 700, count
    results = await asyncio.gather(*(store.create(f"/x/{n}", os.urandom(3000)) for n in range(8)), return_exceptions=True)
    assert all(isinstance(r, StoreError) for r in results), results
    assert await store.count("") == count and (await store.get("/3"))[0]
    assert len((await store.list("/", revision=5)).items) == 4
    ballast.unlink()
    assert await store.create("/after", b"") == count + 2
    await store.aclose()
    store = await SqliteStore.open(folder / "state.db")
    assert await store.count("") == count + 1 and await store.revision() == count + 2
    await store.aclose()
    print("well")

asyncio.run(main())
"""


def test_a_full_disk_is_told_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    script = 'mount -t tmpfs -o size=2m tmpfs "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", str(tmp_path), sys.executable, SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=patience(120))
    assert (done.stdout, done.stderr, done.returncode) == ("well\n", "", 0)
    assert list(tmp_path.iterdir()) == []
