"""YAML with lines. What labs make of it is tested with labs."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from netlab.base.errors import InputError
from netlab.base.yamlfile import load, parse, validated


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    port: int


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    inner: list[Inner] = []


def test_every_value_has_its_line() -> None:
    document = parse("name: a\ninner:\n  - port: 1\n  - {port: 2}\n", "f.yaml")
    assert document.data == {"name": "a", "inner": [{"port": 1}, {"port": 2}]}
    assert document.place(("inner", 1, "port")) == "f.yaml:4"
    assert document.place(("inner", 1, "nothing", "there")) == "f.yaml:4"


def test_json_is_yaml_too() -> None:
    assert parse('{"name": "a",\n "inner": [{"port": 1}]}', "f.json").data["inner"] == [{"port": 1}]


def test_all_problems_are_told_with_their_lines() -> None:
    document = parse("nam: a\ninner:\n  - port: x\n", "f.yaml")
    with pytest.raises(InputError) as caught:
        validated(Outer, document)
    text = str(caught.value)
    assert "f.yaml:1: unknown key 'nam'" in text and "did you mean 'name'?" in text
    assert "f.yaml:3: inner.0.port" in text


@pytest.mark.parametrize(
    ("text", "says"),
    [("a: 1\na: 2\n", "f:2: key 'a' occurs twice"), ("a:\n\t- 1\n", "tabs"), ("&a [*a]", "deeply")],
)
def test_what_is_no_document(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse(text, "f")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        load(tmp_path / "none.yaml")
