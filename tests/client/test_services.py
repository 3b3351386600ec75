"""What the services of one installation are started with."""

from __future__ import annotations

from pathlib import Path

import pytest

import worker.devices
from softreg.errors import LocalError
from softreg.home import Home
from softreg.services import Endpoints, service_commands

ENDPOINTS = Endpoints("postgresql:///softreg", "unix:///valkey.sock", "127.0.0.1", 8000)


def devices(workers: int) -> list[str]:
    commands = service_commands(Home(Path("/home")), ENDPOINTS, workers)
    return [command.environment["SOFTREG_DEVICE"] for command in commands if command.name.startswith("worker")]


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine with two GPUs, whose user demands nothing."""
    monkeypatch.delenv("SOFTREG_DEVICE", raising=False)
    monkeypatch.setattr(worker.devices, "cuda_devices", lambda: 2)
    return monkeypatch


def test_every_worker_has_a_gpu_of_its_own_or_the_cpu(two_gpus: pytest.MonkeyPatch) -> None:
    assert devices(3) == ["cuda:0", "cuda:1", "cpu"]
    two_gpus.setattr(worker.devices, "cuda_devices", lambda: 0)
    assert devices(2) == ["cpu", "cpu"]


def test_a_single_worker_looks_for_itself(two_gpus: pytest.MonkeyPatch) -> None:
    assert devices(1) == ["auto"]


def test_what_the_environment_demands_is_what_the_workers_get(two_gpus: pytest.MonkeyPatch) -> None:
    two_gpus.setenv("SOFTREG_DEVICE", "cpu")
    assert devices(2) == ["cpu", "cpu"]
    two_gpus.setenv("SOFTREG_DEVICE", "cuda:1")
    assert devices(1) == ["cuda:1"]
    two_gpus.setenv("SOFTREG_DEVICE", "cuda")
    assert devices(2) == ["cuda:0", "cuda:1"]
    with pytest.raises(LocalError, match="3 workers would share 2"):
        devices(3)
    two_gpus.setenv("SOFTREG_DEVICE", "cuda:1")
    with pytest.raises(LocalError, match="one device, and 2 workers would share it"):
        devices(2)


def test_workers_are_told_how_many_share_the_machine_and_keep_what_they_compile_in_the_home(
    two_gpus: pytest.MonkeyPatch,
) -> None:
    two_gpus.delenv("SOFTREG_WORKERS_HERE", raising=False)
    two_gpus.delenv("SOFTREG_COMPILE_CACHE_DIRECTORY", raising=False)
    for command in service_commands(Home(Path("/home")), ENDPOINTS, 3):
        if command.name.startswith("worker"):
            assert command.environment["SOFTREG_WORKERS_HERE"] == "3"
            assert command.environment["SOFTREG_COMPILE_CACHE_DIRECTORY"] == "/home/compiled"
