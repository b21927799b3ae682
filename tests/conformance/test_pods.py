"""Behaviours of node, storage and auth on a real cluster. Their pods are in podcases.py, and are made at once."""

from __future__ import annotations

import clusterup
import pytest
from podcases import CASES, OBJECTS
from podworld import Api, Judged
from titles import dashed, slug

pytestmark = [*clusterup.NEEDS, pytest.mark.xdist_group("cluster")]


@pytest.fixture(scope="module")
def judged(api: Api, request: pytest.FixtureRequest) -> Judged:
    """The pods of those tests that were asked for."""
    items = (item for item in request.session.items if item.path == request.path and isinstance(item, pytest.Function))
    titles = [item.callspec.params["title"] for item in items]
    return Judged(api, OBJECTS, {dashed(title): CASES[title] for title in titles})


@pytest.mark.parametrize("title", CASES, ids=slug)
def test_pod(title: str, judged: Judged) -> None:
    judged.judge(dashed(title))
