"""Every error is a problem document, and says nothing that stays inside."""

from __future__ import annotations

import json
import pickle
import re
from collections import Counter
from collections.abc import Iterator

import pytest
import structlog
from sqlalchemy import exc, text

import api.refusals
import softreg_core.errors
import softreg_jobs.errors
from api.errors import STATUS
from api.refusals import (
    InvalidRequestError,
    NotAcceptableError,
    NotReadyError,
    RangeNotSatisfiableError,
    UnauthenticatedError,
)
from softreg_core.errors import DataError, NonFiniteLossError, Problem, SoftregError, SpecError
from softreg_jobs import queries
from softreg_jobs.errors import NotFoundError, StateConflictError
from softreg_jobs.settings import Settings

OWN = ("softreg_core", "softreg_jobs", "api")


def classes(root: type[SoftregError] = SoftregError) -> Iterator[type[SoftregError]]:
    yield root
    for kind in root.__subclasses__():
        yield from classes(kind)


OWN_CLASSES = [kind for kind in classes() if kind.__module__.startswith(OWN)]
# Of those whose constructors take more than a message.
ARGUMENTS = {
    SpecError: ("two problems", (Problem("/a", "b"), Problem("/c", "d"))),
    DataError: ("bad cell", "missing", 3, "age"),
    NonFiniteLossError: ("gone", 7, "base", 1),
    NotFoundError: ("job", "job_1"),
    StateConflictError: ("too late", "failed"),
    InvalidRequestError: ("wrong", [Problem("/a", "b")]),
    NotAcceptableError: ("no", ["application/json"]),
    UnauthenticatedError: ("no", True),
    RangeNotSatisfiableError: ("no", 3),
    NotReadyError: ("no", {"redis": "failed"}, 0),
}


def test_every_error_class_has_a_status_that_fits_its_fault():
    assert set(OWN_CLASSES) == set(STATUS)
    for kind, status in STATUS.items():
        assert (status < 500) == (kind.fault == "user"), kind


def test_error_codes_are_unique():
    assert [code for code, count in Counter(kind.code for kind in OWN_CLASSES).items() if count > 1] == []


@pytest.mark.parametrize("kind", OWN_CLASSES, ids=lambda kind: kind.__name__)
def test_errors_cross_a_process_boundary_whole(kind):
    error = kind(*ARGUMENTS.get(kind, ("what happened",)))
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes; process pools send errors so
    assert type(again) is kind
    assert str(again) == str(error) == error.message
    assert vars(again) == vars(error)
    assert again.details() == error.details()


@pytest.mark.parametrize("module", [softreg_core.errors, softreg_jobs.errors, api.refusals], ids=lambda m: m.__name__)
def test_a_module_draws_all_its_errors_and_nothing_else(module):
    own = [kind for kind in OWN_CLASSES if kind.__module__ == module.__name__]
    above = {base for kind in own for base in kind.__bases__ if issubclass(base, SoftregError)}
    assert set(re.findall(r"\w+Error\b", module.__doc__)) == {kind.__name__ for kind in above.union(own)}


def check_problem(response, status: int, code: str) -> dict:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert set(body) >= {"type", "title", "status", "detail", "code", "errors", "request_id", "retryable"}
    assert (body["status"], body["code"]) == (status, code)
    assert body["request_id"] == response.headers["x-request-id"]
    return body


def test_unknown_routes_and_methods_are_problems_too(client):
    check_problem(client.get("/nowhere"), 404, "not_found")
    check_problem(client.get("/v1/jobs/"), 404, "not_found")
    response = client.request("DELETE", "/v1/jobs")
    check_problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "GET, POST"


@pytest.mark.parametrize(
    "path", ["/v1/jobs/job_%00", "/v1/jobs/job_1", "/v1/models/%F0%9F%92%A9", "/v1/datasets/..%2f"]
)
def test_an_id_that_none_can_have_is_404_and_never_reaches_the_database(client, path):
    check_problem(client.get(path), 404, "not_found")


