"""What is known of each kind of API object: names, schema, defaults, validation, conversion, columns.

Everything here is pure: values in, values out, no file but this package's own tables and no clock but the one that is
handed over. Objects are plain JSON dicts; nothing in them that a schema knows is ever lost. Sources: the public API
reference and the OpenAPI schemas of Kubernetes 1.33 (package kubernetes-validate), and the tables under data/.
"""

from __future__ import annotations

from typing import Any

#: a JSON object
Json = dict[str, Any]

#: what /version tells: the release whose API this is
MAJOR, MINOR, PATCH = 1, 33, 4
