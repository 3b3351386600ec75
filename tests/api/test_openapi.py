"""The OpenAPI document says what the service does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from api.routes.health import HealthReply, ReadyReply
from api.schemas import base, datasets, jobs, metrics, models
from api.schemas.examples import EXAMPLES

MODULES = (base, jobs, metrics, datasets, models)
KNOWN = {name: getattr(module, name) for module in MODULES for name in module.__all__}
KNOWN |= {"HealthReply": HealthReply, "ReadyReply": ReadyReply}


@pytest.fixture
def document(app):
    return app.openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_it_is_served_and_nothing_loads_from_outside(new_client):
    client = new_client()
    assert client.get("/openapi.json").json()["openapi"].startswith("3.1")
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404


def test_operation_ids_are_ours_and_unique(document):
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", name) for name in ids)
    assert "jobs_create" in ids


def test_every_operation_under_v1_needs_a_key_and_declares_its_errors(document):
    for path, method, operation in operations(document):
        declared = set(operation["responses"])
        if path.startswith("/v1"):
            assert operation["security"][0]["api_key"] in (["read"], ["write"])
            assert declared >= {"401", "403", "422", "500", "503"}, path
            if "{" in path:
                assert "404" in declared, path
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                schema = response["content"]["application/problem+json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/ProblemDocument"}
                assert "application/json" not in response["content"], (path, method)


def test_every_reference_leads_somewhere(document):
    def references(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                yield node["$ref"]
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    names = set(references(document))
    assert "#/components/schemas/JobCreate" in names
    assert {name.rpartition("/")[2] for name in names} <= set(document["components"]["schemas"])


def test_every_json_body_and_reply_has_an_example(document):
    def is_shown(media_type: str, content: dict[str, Any]) -> bool:
        if "json" not in media_type or "example" in content:
            return True
        name = content["schema"]["$ref"].rpartition("/")[2]
        return bool(document["components"]["schemas"][name].get("examples"))

    for path, method, operation in operations(document):
        bodies = [operation.get("requestBody", {"content": {}}), *operation["responses"].values()]
        for body in bodies:
            for media_type, content in body.get("content", {}).items():
                assert is_shown(media_type, content), (path, method, media_type)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_every_example_is_valid(name):
    kind: type[BaseModel] = KNOWN[name]
    for example in EXAMPLES[name]:
        shown = kind.model_validate(example)
        assert kind.model_config.get("extra") == "forbid" or set(example) <= set(kind.model_fields)
        assert shown.model_dump(mode="json", exclude_unset=True).keys() == example.keys()
