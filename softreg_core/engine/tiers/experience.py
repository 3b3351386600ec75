"""What compiling cost and gave on this machine so far; it decides whether the next job is worth it."""

from __future__ import annotations

import logging
import math
import statistics
from typing import Any, NamedTuple

from softreg_core.engine.tiers.artifacts import Artifacts

__all__ = ["Experience", "Prospect", "decide"]

_LOG = logging.getLogger(__name__)
_FILE = "experience.json"
_KEPT = 9
# Before anything was measured: more than it takes on a small machine, for each eight tensors that are trained.
_UNKNOWN_COMPILE_SECONDS = 60.0
_TENSORS = 8
# What a compile may cost of a job whose gain is not known: then the job cannot be slower by more than 5 %.
_AT_MOST = 0.04
# A gain that is known must leave this much of what the job takes without it.
_WORTHWHILE = 0.9


class Prospect(NamedTuple):
    """A job before it begins."""

    steps: int
    """To come."""
    seconds_per_step: float
    """As measured, one by one."""
    compile_seconds: float
    """To be expected."""
    share: float | None
    """What a compiled step took of such a step on this machine; None when none was seen."""


def decide(prospect: Prospect) -> tuple[bool, str]:
    """Whether to compile, and why in words."""
    eager = prospect.steps * prospect.seconds_per_step
    costs = f"compiling takes about {prospect.compile_seconds:.0f} s here, the steps to come {eager:.1f} s one by one"
    if prospect.share is None:
        is_worth = prospect.compile_seconds <= _AT_MOST * eager
        return is_worth, f"{costs}; how much faster they get is not known yet"
    compiled = prospect.compile_seconds + prospect.share * eager
    return compiled <= _WORTHWHILE * eager, f"{costs} and compiled {prospect.share * eager:.1f} s"


class Experience:
    """Kept beside the programs."""

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts
        self._told = artifacts.read(_FILE)

    def compile_seconds(self, net: str, size: int) -> float:
        """To be expected: the median of the last ones like it.

        Args:
            net: its kind.
            size: tensors that are trained, times the steps that a recurrent network is unrolled to.
        """
        known = self._numbers(_of_size(net, size))
        return statistics.median(known) if known else _UNKNOWN_COMPILE_SECONDS * max(1.0, size / _TENSORS)

    def share(self, net: str, seconds_per_step: float) -> float | None:
        """What a compiled step takes of such a step, at worst of the last ones; None when none was seen."""
        known = self._numbers(_like(net, seconds_per_step))
        return max(known) if known else None

    def note_compile(self, net: str, size: int, seconds: float) -> None:
        """A program was made."""
        self._note(_of_size(net, size), seconds)

    def note_share(self, net: str, seconds_per_step: float, share: float) -> None:
        """A program was compared with single steps."""
        self._note(_like(net, seconds_per_step), share)

    def _numbers(self, name: str) -> list[float]:
        known: Any = self._told.get(name)
        if not isinstance(known, list):
            return []
        return [float(number) for number in known if isinstance(number, int | float) and 0 < number < math.inf]

    def _note(self, name: str, number: float) -> None:
        # Read again: other processes write too. Of two at once one is lost, which does no harm.
        self._told = self._artifacts.read(_FILE)
        self._told[name] = [*self._numbers(name), round(number, 6)][-_KEPT:]
        try:
            self._artifacts.write(_FILE, self._told)
        except OSError as error:  # a full disk, say: the program is none the worse
            _LOG.warning("what was measured of compiled steps is not kept: %s", error)


def _of_size(net: str, size: int) -> str:
    return f"compile_seconds/{net}/{round(math.log2(max(1, size)))}"


def _like(net: str, seconds_per_step: float) -> str:
    """Steps of a kind of network that take about as long gain about as much: by powers of four of a microsecond."""
    return f"{net}/{round(math.log(max(1e-6, seconds_per_step) * 1e6, 4))}"
