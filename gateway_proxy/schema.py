"""The JSON Schema of the gateway's configuration, for editors and checks: docs/gateway.schema.json.

`python -m gateway_proxy.schema` prints it. It knows types, ranges, patterns and keys; what has to agree across keys
(upstreams that exist, prefixes that differ) only the gateway itself checks.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from gateway_proxy.config import GatewayConfig

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12) as plain values."""
    schema = GatewayConfig.model_json_schema()
    for model in (schema, *schema["$defs"].values()):
        _tidy(model)
    # The model reads an address alone as a target, which its own schema cannot know.
    target = schema["$defs"]["Target"]
    schema["$defs"]["Target"] = {
        "description": target.pop("description"),
        "anyOf": [{"type": "string", "description": "HOST:PORT"}, target],
    }
    return {"$schema": DIALECT, **schema, "title": "The gateway's configuration"}


def text() -> str:
    """Return the schema as the file holds it."""
    return json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"


def _tidy(model: dict[str, Any]) -> None:
    """Drop titles that only repeat a key's name; refuse keys of a mapping that no pattern knows."""
    for field in model.get("properties", {}).values():
        field.pop("title", None)
        if "patternProperties" in field:
            field["additionalProperties"] = False


if __name__ == "__main__":
    sys.stdout.write(text())
