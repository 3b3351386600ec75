"""An engine that the worker's machine cannot run: the job is trained all the same, and its owner is told why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from softreg_jobs import blobs, queries
from softreg_jobs.keys import DEFAULT_TENANT
from softreg_jobs.records import Job
from softreg_jobs.states import JobState
from tests.worker.conftest import Site

SHORT = {"epochs": 3}


def warnings_of(site: Site, job: Job) -> list[dict]:
    with site.engine.connect() as connection:
        events = queries.events_of(connection, job.id, after=None, limit=100).items
    return [event.data for event in events if event.type == "warning"]


def manifest_of(site: Site, job: Job, directory: Path) -> dict:
    assert job.model_id is not None
    with site.engine.connect() as connection:
        model = queries.get_model(connection, DEFAULT_TENANT, job.model_id)
        (file,) = [file for file in model.files if file.name == "model.json"]
        blobs.save_to(connection, file.blob, directory / job.id)
    return json.loads((directory / job.id).read_text())["manifest"]


def test_a_machine_that_cannot_run_an_engine_trains_without_it_and_says_so(site: Site, tmp_path: Path) -> None:
    site.keeper()
    site.worker(PATH=str(tmp_path / "no-compiler"), CXX="")
    asked = {"compiled": "g++", "cudagraph": "cudagraph"}
    job_ids = {engine: site.submit({"training": SHORT | {"engine": engine}}) for engine in asked}
    for engine, reason in asked.items():
        job = site.wait_for_end(job_ids[engine])
        assert job.state is JobState.SUCCEEDED, (job.error, site.logs())
        (told,) = warnings_of(site, job)  # once, and not at every epoch
        assert (told["code"], told["pointer"]) == ("other_engine", "/training/engine")
        assert reason in told["message"]
        assert manifest_of(site, job, tmp_path)["tier"] == "eager"


@pytest.mark.long
def test_a_program_that_one_worker_made_serves_the_next(site: Site, tmp_path: Path) -> None:
    site.keeper()
    made: set[Path] = set()
    for _ in range(2):
        worker = site.worker()
        job = site.wait_for_end(site.submit({"training": SHORT | {"engine": "compiled"}}), 300)
        assert job.state is JobState.SUCCEEDED, (job.error, site.logs())
        assert not warnings_of(site, job)
        assert manifest_of(site, job, tmp_path)["tier"] == "compiled"
        worker.terminate()
        worker.wait(20)
        programs = {path for path in site.settings.compiled_dir.rglob("*.pt2") if path.stat().st_size}
        assert programs
        assert not made or programs == made
        made = programs
