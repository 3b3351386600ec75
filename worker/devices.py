"""Which device a worker trains on, found out without torch; and that it is no other worker's."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from softreg_jobs.spool import private_directory

__all__ = ["DeviceError", "choose_device", "cuda_devices", "hold_device", "visible_devices"]

_LOOK_SECONDS = 0.1
# Asked in a process of its own: a process that has spoken to the driver must not fork.
_COUNT = """
import ctypes
driver = ctypes.CDLL("libcuda.so.1")
count = ctypes.c_int(0)
if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0:
    print(count.value)
"""


class DeviceError(Exception):
    """The device asked for cannot be used here."""


def choose_device(wanted: str) -> str:
    """`cpu` or `cuda:N` for the setting `auto`, `cpu`, `cuda` or `cuda:N`; `auto` and `cuda` mean the first one.

    Raises:
        DeviceError: a CUDA device was asked for, and there is none of that number.
    """
    if wanted == "cpu":
        return "cpu"
    count = cuda_devices()
    if wanted == "auto":
        return "cuda:0" if count else "cpu"
    number = int(wanted.partition(":")[2] or 0)
    if number >= count:
        raise DeviceError(f"device {wanted} was asked for; usable CUDA devices: {count}")
    return f"cuda:{number}"


def visible_devices(device: str) -> str:
    """CUDA_VISIBLE_DEVICES of what runs on `device` (`cpu` or `cuda:N`) alone: none, or this one, its `cuda:0`.

    N counts what this process sees itself, which may be a choice already.
    """
    if device == "cpu":
        return ""
    number = int(device.partition(":")[2])
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    return str(number) if given is None else given.split(",")[number].strip()


def hold_device(device: str, directory: Path, *, patience_seconds: float = 10.0) -> int | None:
    """Take a CUDA device for as long as this process and its forks live; the lock's descriptor, None for the CPU.

    Args:
        device: `cpu` or `cuda:N`.
        directory: the same for all workers of this machine.
        patience_seconds: a worker that was killed may not be gone yet when its successor starts.

    Raises:
        DeviceError: another worker has it.
    """
    if device == "cpu":
        return None
    name = re.sub(r"[^0-9A-Za-z-]", "-", visible_devices(device))
    path = private_directory(directory) / f"cuda-{name}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    deadline = time.monotonic() + patience_seconds
    while not _locks(descriptor):
        if time.monotonic() > deadline:
            os.close(descriptor)
            raise DeviceError(f"{device} is another worker's; each device has one")
        time.sleep(_LOOK_SECONDS)
    return descriptor


def _locks(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def cuda_devices() -> int:
    """How many CUDA devices the driver shows and the installed torch can use."""
    if not _torch_has_cuda():
        return 0
    found = subprocess.run([sys.executable, "-c", _COUNT], capture_output=True, text=True, timeout=60, check=False)
    return int(found.stdout or 0)


def _torch_has_cuda() -> bool:
    spec = importlib.util.find_spec("torch")
    places = spec.submodule_search_locations if spec is not None else None
    return any((Path(place) / "lib" / "libtorch_cuda.so").exists() for place in places or ())
