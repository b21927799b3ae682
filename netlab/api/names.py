"""Names, labels and keys: what is wrong with them, in the words of apimachinery's pkg/util/validation."""

from __future__ import annotations

import re
from collections.abc import Callable

LABEL_MAX, SUBDOMAIN_MAX = 63, 253

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LABEL_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_ENV = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
_PORT_NAME = re.compile(r"[-a-z0-9]+")

Problems = list[str]


def _too_long(limit: int) -> str:
    return f"must be no more than {limit} characters"


def _regex(message: str, form: str, *examples: str) -> str:
    listed = " or ".join(f"'{e}'" for e in examples)
    # the original writes the last of several examples after a comma: "e.g. 'a',  or 'b'"
    listed = ",  or ".join(f"'{e}'" for e in examples) if len(examples) > 1 else listed
    return f"{message} (e.g. {listed}, regex used for validation is '{form}')"


_LABEL_MSG = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character"
)
_LABEL_1035_MSG = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
    "start with an alphabetic character, and end with an alphanumeric character"
)
_SUBDOMAIN_MSG = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character"
)
_SUBDOMAIN_FORM = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"


def label_problems(name: str) -> Problems:
    """RFC 1123 label."""
    found = [_too_long(LABEL_MAX)] if len(name) > LABEL_MAX else []
    if not _LABEL.fullmatch(name):
        if _SUBDOMAIN.fullmatch(name):
            found.append("must not contain dots")
        else:
            found.append(_regex(_LABEL_MSG, "[a-z0-9]([-a-z0-9]*[a-z0-9])?", "my-name", "123-abc"))
    return found


def label_1035_problems(name: str) -> Problems:
    """RFC 1035 label: Services."""
    found = [_too_long(LABEL_MAX)] if len(name) > LABEL_MAX else []
    if not _LABEL_1035.fullmatch(name):
        found.append(_regex(_LABEL_1035_MSG, "[a-z]([-a-z0-9]*[a-z0-9])?", "my-name", "abc-123"))
    return found


def subdomain_problems(name: str) -> Problems:
    """RFC 1123 subdomain: most names."""
    found = [_too_long(SUBDOMAIN_MAX)] if len(name) > SUBDOMAIN_MAX else []
    if not _SUBDOMAIN.fullmatch(name):
        found.append(_regex(_SUBDOMAIN_MSG, _SUBDOMAIN_FORM, "example.com"))
    return found


def path_segment_problems(name: str) -> Problems:
    """A name that only has to fit into a path: RBAC, CSR."""
    if name in (".", ".."):
        return [f"may not be '{name}'"]
    return [f"may not contain '{c}'" for c in "/%" if c in name]


def qualified_name_problems(name: str) -> Problems:
    """Keys of labels and annotations."""
    prefix, slash, base = name.rpartition("/")
    if "/" in prefix:
        return [
            _regex(f"a qualified name {_QUALIFIED_MSG}", _QUALIFIED_FORM, "MyName", "my.name", "123-abc")
            + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ]
    found = []
    if slash:
        if not prefix:
            found.append("prefix part must be non-empty")
        else:
            found += [f"prefix part {p}" for p in subdomain_problems(prefix)]
    if not base:
        found.append("name part must be non-empty")
    elif len(base) > LABEL_MAX:
        found.append(f"name part {_too_long(LABEL_MAX)}")
    if not _QUALIFIED.fullmatch(base):
        found.append("name part " + _regex(_QUALIFIED_MSG, _QUALIFIED_FORM, "MyName", "my.name", "123-abc"))
    return found


_QUALIFIED_MSG = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
)
_QUALIFIED_FORM = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE_MSG = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character"
)


def label_value_problems(value: str) -> Problems:
    """Values of labels."""
    found = [_too_long(LABEL_MAX)] if len(value) > LABEL_MAX else []
    if not _VALUE.fullmatch(value):
        found.append(_regex(_VALUE_MSG, "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?", "MyValue", "my_value", "12345"))
    return found


def config_key_problems(key: str) -> Problems:
    """Keys of ConfigMaps and Secrets."""
    found = [_too_long(SUBDOMAIN_MAX)] if len(key) > SUBDOMAIN_MAX else []
    if not _CONFIG_KEY.fullmatch(key):
        message = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        found.append(_regex(message, "[-._a-zA-Z0-9]+", "key.name", "KEY_NAME", "key-name"))
    elif key in (".", ".."):
        found.append(f"must not be '{key}'")
    elif key.startswith(".."):
        found.append("must not start with '..'")
    return found


def env_name_problems(name: str) -> Problems:
    """Names of environment variables (relaxed since 1.32: any printable ASCII but =)."""
    if not name or any(not " " <= c <= "~" or c == "=" for c in name):
        return ["a valid environment variable name must consist only of printable ASCII characters other than '='"]
    return []


def port_name_problems(name: str) -> Problems:
    """Names of container ports (RFC 6335)."""
    found = []
    if len(name) > 15:
        found.append(_too_long(15))
    if not _PORT_NAME.fullmatch(name):
        found.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not any("a" <= c <= "z" for c in name):
        found.append("must contain at least one letter (a-z)")
    if "--" in name:
        found.append("must not contain consecutive hyphens")
    if name and (name[0] == "-" or name[-1] == "-"):
        found.append("must not begin or end with a hyphen")
    return found


#: how the name of a kind has to look, where it is not a subdomain
NAME_RULES: dict[str, Callable[[str], Problems]] = {
    "Namespace": label_problems,
    "Service": label_1035_problems,
    "Role": path_segment_problems,
    "ClusterRole": path_segment_problems,
    "RoleBinding": path_segment_problems,
    "ClusterRoleBinding": path_segment_problems,
    "StatefulSet": label_problems,
}


def name_problems(kind: str, name: str) -> Problems:
    """What is wrong with the name of an object of this kind."""
    return NAME_RULES.get(kind, subdomain_problems)(name)
