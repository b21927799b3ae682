"""What the tours with kubectl share: what differs from run to run is replaced, the rest is compared as a whole."""

from __future__ import annotations

import re
from collections.abc import Sequence

Masks = Sequence[tuple[str, str]]

_CHANGING: Masks = [
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?", "TIME"),
    (r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000", "TIME"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ \+0000", "TIME"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UID"),
    (r"resourceVersion: \"\d+\"", 'resourceVersion: "N"'),
    (r"10\.(?!96\.7\.7)(9[6-9]|1\d\d)\.\d+\.\d+", "ADDRESS"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
    (r"/tmp/(LIVE|MERGED)-\d+", r"/tmp/\1-N"),
    (r"kube-api-access-\w{5}", "kube-api-access-XXXXX"),
    (r"(?m)^(deleted context \w+ from ).*", r"\1FILE"),
    (r"eyJ[\w-]+\.[\w-]+\.[\w-]+", "TOKEN"),
    (r"\b(front|bare|copy)-\w{5}\b", r"\1-XXXXX"),
    (r"(?m)(?<=\s)([2-9]m(\d+s)?|\d+s)(?= |$)", "AGE"),
]  # fmt: skip


def masked(text: str, masks: Masks) -> str:
    """The text with patterns replaced, in order."""
    for pattern, put in masks:
        text = re.sub(pattern, put, text)
    return text


def changing(text: str) -> str:
    """The text without what differs from run to run. Columns shrink and grow with an age: runs of blanks are one."""
    return re.sub(r"(?m)[ \t]+$", "", re.sub(r"(?m)(?<=\S) {2,}", "  ", masked(text, _CHANGING)))
