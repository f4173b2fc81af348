"""The OpenAPI document: a snapshot of it, and a service that conforms to it."""

import json
import os
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import CheckFunction
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from framecache import Frame, FrameCache
from framecache.server import Limits, ServiceSettings, create_app
from proving import ANSWERS_PROFILE

SNAPSHOT = Path(__file__).parent / "openapi.json"
DEADLINE_SECONDS = 60
CHECKS: list[CheckFunction] = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


def document() -> dict[str, Any]:
    return create_app(FrameCache("memory://openapi")).openapi()


def test_openapi_document_matches_snapshot() -> None:
    text = json.dumps(document(), indent=1, sort_keys=True) + "\n"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        SNAPSHOT.write_text(text)
    assert text == SNAPSHOT.read_text(), "UPDATE_SNAPSHOTS=1 writes it anew"


def test_every_operation_documents_its_problems() -> None:
    for path, item in document()["paths"].items():
        for method, operation in item.items():
            kinds = [
                kind
                for status, answer in operation["responses"].items()
                if status.startswith(("4", "5"))
                for kind in answer["content"]
            ]
            assert kinds, (method, path)
            assert set(kinds) == {"application/problem+json"}, (method, path)


def served() -> schemathesis.BaseSchema:
    """OpenAPI document of a service over one small timeline, whose tasks are never executed."""
    cache = FrameCache(f"memory://{uuid.uuid4().hex}")
    image = np.zeros((16, 16, 3), np.uint8)
    cache.timeline("t").write([Frame(one, 0, one / 10, image) for one in range(3)])
    limits = Limits(requests_per_second=1e9, auth_failures_per_minute=1e9, tasks_waiting=10**6)
    app = create_app(cache, ServiceSettings(allowed_hosts=None, limits=limits))
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", app)
    # Loading the document started the threads of a service, and other tests count threads.
    app.state.service.stop()
    app.state.service.tasks.join(DEADLINE_SECONDS)
    return schema


schema = served()


@schema.hook("map_path_parameters")
def use_existing_timelines(
    context: schemathesis.HookContext,  # noqa: ARG001 -- schemathesis' signature
    path_parameters: object,
) -> object:
    """Let half of the requests use a timeline that exists."""
    match path_parameters:
        case {"timeline_id": str(timeline_id), **others} if len(timeline_id) % 2:
            return {"timeline_id": "t", **others}
    return path_parameters


@schema.parametrize()
@settings(settings.get_profile(ANSWERS_PROFILE), suppress_health_check=list(HealthCheck))
def test_every_response_matches_openapi_document(case: "schemathesis.Case[Any]") -> None:
    case.call_and_validate(checks=CHECKS)
