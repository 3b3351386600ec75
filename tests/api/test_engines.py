"""An engine that cannot run a job is refused at submit, where the spec alone tells; one that may is queued."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("asked", "beside", "reason"),
    [
        ("cudagraph", {"resources": {"device": "cpu"}}, "CUDA only"),
        ("compiled", {"optimizer": {"kind": "muon"}}, "muon"),
        ("compiled", {"penalties": {"input_noise": 0.1}}, "input_noise"),
        ("cudagraph", {"resources": {"device": "cuda"}, "optimizer": {"kind": "muon"}}, "muon"),
        ("turbo", {}, "expected 'auto', 'eager'"),
    ],
)
def test_an_engine_that_cannot_run_the_job_is_a_422_with_the_reason(client, asked, beside, reason):
    body = {"dataset": "sample:digits", "training": {"engine": asked}, **beside}
    response = client.post("/v1/jobs", json=body)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    (problem,) = response.json()["errors"]
    assert problem["pointer"] == "/training/engine"
    assert reason in problem["message"]


@pytest.mark.parametrize(
    ("asked", "device"),
    [("auto", "cpu"), ("eager", "cpu"), ("compiled", "cpu"), ("compiled", "auto"), ("cudagraph", "cuda:1")],
)
def test_an_engine_that_only_the_machine_can_refuse_is_queued(client, asked, device):
    job = client.submit(training={"engine": asked}, resources={"device": device})
    # The default is left out of a spec, so that those of before keep their digest.
    assert job["resolved_spec"]["training"].get("engine", "auto") == asked
