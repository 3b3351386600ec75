"""How much of a machine a runner takes; no job is timed here."""

from __future__ import annotations

from pathlib import Path

import pytest

from softreg_core.engine.threads import threads_for
from softreg_jobs.settings import Settings
from worker import machine
from worker.machine import machine_bytes, resident_bytes, threads_of_runner, usable_cores

MB = 2**20


def settings(**values: object) -> Settings:
    return Settings.model_validate({"database_url": "postgresql:///unused", "redis_url": "unix:///unused", **values})


@pytest.mark.parametrize(
    ("cores", "workers", "asked", "threads"),
    [
        (2, 1, None, 2),
        (2, 2, None, 1),
        (8, 3, None, 2),
        (2, 5, None, 1),
        (8, 2, 6, 6),
        (64, 1, None, 64),
    ],
)
def test_workers_of_one_machine_share_its_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int, workers: int, asked: int | None, threads: int
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert threads_of_runner(settings(workers_here=workers, threads_per_job=asked), cores) == threads


def test_fewer_threads_are_kept_to_where_the_environment_asks_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for given, threads in {"2": 2, "16": 8, "0": 8, "4,2": 8, "": 8}.items():
        monkeypatch.setenv("OMP_NUM_THREADS", given)
        assert threads_of_runner(settings(), 8) == threads


@pytest.mark.parametrize(("workers", "small", "large"), [(1, 1, 2), (2, 1, 1)])
def test_two_small_jobs_on_two_cores_take_one_thread_each(
    monkeypatch: pytest.MonkeyPatch, workers: int, small: int, large: int
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    available = threads_of_runner(settings(workers_here=workers), 2)
    assert threads_for(64 * 64 + 64 * 10, 32, available) == small
    assert threads_for(10_000_000, 256, available) == large


def test_a_container_counts_its_own_processors_and_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    monkeypatch.setattr(machine, "_CORES", tmp_path / "none")
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(12)), raising=False)
    assert usable_cores() == 12
    everything = machine_bytes()
    for text, cores in {"max 100000": 12, "250000 100000": 2, "50000 100000": 1, "nonsense": 12}.items():
        (tmp_path / "cpu.max").write_text(text + "\n")
        assert usable_cores() == cores
    (tmp_path / "memory.max").write_text("max\n")
    assert machine_bytes() == everything
    (tmp_path / "memory.max").write_text(f"{64 * MB}\n")
    assert machine_bytes() == 64 * MB


def test_two_threads_of_one_core_count_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    monkeypatch.setattr(machine, "_CORES", tmp_path)
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    for number, siblings in enumerate(["0,2", "1,3", "0,2", "1,3"]):
        directory = tmp_path / f"cpu{number}" / "topology"
        directory.mkdir(parents=True)
        (directory / "thread_siblings_list").write_text(siblings + "\n")
    assert usable_cores() == 2


@pytest.mark.parametrize(
    ("values", "memory", "kept"),
    [
        ({}, 64 * 2**30, 512 * MB),
        ({}, 1024 * MB, 256 * MB),
        ({"workers_here": 4}, 1024 * MB, 64 * MB),
        ({"runner_data_bytes": 0}, 64 * 2**30, 0),
        ({"runner_memory_bytes": 256 * MB}, 64 * 2**30, 64 * MB),
    ],
)
def test_kept_datasets_take_a_quarter_of_the_memory_at_most(values: dict[str, object], memory: int, kept: int) -> None:
    assert resident_bytes(settings(**values), memory) == kept
