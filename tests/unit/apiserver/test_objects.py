"""Objects as bytes: no larger in memory than what is in them."""

import tracemalloc

import orjson

from netlab.apiserver import objects


def test_stored_bytes_take_no_more_room_than_they_need() -> None:
    obj = {"kind": "K", "apiVersion": "v1", "metadata": {"name": "n", "resourceVersion": "7"}, "data": ["x" * 50] * 45}
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = [objects.encode(obj) for _ in range(100)]
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert used < 1.2 * sum(map(len, kept))
    assert orjson.loads(kept[0])["metadata"] == {"name": "n"}
    assert obj["metadata"] == {"name": "n", "resourceVersion": "7"}
