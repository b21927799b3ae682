"""What the server gives every object."""

import uuid

from netlab.apiserver.metadata import unique


def test_what_is_unique_is_a_uuid_of_version_4() -> None:
    found = {unique() for _ in range(1000)}
    assert len(found) == 1000
    for text in found:
        assert (str(uuid.UUID(text)), uuid.UUID(text).version, uuid.UUID(text).variant) == (text, 4, uuid.RFC_4122)
