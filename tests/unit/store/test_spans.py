"""Prefixes of keys against the plain meaning of the words, with any text at all."""

import asyncio

from hypothesis import example, given
from hypothesis import strategies as st

from netlab.store import keys
from netlab.store.memory import MemoryStore

#: few characters, and those at the edges, so that prefixes happen
edges = st.text(st.sampled_from("\0a%_/\x7f\x80\xfe\xff\u0100\ud7ff\ue000\uffff\U00010000\U0010ffff"), max_size=4)
texts = st.one_of(edges, st.text(st.characters(codec="utf-8"), max_size=4))


@given(st.sets(texts), texts, st.one_of(st.just(""), texts))
@example({"\U0010ffff", "\U0010ffffa"}, "\U0010ffff", "")
@example({"a\ud7ff", "a\ue000"}, "a\ud7ff", "")
def test_span_is_what_startswith_says(found: set[str], prefix: str, after: str) -> None:
    ordered = sorted(found)
    assert ordered == sorted(found, key=str.encode)  # code points are ordered as UTF-8 is
    start, end = keys.span(ordered, prefix, after)
    assert ordered[start:end] == [k for k in ordered if k.startswith(prefix) and (not after or k > after)]


@given(st.lists(texts.filter(bool), unique=True, max_size=12), texts)
def test_lists_and_watches_agree_on_what_a_prefix_is(names: list[str], prefix: str) -> None:
    async def whole() -> None:
        store = MemoryStore()
        for name in names:
            await store.create(name, name.encode())
        page = await store.list(prefix)
        expected = sorted(name for name in names if name.startswith(prefix))
        assert [kv.key for kv in page.items] == expected
        if expected:
            batch = await anext(store.watch(prefix, after=1))
            assert [e.kv.key for e in batch.events] == [name for name in names if name.startswith(prefix)]
        await store.aclose()

    asyncio.run(whole())
