"""The OpenAPI document is the contract: published as it is, and kept by the running station whatever is sent.

MUAD_EXAMPLES=300 python -m pytest tests/service/security/test_contract.py    for a long run
"""

import json
import os
from pathlib import Path

import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.openapi import from_path
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from tests.service.security.conftest import Served

from muad.service.access.roles import Role
from muad.service.app import interface

PUBLISHED = Path(__file__).resolve().parents[3] / "docs" / "openapi.json"
CONTRACT = from_path(PUBLISHED).exclude(path="/v1/events")  # which never ends; the table of roles asks it
EXAMPLES = int(os.environ.get("MUAD_EXAMPLES", "4"))


@schemathesis.serializer("image/bmp", "image/jp2", "image/tiff", "image/x-portable-anymap")
def as_it_is(_: schemathesis.SerializationContext, content: object) -> object:
    """A photograph's bytes."""
    return content.data if hasattr(content, "data") else content


def test_the_published_document_is_that_of_the_application() -> None:
    published = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    assert published == interface(), f"write it anew: muad station openapi > docs/{PUBLISHED.name}"


@CONTRACT.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_request_ends_in_a_fault_or_in_an_answer_that_the_document_does_not_know(
    case: schemathesis.Case, served: Served
) -> None:
    case.call_and_validate(
        base_url=served.address,
        headers=served.headers[Role.ADMIN],
        checks=[
            not_a_server_error,
            status_code_conformance,
            content_type_conformance,
            response_headers_conformance,
            response_schema_conformance,
            unsupported_method,
        ],
    )
