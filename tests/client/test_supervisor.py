"""The supervisor with cheap children: restarts, pauses, the order of the end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from softreg.errors import LocalError
from softreg.process import Command, identity
from softreg.signals import SignalWatch
from softreg.supervisor import Backoff, ProcessSupervisor, StopRequestedError


@pytest.fixture
def supervisor() -> Iterator[ProcessSupervisor]:
    with SignalWatch() as signals:
        supervisor = ProcessSupervisor(signals)
        yield supervisor
        supervisor.stop()


def child(place: Path, name: str, script: str = "exec sleep 600", grace_seconds: float = 20.0) -> Command:
    arguments = ("/bin/sh", "-c", script)
    return Command(name, arguments, place, place / f"{name}.log", dict(os.environ), grace_seconds=grace_seconds)


def pid_of(supervisor: ProcessSupervisor, name: str) -> int | None:
    return next((process.pid for process in supervisor.processes if process.name == name), None)


def test_pauses_double_up_to_a_limit_and_a_long_life_forgives() -> None:
    backoff = Backoff()
    assert [round(backoff.after(1.0), 1) for _ in range(9)] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0]
    assert backoff.after(60.0) == 0.2
    backoff.deaths = 100_000
    assert backoff.after(0.0) == 30.0


def test_a_killed_child_is_started_again_and_the_others_are_not(place: Path, supervisor: ProcessSupervisor) -> None:
    supervisor.start(child(place, "a"))
    supervisor.start(child(place, "b"))
    first, other = pid_of(supervisor, "a"), pid_of(supervisor, "b")
    assert first is not None
    os.kill(first, signal.SIGKILL)
    supervisor.start_up({"a": lambda: pid_of(supervisor, "a") not in (None, first)}, 30.0)
    assert pid_of(supervisor, "b") == other
    assert supervisor.is_complete


def test_a_missing_child_shows_until_it_is_back(place: Path) -> None:
    seen: list[bool] = []
    with SignalWatch() as signals:
        supervisor = ProcessSupervisor(signals, lambda: seen.append(supervisor.is_complete))
        supervisor.start(child(place, "a"))
        first = pid_of(supervisor, "a")
        assert first is not None
        os.kill(first, signal.SIGKILL)
        supervisor.start_up({"a": lambda: len(seen) == 3}, 30.0)
        supervisor.stop()
    assert seen[:3] == [True, False, True]


def test_a_child_that_cannot_live_ends_the_start_with_its_log(place: Path, supervisor: ProcessSupervisor) -> None:
    supervisor.start(child(place, "a", "echo no such table; exit 3"))
    with pytest.raises(LocalError, match="no such table"):
        supervisor.start_up({"a": lambda: False}, 30.0)


def test_a_program_that_is_missing_ends_the_start(place: Path, supervisor: ProcessSupervisor) -> None:
    supervisor.start(Command("a", ("/does/not/exist",), place, place / "a.log"))
    with pytest.raises(LocalError, match="a does not start"):
        supervisor.start_up({"a": lambda: False}, 30.0)


def test_a_start_that_takes_too_long_is_given_up_with_the_log_of_who_is_late(
    place: Path, supervisor: ProcessSupervisor, eventually: Callable[..., None]
) -> None:
    supervisor.start(child(place, "a", "echo quick; exec sleep 600"))
    supervisor.start(child(place, "b", "echo waits for a lock; exec sleep 600"))
    eventually(lambda: (place / "b.log").read_text())
    with pytest.raises(LocalError, match=r"b is not ready after 0 seconds \(.*b\.log\):\nwaits for a lock"):
        supervisor.start_up({"a": lambda: True, "b": lambda: False}, 0.0)


def test_a_signal_ends_the_start(place: Path, supervisor: ProcessSupervisor) -> None:
    supervisor.start(child(place, "a"))
    with pytest.raises(StopRequestedError):
        supervisor.start_up({"a": lambda: os.kill(os.getpid(), signal.SIGTERM) is not None}, 30.0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run(place: Path, number: signal.Signals, supervisor: ProcessSupervisor) -> None:
    supervisor.start(child(place, "a", f"kill -{number.value} {os.getpid()}; exec sleep 600"))
    supervisor.run()
    assert pid_of(supervisor, "a") is not None
    supervisor.stop()
    assert supervisor.processes == ()


def test_the_end_goes_backwards_and_one_kind_goes_together(
    place: Path, supervisor: ProcessSupervisor, eventually: Callable[..., None]
) -> None:
    order = place / "order"
    script = "trap 'echo {0} >> order; exit 0' TERM; echo up; while :; do sleep 0.01; done"
    # The worker asked first waits until the other one was asked too: one after the other would never end.
    waiting = "trap 'until grep -q worker-2 order; do sleep 0.01; done; echo worker >> order; exit 0' TERM; "
    for name in ("database", "api"):
        supervisor.start(child(place, name, script.format(name)))
    supervisor.start(child(place, "worker", waiting + "echo up; while :; do sleep 0.01; done"))
    supervisor.start(child(place, "worker-2", script.format("worker-2")))
    logs = [place / f"{name}.log" for name in ("database", "api", "worker", "worker-2")]
    eventually(lambda: all(log.read_text() for log in logs))
    supervisor.stop()
    assert order.read_text().split() == ["worker-2", "worker", "api", "database"]


def test_a_child_that_does_not_obey_is_killed(
    place: Path, supervisor: ProcessSupervisor, eventually: Callable[..., None]
) -> None:
    supervisor.start(child(place, "a", "trap '' TERM; echo up; while :; do sleep 0.05; done", grace_seconds=0.2))
    eventually(lambda: (place / "a.log").read_text())
    stubborn = pid_of(supervisor, "a")
    assert stubborn is not None
    supervisor.stop()
    assert identity(stubborn) is None
