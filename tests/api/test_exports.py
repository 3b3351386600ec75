"""Files that are built later, as a caller sees them: their state in the model, and 409 until they are there."""

from __future__ import annotations

import pytest

from softreg_jobs import store


@pytest.fixture
def model_id(client, worker):
    client.submit()
    return worker.succeed(worker.claim(), {"model.safetensors": b"weights", "model.json": b"{}"})


def states(client, model_id):
    return {file["name"]: file["state"] for file in client.get(f"/v1/models/{model_id}").json()["files"]}


def claimed(worker):
    with worker.engine.begin() as connection:
        return store.claim_export(connection, "wrk_1", lease_seconds=30)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_first_request_has_the_file_built(client, worker, model_id, method):
    url = f"/v1/models/{model_id}/files/model.onnx"
    assert claimed(worker) is None
    for _ in range(2):
        response = client.request(method, url)
        assert (response.status_code, response.headers["retry-after"]) == (409, "2")
    problem = client.get(url).json()
    assert (problem["code"], problem["retryable"]) == ("file_not_ready", True)
    assert states(client, model_id) == {"model.json": "ready", "model.onnx": "building", "model.safetensors": "ready"}
    mine = claimed(worker)
    file = store.ModelFile("model.onnx", worker.blob(b"graph"), "application/octet-stream")
    with worker.engine.begin() as connection:
        store.finish_export(connection, mine, file, {"largest_difference": 1e-7})
    assert client.get(url).content == b"graph"
    (shown,) = (f for f in client.get(f"/v1/models/{model_id}").json()["files"] if f["name"] == "model.onnx")
    assert (shown["state"], shown["size"], shown["export"]) == ("ready", 5, {"largest_difference": 1e-7})


def test_a_failed_file_says_why_and_is_not_tried_again(client, worker, model_id):
    url = f"/v1/models/{model_id}/files/model.pt2"
    client.get(url)
    with worker.engine.begin() as connection:
        store.fail_export(connection, store.claim_export(connection, "wrk_1", lease_seconds=30), "no such operator")
    response = client.get(url)
    problem = response.json()
    assert (response.status_code, problem["code"], problem["retryable"]) == (409, "file_failed", False)
    assert "no such operator" in problem["detail"]
    assert "retry-after" not in response.headers
    (shown,) = (f for f in client.get(f"/v1/models/{model_id}").json()["files"] if f["name"] == "model.pt2")
    assert (shown["state"], shown["reason"]) == ("failed", "no such operator")
    assert claimed(worker) is None


@pytest.mark.parametrize("name", ["model.pkl", "model.safetensors.onnx", "card.md"])
def test_a_name_that_no_model_has_is_404_and_builds_nothing(client, worker, model_id, name):
    assert client.get(f"/v1/models/{model_id}/files/{name}").status_code == 404
    assert claimed(worker) is None


def test_another_tenant_has_nothing_built(new_client, new_key, worker, model_id):
    other = new_client(new_key("ten_other"))
    assert other.get(f"/v1/models/{model_id}/files/model.onnx").status_code == 404
    assert claimed(worker) is None


def test_the_formats_of_a_job_are_shown_and_a_wrong_one_is_refused(client):
    job = client.submit(export=["onnx"])
    assert job["resolved_spec"]["export"] == ["safetensors", "onnx"]
    refused = client.post("/v1/jobs", json={"dataset": "sample:digits", "export": ["onxx"]})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"].startswith("/export")
