"""Submit, list, show, cancel, and what a job leaves while it runs."""

from __future__ import annotations

import re
import threading

import pytest
from sqlalchemy import text

from api.schemas.examples import EXAMPLES
from softreg_core.spec import TrainSpec
from softreg_jobs import store
from softreg_jobs.keys import DEFAULT_TENANT


def test_submit_answers_201_with_the_whole_job(client, worker):
    response = client.post(
        "/v1/jobs",
        json={
            "dataset": "sample:digits",
            "name": "first",
            "priority": 70,
            "metadata": {"a": "b"},
            "training": {"epochs": 4},
        },
    )
    job = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == job["urls"]["self"] == f"/v1/jobs/{job['id']}"
    assert set(job["urls"]) == {"self", "events", "metrics", "checkpoints", "model", "cancel"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", job["created_at"])
    told = {"object": "job", "name": "first", "priority": 70, "metadata": {"a": "b"}, "dataset": "sample:digits"}
    told |= {"state": "queued", "phase": "queued", "terminal": False, "attempt": 0, "model_id": None, "error": None}
    told |= {"queue": {"position": 1, "jobs_ahead": 0}, "warnings": [], "parameters": 2 * 64 + 64 + 64 * 2 + 2}
    assert {name: job[name] for name in told} == told
    assert [(move["state"], move["reason"]) for move in job["transitions"]] == [("queued", "submitted")]
    assert job["progress"]["total_steps"] == 3 * 4
    resolved = dict(job["resolved_spec"])
    assert resolved.pop("loss_formula").startswith("1/2 |y - yhat|^2 + 0.01 * ")
    spec = TrainSpec.model_validate(resolved)
    assert (spec.task.kind, spec.task.features, spec.training.epochs) == ("classification", ("a", "b"), 4)
    assert client.get(job["urls"]["self"]).json()["id"] == job["id"]


def test_the_stored_job_rings_a_doorbell_in_the_same_transaction(client, engine):
    job = client.submit()
    with engine.connect() as connection:
        assert connection.execute(text("SELECT topic, key FROM outbox")).all() == [("doorbell", "auto")]
        assert connection.execute(text("SELECT id, tenant_id FROM jobs")).all() == [(job["id"], DEFAULT_TENANT)]


def test_a_commit_that_fails_is_never_answered_with_201(client, engine):
    with engine.begin() as connection:
        connection.execute(
            text(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '40001'; END $$"
            )
        )
        connection.execute(
            text(
                "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON jobs DEFERRABLE INITIALLY DEFERRED "
                "FOR EACH ROW EXECUTE FUNCTION refuse()"
            )
        )
    response = client.post("/v1/jobs", json={"dataset": "sample:digits"})
    assert response.status_code == 503, response.text
    assert client.get("/v1/jobs").json()["data"] == []


def test_many_requests_at_once_do_not_lock_each_other_out(client):
    """More than threads and connections together: waiting for a connection must not hold a thread."""
    statuses = []
    threads = [threading.Thread(target=lambda: statuses.append(client.get("/v1/jobs").status_code)) for _ in range(120)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 120


def test_a_job_that_no_living_worker_takes_waits_with_a_warning(client, worker):
    assert client.submit()["warnings"] == []
    job = client.submit(resources={"device": "cuda"})
    assert [(warning["code"], warning["pointer"]) for warning in job["warnings"]] == [
        ("no_worker", "/resources/device")
    ]
    worker.announce("cuda")
    assert client.get(job["urls"]["self"]).json()["warnings"] == []


def test_a_legal_and_odd_spec_gets_its_advice(client, worker):
    job = client.submit(loss={"alpha": 5.0})
    assert [warning["code"] for warning in job["warnings"]] == ["article_pushes_outward"]


def test_the_queue_tells_who_runs_first(client, worker):
    first, second = client.submit(), client.submit()
    urgent = client.submit(priority=90)
    ahead = {job["id"]: client.get(job["urls"]["self"]).json()["queue"] for job in (first, second, urgent)}
    assert [ahead[job["id"]]["position"] for job in (urgent, first, second)] == [1, 2, 3]


def test_the_quota_is_a_429_that_says_when_to_come_back(client, new_app, new_client):
    full = new_client(client.key, app=new_app(max_queued_jobs=1))
    full.submit()
    response = full.post("/v1/jobs", json={"dataset": "sample:digits"})
    assert response.status_code == 429
    assert response.json()["code"] == "quota_exceeded"
    assert int(response.headers["retry-after"]) > 0


def test_lists_page_by_cursor_in_both_orders_without_gap_or_repeat(client):
    ids = sorted(client.submit()["id"] for _ in range(5))
    for order, expected in (("asc", ids), ("desc", ids[::-1])):
        seen, cursor = [], None
        while True:
            url = f"/v1/jobs?limit=2&order={order}" + (f"&cursor={cursor}" if cursor else "")
            page = client.get(url).json()
            assert page["object"] == "list"
            seen += [job["id"] for job in page["data"]]
            assert page["has_more"] == (page["next_cursor"] is not None) == (len(seen) < 5)
            if not page["has_more"]:
                break
            cursor = page["next_cursor"]
        assert seen == expected


def test_a_cursor_is_good_only_for_the_question_it_answered(client, new_client, new_key):
    for _ in range(2):
        client.submit()
    cursor = client.get("/v1/jobs?limit=1").json()["next_cursor"]
    assert client.get(f"/v1/jobs?limit=1&cursor={cursor}").status_code == 200
    swapped = cursor[:-1] + ("A" if cursor[-1] != "A" else "B")
    bad = [f"?order=asc&cursor={cursor}", f"?state=queued&cursor={cursor}", f"?cursor={cursor[5:]}", "?cursor=x"]
    bad += [f"?cursor={swapped}{swapped}", "?cursor="]
    for query in bad:
        response = client.get("/v1/jobs" + query)
        assert response.status_code == 422, query
        assert response.json()["errors"][0]["pointer"] == "?cursor"
    other = new_client(new_key("ten_other"))
    assert other.get(f"/v1/jobs?cursor={cursor}").status_code == 422


def test_the_state_filter(client, worker):
    running, queued = client.submit(), client.submit()
    worker.claim()
    for state, job in (("running", running), ("queued", queued)):
        data = client.get(f"/v1/jobs?state={state}").json()["data"]
        assert [found["id"] for found in data] == [job["id"]]
        assert "resolved_spec" not in data[0]


def test_an_unchanged_job_is_304_and_a_changed_one_is_not(client, worker):
    url = client.submit()["urls"]["self"]
    tag = client.get(url).headers["etag"]
    assert set(client.get(url).json()) == set(client.get("/v1/jobs").json()["data"][0]) | {
        "transitions",
        "queue",
        "resolved_spec",
        "device",
        "model_metrics",
    }
    same = client.get(url, headers={"If-None-Match": f'"x", {tag}'})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    mine = worker.claim()
    changed = client.get(url, headers={"If-None-Match": tag})
    assert changed.status_code == 200
    worker.beat(mine, {"phase": "training", "step": 3, "total_steps": 10}, {})
    assert client.get(url, headers={"If-None-Match": changed.headers["etag"]}).status_code == 200


def test_a_running_job_shows_the_newest_that_its_worker_told(client, worker):
    url = client.submit()["urls"]["self"]
    mine = worker.claim()
    started = client.get(url).json()
    assert (started["state"], started["phase"], started["attempt"], started["queue"]) == (
        "running",
        "starting",
        1,
        None,
    )
    progress = {"phase": "training", "step": 30, "total_steps": 120, "epoch": 5, "epochs": 20}
    progress |= {"steps_per_second": 99.5, "seconds_remaining": None}
    worker.beat(mine, progress, {"val.accuracy": {"last": 0.5, "best": 0.75, "best_step": 20}})
    job = client.get(url).json()
    assert job["phase"] == "training"
    assert job["progress"] == {name: value for name, value in progress.items() if name != "phase"} | {"percent": 25.0}
    assert job["metrics"] == {"val.accuracy": {"last": 0.5, "best": 0.75, "best_step": 20}}
    assert job["durations"]["running_seconds"] >= 0
    assert job["durations"]["total_seconds"] >= job["durations"]["queued_seconds"]


def test_what_a_starting_worker_does_not_know_yet_comes_from_the_spec(client, worker):
    """Until the runner has read the data a worker tells nulls."""
    job = client.submit(training={"epochs": 4})
    progress = {"phase": "starting", "step": 0, "total_steps": None, "epoch": 0, "epochs": None}
    progress |= {"steps_per_second": None, "seconds_remaining": None}
    worker.beat(worker.claim(), progress, {})
    for shown in (client.get(job["urls"]["self"]).json(), client.get("/v1/jobs").json()["data"][0]):
        assert (shown["phase"], shown["progress"]) == ("starting", job["progress"])
        assert (shown["progress"]["total_steps"], shown["progress"]["epochs"]) == (3 * 4, 4)


def test_a_waiting_job_is_cancelled_at_once_and_a_running_one_is_asked(client, worker):
    running, waiting = client.submit(), client.submit()
    worker.claim()
    job = client.post(waiting["urls"]["cancel"]).json()
    assert (job["state"], job["terminal"], job["termination_reason"]) == ("cancelled", True, "cancelled")
    for _ in range(2):  # asking again is harmless
        response = client.post(running["urls"]["cancel"], content=b"{}")
        assert (response.status_code, response.json()["state"]) == (200, "cancelling")
    again = client.post(waiting["urls"]["cancel"])
    assert (again.status_code, again.json()["code"], again.json()["state"]) == (409, "state_conflict", "cancelled")


def test_an_option_of_cancel_that_does_not_exist_is_refused_and_nothing_is_cancelled(client):
    job = client.submit()
    response = client.post(job["urls"]["cancel"], json={"save": "best"})
    assert response.status_code == 422
    assert response.json()["errors"] == [{"pointer": "/save", "message": "unknown key 'save'"}]
    assert client.get(job["urls"]["self"]).json()["state"] == "queued"


def test_events_are_gapless_and_resume_after_the_last_one_known(client, worker):
    job = client.submit()
    mine = worker.claim()
    for step in range(3):
        worker.record(mine, {"train.loss": ([step], [1.0])})
    worker.fail(mine, {"code": "non_finite_loss", "message": "at step 3"})
    url = job["urls"]["events"]
    events = client.get(url).json()["data"]
    assert [event["seq"] for event in events] == [1, 2, 3, 4, 5, 6]
    assert [event["type"] for event in events] == ["state", "state", "progress", "progress", "progress", "state"]
    page = client.get(f"{url}?limit=2&after=1").json()
    assert [event["seq"] for event in page["data"]] == [2, 3]
    assert (page["has_more"], page["next_after"]) == (True, 3)
    last = client.get(f"{url}?after={page['next_after']}").json()
    assert [event["seq"] for event in last["data"]] == [4, 5, 6]
    assert (last["has_more"], last["next_after"]) == (False, 6)


def test_a_follower_of_events_keeps_its_place_when_there_is_nothing_new(client, worker):
    url = client.submit()["urls"]["events"]
    place = client.get(url).json()["next_after"]
    empty = client.get(f"{url}?after={place}").json()
    assert (empty["data"], empty["has_more"], empty["next_after"]) == ([], False, place)
    worker.claim()
    news = client.get(f"{url}?after={empty['next_after']}").json()
    assert [event["data"]["state"] for event in news["data"]] == ["running"]


def test_a_failed_job_says_why(client, worker):
    job = client.submit()
    error = {"code": "non_finite_loss", "message": "the divergence became infinite", "step": 3, "term": "divergence"}
    mine = worker.claim()
    kept = worker.checkpoint(mine, 2, is_best=True)
    worker.fail(mine, error)
    job = client.get(job["urls"]["self"]).json()
    assert (job["state"], job["terminal"], job["error"], job["model_id"]) == ("failed", True, error, None)
    assert job["best_checkpoint_id"] == kept
    assert client.get(job["urls"]["model"]).status_code == 404


def test_the_delivered_models_metrics_and_device_stand_beside_the_course_of_training(client, worker):
    url = client.submit()["urls"]["self"]
    mine = worker.claim()
    course = {"val.accuracy": {"last": 0.5, "best": 0.75, "best_step": 20}}
    worker.beat(mine, {"phase": "training", "step": 30}, course)
    running = client.get(url).json()
    assert (running["model_metrics"], running["device"]) == (None, "cpu")
    delivered = {"val.accuracy": 0.75, "test.accuracy": 0.625, "test.loss": None}
    worker.succeed(mine, {"model.safetensors": b"weights"}, delivered)
    ended = client.get(url).json()
    assert (ended["model_metrics"], ended["metrics"], ended["device"]) == (delivered, course, "cpu")
    assert client.get(f"/v1/models/{ended['model_id']}").json()["metrics"] == delivered


def test_a_models_full_report_comes_as_it_was_stored(client, worker):
    report = EXAMPLES["ModelReply"][0]["report"]
    client.submit()
    model_id = worker.succeed(worker.claim(), {"model.json": b"{}"}, report=report)
    assert client.get(f"/v1/models/{model_id}").json()["report"] == report


def test_the_device_is_the_newest_attempts(client, worker, engine):
    url = client.submit()["urls"]["self"]
    for device in ("cuda:0", "cpu"):
        mine = worker.claim(device)
        with engine.begin() as connection:
            store.release(connection, mine, store.AttemptFacts())
        assert client.get(url).json()["device"] == device


def test_events_are_not_given_to_a_reader_of_a_stream_and_to_any_other_as_json(client):
    url = client.submit()["urls"]["events"]
    for accept in ("text/event-stream", "Text/Event-Stream; q=0.9, text/html"):
        response = client.get(url, headers={"Accept": accept})
        assert (response.status_code, response.json()["code"]) == (406, "not_acceptable"), accept
        assert response.json()["offered"] == ["application/json"]
    for accept in ("*/*", "text/html", "", "nonsense", "text/event-stream, application/json;q=0.5", "text/*"):
        response = client.get(url, headers={"Accept": accept})
        assert (response.status_code, response.headers["content-type"]) == (200, "application/json"), accept


def test_metrics_come_in_columns_over_one_axis_and_flag_what_is_not_finite(client, worker):
    job = client.submit()
    mine = worker.claim()
    nan, inf = float("nan"), float("inf")
    worker.record(mine, {"train.loss": ([1, 2, 3], [0.5, nan, 0.25]), "val.accuracy": ([2], [inf])})
    url = job["urls"]["metrics"]
    body = client.get(url).json()
    assert body["names"] == ["train.loss", "val.accuracy"]
    assert body["steps"] == [1, 2, 3]
    assert body["series"] == {"train.loss": [0.5, None, 0.25], "val.accuracy": [None, None, None]}
    assert body["non_finite"] == {"train.loss": [1], "val.accuracy": [1]}
    assert client.get(f"{url}?from_step=2&max_points=2").json()["non_finite"] == {
        "train.loss": [0],
        "val.accuracy": [0],
    }


def test_metrics_from_a_step_on_leave_out_what_came_before_within_a_block_too(client, worker):
    job = client.submit()
    mine = worker.claim()
    worker.record(mine, {"train.loss": ([1, 2, 3], [3.0, 2.5, 2.0]), "val.loss": ([3], [1.0])})
    worker.record(mine, {"train.loss": ([4, 5, 6], [1.5, 1.0, 0.5])})
    url = job["urls"]["metrics"]
    for first in (1, 2, 3, 4, 5, 6):
        body = client.get(f"{url}?from_step={first}").json()
        assert body["steps"] == list(range(first, 7))
        assert body["series"]["train.loss"] == [3.5 - 0.5 * step for step in body["steps"]]
        assert ("val.loss" in body["names"]) == (first <= 3)
    past = client.get(f"{url}?from_step=7").json()
    assert (past["steps"], past["series"], past["names"], past["recorded_steps"]) == ([], {}, [], 0)


def test_many_steps_are_thinned_to_what_was_asked_and_the_reply_tells(client, worker):
    job = client.submit()
    mine = worker.claim()
    steps = list(range(10, 30_010, 10))
    losses = [1.0 / step for step in steps]
    losses[1234], losses[2345] = 7.0, float("nan")
    worker.record(mine, {"train.loss": (steps, losses), "val.loss": (steps[::2], losses[::2])})
    url = job["urls"]["metrics"]
    for query, most in (("", 1000), ("?max_points=50", 50), ("?max_points=2", 2)):
        body = client.get(url + query).json()
        assert (len(body["steps"]), body["recorded_steps"]) == (most, 3000)
        assert (body["steps"][0], body["steps"][-1]) == (10, 30_000)
        shown = dict(zip(body["steps"], body["series"]["train.loss"], strict=True))
        assert all(value == losses[step // 10 - 1] for step, value in shown.items() if step != 23_460)
        if most > 2:
            assert shown[12_350] == 7.0
            assert shown[23_460] is None
            assert body["non_finite"] == {"train.loss": [body["steps"].index(23_460)]}
    whole = client.get(f"{url}?max_points=10000").json()
    assert whole["steps"] == steps
    for bad in (1, 10_001):
        assert client.get(f"{url}?max_points={bad}").status_code == 422


def test_checkpoints_page_by_step_and_stand_by_themselves(client, worker):
    job = client.submit()
    mine = worker.claim()
    saved = [worker.checkpoint(mine, step, is_best=step == 20) for step in (10, 20, 30)]
    url = job["urls"]["checkpoints"]
    first = client.get(f"{url}?limit=2").json()
    rest = client.get(f"{url}?limit=2&cursor={first['next_cursor']}").json()
    assert [row["id"] for row in first["data"] + rest["data"]] == saved[::-1]
    assert [row["is_best"] for row in first["data"]] == [False, True]
    one = client.get(first["data"][1]["urls"]["self"]).json()
    assert one == first["data"][1]
    assert (one["job_id"], one["step"], one["size"]) == (job["id"], 20, len(b"weights"))


@pytest.mark.parametrize("is_finished", [False, True])
def test_the_way_to_the_model(client, worker, is_finished):
    job = client.submit()
    mine = worker.claim()
    if not is_finished:
        response = client.get(job["urls"]["model"])
        assert (response.status_code, response.json()["state"]) == (409, "running")
        return
    model_id = worker.succeed(mine, {"model.safetensors": b"weights", "model.json": b"{}"})
    response = client.get(job["urls"]["model"])
    assert response.status_code == 307
    assert response.headers["location"] == f"/v1/models/{model_id}/files/model.safetensors"
    assert client.get(response.headers["location"]).content == b"weights"
    model = client.get(f"/v1/models/{model_id}").json()
    assert (model["job_id"], model["metrics"]) == (job["id"], {"val.accuracy": 0.9})
    assert model["report"] is None
    assert [file["name"] for file in model["files"]] == ["model.json", "model.safetensors"]
    assert client.get(model["files"][0]["url"]).content == b"{}"


def test_several_labels_are_a_task_of_their_own_with_a_loss_of_their_own(client, dataset):
    from tests.api.conftest import DIGITS

    label = DIGITS.columns[-1]
    columns = (*DIGITS.columns[:-1], *(label.model_copy(update={"name": name}) for name in ("is_red", "is_round")))
    of = dataset(DIGITS.model_copy(update={"format": "csv", "columns": columns}))
    job = client.submit(dataset=of, task={"kind": "multilabel", "target": ["is_red", "is_round"]})
    resolved = job["resolved_spec"]
    assert resolved["task"]["target"] == ["is_red", "is_round"]
    assert (resolved["loss"]["base"], resolved["loss"]["divergence"]) == ({"kind": "binary_cross_entropy"}, None)
    assert resolved["loss_formula"].startswith("-sum_c [y_c ln p_c")
    refused = client.post(
        "/v1/jobs",
        json={
            "dataset": of,
            "task": {"target": "is_red"},
            "loss": {"base": {"kind": "binary_cross_entropy"}},
        },
    ).json()
    assert [problem["pointer"] for problem in refused["errors"]] == ["/loss/base/kind"]
