"""Which device a worker trains on, found out without torch."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

__all__ = ["DeviceError", "choose_device", "cuda_devices"]

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
