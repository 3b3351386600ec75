"""The same Idempotency-Key never makes two jobs."""

from __future__ import annotations

import hashlib

import pytest
from sqlalchemy import text

BODY = {"dataset": "sample:digits"}


@pytest.fixture
def post(client):
    return lambda key, body=BODY, who=client: who.post("/v1/jobs", json=body, headers={"Idempotency-Key": key})


def test_the_same_request_gets_the_same_reply(client, post):
    first, second = post("a"), post("a")
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert first.headers["location"] == second.headers["location"]
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert len(client.get("/v1/jobs").json()["data"]) == 1


def test_another_body_under_the_same_key_is_422(client, post):
    post("a")
    response = post("a", {**BODY, "name": "other"})
    assert (response.status_code, response.json()["code"]) == (422, "idempotency_mismatch")
    assert len(client.get("/v1/jobs").json()["data"]) == 1


def test_a_refused_request_leaves_its_key_free(client, post):
    assert post("a", {"dataset": "sample:nothing"}).status_code == 422
    assert post("a").status_code == 201


def test_a_request_whose_twin_is_still_served_is_409(client, post, engine):
    """The lock that `once` takes, held by another connection as a request in flight holds it."""
    lock = hashlib.sha256(b"ten_default\0POST /v1/jobs\0a").digest()[:8]
    with engine.begin() as in_flight:
        in_flight.execute(
            text("SELECT pg_advisory_xact_lock(:number)"), {"number": int.from_bytes(lock, "big", signed=True)}
        )
        response = post("a")
        assert (response.status_code, response.json()["code"]) == (409, "idempotency_in_flight")
        assert response.json()["retryable"] is True
        assert post("b").status_code == 201
    assert post("a").status_code == 201


def test_tenants_do_not_share_keys(client, post, new_client, new_key):
    other = new_client(new_key("ten_other"))
    assert post("a").json()["id"] != post("a", who=other).json()["id"]


def test_a_key_has_up_to_255_printable_characters(post):
    key = "".join(chr(number) for number in range(0x21, 0x7F)) + "x" * 161
    assert len(key) == 255
    assert post(key).json() == post(key).json()


@pytest.mark.parametrize("key", ["", "a b", b"\xc3\xa9", "a\x7f", "x" * 256, "a\tb"])
def test_a_key_of_another_form_is_400(post, key):
    assert post(key).status_code == 400
