"""Which device a worker takes; the driver is a stand-in where there is no GPU, tests/gpu asks the real one."""

from __future__ import annotations

import pytest

from worker import devices
from worker.devices import DeviceError, choose_device, cuda_devices


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
