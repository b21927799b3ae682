"""Looking for cycles rarely, and as before afterwards."""

import gc

from netlab.base.garbage import looked_for_rarely


def test_only_in_the_body() -> None:
    before = gc.get_threshold()
    with looked_for_rarely():
        assert gc.get_threshold()[0] > before[0]
        assert gc.get_freeze_count() > 0
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)
