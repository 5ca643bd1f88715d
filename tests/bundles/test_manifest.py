"""The published schema is the one that is checked against."""

from __future__ import annotations

import json
from pathlib import Path

from muad.bundles.manifest import json_schema

_PUBLISHED = Path(__file__).parents[2] / "docs" / "bundle.schema.json"


def test_the_published_json_schema_is_that_of_the_manifest() -> None:
    wanted = json.dumps(json_schema(), indent=1, sort_keys=True) + "\n"
    assert _PUBLISHED.read_text(encoding="utf-8") == wanted, "write it again with muad.bundles.manifest.json_schema()"
