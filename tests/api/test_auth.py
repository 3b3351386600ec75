"""Who may do what: keys, scopes, and the wall between tenants."""

from __future__ import annotations

import pytest
from fastapi.routing import iter_route_contexts

JOB = "job_" + "0" * 26


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwYXNz",
        "null",
        "[]",
        "Bearer null",
        "Bearer sk_0123456789abcdef_" + "A" * 43,
        "Bearer sk_%00_x",
        "sk_0123456789abcdef_" + "A" * 43,
    ],
)
def test_without_a_key_that_works_everything_is_401(new_client, header):
    headers = {} if header is None else {"Authorization": header}
    response = new_client().get("/v1/jobs", headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith('Bearer realm="softreg"')
    assert response.json()["code"] == "unauthenticated"


def test_a_key_in_the_query_or_given_twice_does_not_count(new_client, new_key):
    key = new_key()
    client = new_client()
    assert client.get(f"/v1/jobs?key={key}").status_code == 401
    twice = [("Authorization", f"Bearer {key}"), ("Authorization", f"Bearer {key}")]
    assert client.get("/v1/jobs", headers=twice).status_code == 401
    assert client.get("/v1/jobs", headers={"Authorization": f"bearer {key}"}).status_code == 200


def test_a_key_that_may_only_read_cannot_submit_cancel_or_upload(new_client, new_key, client):
    job = client.submit()
    reader = new_client(new_key(scopes=("read",)))
    assert reader.get(job["urls"]["self"]).status_code == 200
    for url, options in (
        ("/v1/jobs", {"json": {"dataset": "sample:digits"}}),
        (job["urls"]["cancel"], {}),
        ("/v1/datasets?format=csv", {"content": b"a,b\n1,2\n"}),
    ):
        response = reader.post(url, **options)
        assert (response.status_code, response.json()["code"]) == (403, "missing_scope")
    writer = new_client(new_key(scopes=("write",)))
    assert writer.get("/v1/jobs").status_code == 403


def test_no_key_comes_before_every_other_complaint(new_client):
    client = new_client()
    assert client.get("/v1/jobs?nonsense=1").status_code == 401
    assert client.get("/v1/jobs/no-id").status_code == 401
    assert client.post("/v1/jobs", content=b"{", headers={"Content-Type": "text/plain"}).status_code == 401


# Every route, and how another tenant's caller meets it: 404 for what is not theirs, an empty list, or open to all.
MATRIX = {
    ("POST", "/v1/jobs"): "own",
    ("GET", "/v1/jobs"): "empty",
    ("GET", "/v1/jobs/{job_id}"): "404",
    ("POST", "/v1/jobs/{job_id}/cancel"): "404",
    ("GET", "/v1/jobs/{job_id}/events"): "404",
    ("GET", "/v1/jobs/{job_id}/metrics"): "404",
    ("GET", "/v1/jobs/{job_id}/checkpoints"): "404",
    ("GET", "/v1/jobs/{job_id}/model"): "404",
    ("GET", "/v1/checkpoints/{checkpoint_id}"): "404",
    ("GET", "/v1/checkpoints/{checkpoint_id}/content"): "404",
    ("HEAD", "/v1/checkpoints/{checkpoint_id}/content"): "404",
    ("GET", "/v1/models/{model_id}"): "404",
    ("GET", "/v1/models/{model_id}/files/{name}"): "404",
    ("HEAD", "/v1/models/{model_id}/files/{name}"): "404",
    ("POST", "/v1/datasets"): "own",
    ("GET", "/v1/datasets"): "empty",
    ("GET", "/v1/datasets/{dataset_id}"): "404",
    ("GET", "/healthz"): "open",
    ("GET", "/readyz"): "open",
    ("GET", "/openapi.json"): "open",
    ("HEAD", "/openapi.json"): "open",
}


def test_every_route_has_a_row_in_the_matrix(app):
    routes = {(method, route.path) for route in iter_route_contexts(app.routes) for method in route.methods}
    assert routes == set(MATRIX)


def test_another_tenants_things_do_not_exist(client, worker, dataset, new_client, new_key):
    job = client.submit()
    mine = worker.claim()
    ids = {
        "job_id": job["id"],
        "checkpoint_id": worker.checkpoint(mine, 3),
        "model_id": worker.succeed(mine, {"model.safetensors": b"weights"}),
        "name": "model.safetensors",
        "dataset_id": dataset(),
    }
    other = new_client(new_key("ten_other"))
    for (method, path), expected in MATRIX.items():
        url = path.format(**ids)
        if not path.startswith("/v1"):
            assert expected == "open"
            assert new_client().request(method, url).status_code != 401
            continue
        assert new_client().request(method, url).status_code == 401, path
        if expected == "own":
            continue
        if method == "GET":
            assert client.get(url).status_code in (200, 307), path
        theirs = other.request(method, url)
        if expected == "empty":
            assert theirs.json()["data"] == []
        else:
            assert theirs.status_code == 404, path
    refused = other.post("/v1/jobs", json={"dataset": ids["dataset_id"]})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/dataset"


def test_another_tenants_refusal_is_the_same_as_that_of_nothing(client, new_client, new_key):
    job_id = client.submit()["id"]
    other = new_client(new_key("ten_other"))
    theirs, nothing = (other.get(f"/v1/jobs/{name}").json() for name in (job_id, JOB))
    for body, name in ((theirs, job_id), (nothing, JOB)):
        body.pop("request_id")
        body["detail"] = body["detail"].replace(name, "?")
    assert theirs == nothing
