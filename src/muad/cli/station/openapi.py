"""`muad station openapi`."""

from __future__ import annotations

import json

from muad.cli.display import show


def command() -> None:
    """Print the OpenAPI document of the station's HTTP interface, for programs and their generators."""
    from muad.service.app import interface

    show(json.dumps(interface(), indent=2, ensure_ascii=False))
