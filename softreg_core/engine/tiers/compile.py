"""From a plan to a loaded program: out of this process, from disk, or by the compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from softreg_core.engine.tiers.artifacts import Artifacts
from softreg_core.engine.tiers.plan import Plan
from softreg_core.engine.tiers.stretch import Stretch, sizes_that_vary, stretch_of
from softreg_core.spec.train import TrainSpec

__all__ = ["Program", "compiler_version", "load_program", "make_program"]

Program = Callable[[list[Tensor]], list[Tensor]]
"""From the arguments of `Stretch.forward` to what it gives."""

_MOST_LOADED = 32
_TIDY_SECONDS = 3_600.0
_LOADED: OrderedDict[str, Program] = OrderedDict()


class Made(NamedTuple):
    """A program that was compiled."""

    program: Program
    seconds: float
    """That it took."""


@lru_cache(maxsize=4)
def _version_of(path: str) -> str:
    told = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=True)
    return told.stdout.splitlines()[0]


def compiler_version() -> str | None:
    """Of the compiler of C++ that programs are made with; None where there is none."""
    path = shutil.which(os.environ.get("CXX", "g++"))
    if path is None:
        return None
    try:
        return _version_of(path)
    except (OSError, subprocess.SubprocessError, IndexError):
        return None


def _loaded(key: str) -> Program | None:
    """One that this process has loaded before."""
    if key not in _LOADED:
        return None
    _LOADED.move_to_end(key)
    return _LOADED[key]


def load_program(key: str, artifacts: Artifacts) -> Program | None:
    """One that this process or an earlier one has made; None where there is none that can be loaded."""
    found = _loaded(key)
    if found is not None:
        return found
    path = artifacts.find(key)
    if path is None:
        return None
    try:
        return _load(key, path)
    except RuntimeError:
        artifacts.drop(key)
        return None


def make_program(key: str, spec: TrainSpec, plan: Plan, artifacts: Artifacts) -> Made:
    """Compile one, keep it and load it.

    Raises:
        Exception: of any kind that tracing or compiling may give; a caller goes on without the program.
    """
    begun = time.monotonic()
    with _quiet(artifacts.directory / "inductor"):
        stretch = stretch_of(spec, plan.pure, plan.example)
        path = artifacts.make(key, lambda path: _compile(stretch, path))
    _tidy(artifacts.directory / "inductor")
    return Made(_load(key, path), time.monotonic() - begun)


def _compile(stretch: Stretch, path: Path) -> None:
    example = stretch.example_arguments()
    with torch.no_grad():
        exported = torch.export.export(
            stretch, tuple(example), dynamic_shapes=(sizes_that_vary(stretch),), strict=False
        )
    options: dict[str, Any] = {
        # Written into the program; the key says how many.
        "cpp.threads": torch.get_num_threads(),
        # A pool of processes would outlive the job, for the sake of one file.
        "compile_threads": 1,
        # Torch 2.13 keeps them in the temporary directory, under a name that any user can take first; what stands there
        # is compiled into the program. Without them a compile takes some three seconds more.
        "aot_inductor.precompile_headers": False,
    }
    from torch._inductor import aoti_compile_and_package  # the compiler: seconds, and only where it is needed

    aoti_compile_and_package(exported, package_path=str(path), inductor_configs=options)


def _tidy(cache: Path) -> None:
    """Remove the sources of programs that were made; not of those that another process may be making."""
    long_ago = time.time() - _TIDY_SECONDS
    for source in cache.glob("*/*.wrapper.cpp"):
        with suppress(OSError):
            if source.stat().st_mtime < long_ago:
                shutil.rmtree(source.parent, ignore_errors=True)


def _load(key: str, path: Path) -> Program:
    from torch._C import _aoti  # private: a torch without it trains by single steps

    # Not torch._inductor.aoti_load_package: it imports the compiler, which takes longer than all the rest.
    loader = _aoti.AOTIModelPackageLoader(str(path), "model", False, 1, -1)

    def program(arguments: Sequence[Tensor]) -> list[Tensor]:
        found: list[Tensor] = loader.run(list(arguments))
        return found

    _LOADED[key] = program
    while len(_LOADED) > _MOST_LOADED:
        _LOADED.popitem(last=False)
    return program


@contextmanager
def _quiet(cache: Path) -> Iterator[None]:
    """The compiler's own files in our directory, and its warnings, which are about itself, unheard."""
    cache.mkdir(mode=0o700, exist_ok=True)
    before = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if before is None:
            del os.environ["TORCHINDUCTOR_CACHE_DIR"]
        else:
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = before
