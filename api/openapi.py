"""The OpenAPI document: what the framework knows of the routes, and what only we know of bodies and errors."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, get_args

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from api.errors import PROBLEM_MEDIA_TYPE
from api.schemas.base import ProblemDocument
from api.schemas.examples import EXAMPLES
from api.schemas.jobs import JobCreate
from softreg_core.data.request import FileFormat

__all__ = ["BINARY", "FILE_REPLIES", "JOB_BODY", "UPLOAD_BODY", "install", "problems"]

_REF = "#/components/schemas/{model}"
_TITLE = "softreg"
_DESCRIPTION = "Submit training jobs with a soft-regularized loss, watch them, and download the models."
# Any route can answer these: a wrong key, too many requests for the service's state, a fault of its own.
_ALWAYS = (401, 403, 422, 500, 503)

JOB_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": _REF.format(model="JobCreate")}}},
    }
}
_FORM_SCHEMA = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {"type": "string", "format": "binary"},
        "name": {"type": "string", "maxLength": 255},
        "format": {"enum": list(get_args(FileFormat))},
    },
}
UPLOAD_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": _FORM_SCHEMA,
                "example": {"file": "rooms,price\n6.5,24.0\n", "name": "houses.csv", "format": "csv"},
            },
            "application/x-ndjson": {"schema": {"type": "string"}, "example": '{"rooms": 6.5, "price": 24.0}\n'},
            "application/vnd.apache.parquet": {"schema": {"type": "string", "format": "binary"}},
            "text/tab-separated-values": {"schema": {"type": "string"}},
            "text/csv": {"schema": {"type": "string"}, "example": "rooms,price\n6.5,24.0\n"},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
BINARY: dict[str, Any] = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
FILE_REPLIES: dict[int | str, dict[str, Any]] = {
    206: {"description": "Partial Content", **BINARY},
    304: {"description": "Not Modified"},
}
"""What a file's GET can answer besides the whole file."""


def problems(*statuses: int, always: tuple[int, ...] = _ALWAYS) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that can fail with these statuses, besides those that every route can."""
    schema = {"$ref": _REF.format(model="ProblemDocument")}
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {PROBLEM_MEDIA_TYPE: {"schema": schema}},
        }
        for status in sorted({*statuses, *always})
    }


def install(app: FastAPI) -> None:
    """Make `app` serve the full document."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's own way to extend the document


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=_TITLE, version=app.version, description=_DESCRIPTION, routes=app.routes)
    _, written = models_json_schema([(JobCreate, "validation"), (ProblemDocument, "serialization")], ref_template=_REF)
    schemas = document["components"]["schemas"]
    schemas.update(written["$defs"])
    # Of FastAPI's own errors, which this service never sends.
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for name, examples in EXAMPLES.items():
        schemas[name]["examples"] = examples
    return document
