"""Which device a worker takes; the driver is a stand-in where there is no GPU, tests/gpu asks the real one."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from worker import devices
from worker.devices import DeviceError, choose_device, cuda_devices, hold_device, visible_devices


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch):
    def set_count(number: int) -> None:
        monkeypatch.setattr(devices, "cuda_devices", lambda: number)

    return set_count


@pytest.mark.parametrize(
    ("wanted", "devices_here", "chosen"),
    [
        ("auto", 0, "cpu"),
        ("auto", 2, "cuda:0"),
        ("cpu", 2, "cpu"),
        ("cuda", 1, "cuda:0"),
        ("cuda:1", 2, "cuda:1"),
    ],
)
def test_choice(count, wanted: str, devices_here: int, chosen: str) -> None:
    count(devices_here)
    assert choose_device(wanted) == chosen


@pytest.mark.parametrize(("wanted", "devices_here"), [("cuda", 0), ("cuda:2", 2)])
def test_a_device_that_is_not_there_is_refused(count, wanted: str, devices_here: int) -> None:
    count(devices_here)
    with pytest.raises(DeviceError, match=rf"{wanted} was asked for; usable CUDA devices: {devices_here}"):
        choose_device(wanted)


def test_the_count_is_torchs_own() -> None:
    torch = pytest.importorskip("torch")
    assert cuda_devices() == torch.cuda.device_count()


@pytest.mark.parametrize(
    ("device", "given", "visible"),
    [
        ("cpu", None, ""),
        ("cpu", "0,1", ""),
        ("cuda:0", None, "0"),
        ("cuda:3", None, "3"),
        ("cuda:1", "4,7", "7"),
        ("cuda:1", "GPU-1a, GPU-2b", "GPU-2b"),
    ],
)
def test_a_runner_sees_its_one_device(
    monkeypatch: pytest.MonkeyPatch, device: str, given: str | None, visible: str
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert visible_devices(device) == visible


def test_a_device_has_one_worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    held = hold_device("cuda:1", tmp_path)
    assert held is not None
    with pytest.raises(DeviceError, match="cuda:1 is another worker's"):
        hold_device("cuda:1", tmp_path, patience_seconds=0.0)
    others = [hold_device(device, tmp_path) for device in ("cuda:0", "cpu", "cpu")]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with pytest.raises(DeviceError):  # the same one under another number
        hold_device("cuda:0", tmp_path, patience_seconds=0.0)
    for descriptor in [held, *others]:
        if descriptor is not None:
            os.close(descriptor)
    again = hold_device("cuda:0", tmp_path)
    assert again is not None
    os.close(again)


def test_the_successor_of_a_worker_waits_until_it_is_gone(tmp_path: Path) -> None:
    held = hold_device("cuda:0", tmp_path)
    assert held is not None
    found: list[int | None] = []
    successor = threading.Thread(target=lambda: found.append(hold_device("cuda:0", tmp_path, patience_seconds=60.0)))
    successor.start()
    assert not found
    os.close(held)
    successor.join(60.0)
    (descriptor,) = found
    assert descriptor is not None
    os.close(descriptor)