def test_unknown_and_repeated_and_bad_parameters_are_422(client):
    problem = check_problem(client.get("/v1/jobs?limits=5&order=asc&order=desc"), 422, "invalid_request")
    assert problem["errors"] == [
        {"pointer": "?limits", "message": "unknown parameter 'limits' - did you mean 'limit'?"},
        {"pointer": "?order", "message": "given twice"},
    ]
    for query in ("limit=0", "limit=101", "limit=x", "order=up", "state=done"):
        problem = check_problem(client.get(f"/v1/jobs?{query}"), 422, "invalid_request")
        assert [item["pointer"] for item in problem["errors"]] == ["?" + query.partition("=")[0]]
    job = client.submit()
    for path in ("self", "model"):
        check_problem(client.get(job["urls"][path] + "?a=1"), 422, "invalid_request")
    check_problem(client.get(job["urls"]["events"] + "?after=-1"), 422, "invalid_request")
    check_problem(client.get(job["urls"]["events"] + f"?after={2**63}"), 422, "invalid_request")


def test_a_fault_of_our_own_shows_neither_text_nor_traceback(client, monkeypatch):
    def broken(*_: object) -> None:
        raise RuntimeError("postgresql://user:secret@host row=42")

    monkeypatch.setattr(queries, "get_outline", broken)
    events = f"/v1/jobs/job_{'0' * 26}/events"
    with structlog.testing.capture_logs() as logs:
        response = client.get(events)
    body = check_problem(response, 500, "internal")
    for told in (response.text, json.dumps(logs)):
        assert "secret" not in told
        assert "row=42" not in told
        assert "Traceback" not in told
    unforeseen = next(line for line in logs if line["event"] == "unforeseen")
    assert unforeseen["request_id"] == body["request_id"]
    assert unforeseen["error"] == "RuntimeError"


def test_a_database_that_does_not_answer_is_503_with_retry_after(new_app, new_client, new_key, tmp_path):
    nowhere = Settings(database_url=f"postgresql:///softreg?host={tmp_path}", redis_url="redis://127.0.0.1:1")
    app = new_app(database_url=nowhere.database_url)
    response = new_client(new_key(), app=app).get("/v1/jobs")
    body = check_problem(response, 503, "unavailable")
    assert body["retryable"] is True
    assert int(response.headers["retry-after"]) > 0
    assert str(tmp_path) not in response.text


def test_a_pool_without_connections_is_503(client, monkeypatch):
    def exhausted(*_: object, **__: object) -> None:
        raise exc.TimeoutError("QueuePool limit reached")

    monkeypatch.setattr(queries, "list_jobs", exhausted)
    check_problem(client.get("/v1/jobs"), 503, "unavailable")


@pytest.mark.parametrize(
    ("given", "is_kept"), [("order-7.a_B", True), ("x" * 129, False), ("a b", False), ("é", False)]
)
def test_a_sane_request_id_is_echoed_and_stored_and_any_other_replaced(client, engine, given, is_kept):
    headers = {"X-Request-Id": given.encode()}
    response = client.post("/v1/jobs", json={"dataset": "sample:digits"}, headers=headers)
    told = response.headers["x-request-id"]
    assert (told == given) == is_kept
    with engine.connect() as connection:
        stored = connection.execute(text("SELECT request_id FROM jobs")).scalar_one()
    assert stored == told


def test_the_log_line_has_no_key_no_query_and_no_body(client):
    with structlog.testing.capture_logs() as logs:
        client.post("/v1/jobs?note=inquery", json={"dataset": "sample:digits", "name": "inbody"})
    (line,) = logs
    assert {"method", "path", "status", "milliseconds", "request_id"} <= set(line)
    told = json.dumps(line)
    assert "inquery" not in told
    assert "inbody" not in told
    assert client.key not in told
