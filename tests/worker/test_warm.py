"""The runner's process as the supervisor holds it, with small programs in the runner's place."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from softreg_jobs.settings import Settings
from worker import warm
from worker.protocol import FileRef, RunRequest
from worker.warm import RunnerDiedError, WarmRunner

REQUEST = RunRequest(directory="/nowhere", device="cpu", spec={}, dataset=FileRef("/nowhere", "0", 0))
URLS = {"database_url": "postgresql:///unused", "redis_url": "unix:///unused"}
SAY = "import sys, json, os, time\ndef say(**m): print(json.dumps(m), flush=True)\n"


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., WarmRunner]]:
    made: list[WarmRunner] = []

    def make(program: str, **overrides: object) -> WarmRunner:
        path = tmp_path / "runner.py"
        path.write_text(SAY + program)
        monkeypatch.setattr(warm, "RUNNER", (str(path),))
        settings = Settings.model_validate({**URLS, **overrides})
        made.append(WarmRunner(settings, tmp_path))
        made[-1].start()
        return made[-1]

    yield make
    for each in made:
        each.end()


def until_message(runner: WarmRunner) -> dict:
    message = runner.receive(20.0)
    assert message is not None
    return message


def test_it_answers_requests_in_order(runner) -> None:
    warm_runner = runner("for line in sys.stdin: say(type='echo', got=json.loads(line)['type'])")
    warm_runner.run(REQUEST)
    warm_runner.control("cancel")
    assert [until_message(warm_runner)["got"] for _ in range(2)] == ["run", "control"]
    assert warm_runner.receive(0.01) is None


def test_a_message_longer_than_a_pipe_arrives_whole(runner) -> None:
    assert len(until_message(runner("say(type='long', text='x' * 1_000_000); time.sleep(60)"))["text"]) == 1_000_000


@pytest.mark.parametrize("noise", ["not json", "[1]", '{"no": "type"}'])
def test_nonsense_is_a_dead_runner(runner, noise: str) -> None:
    with pytest.raises(RunnerDiedError):
        runner(f"print({noise!r}, flush=True); time.sleep(60)").receive(20.0)


def test_its_last_words_and_its_end_are_known(runner) -> None:
    warm_runner = runner("sys.stdin.readline(); print('it burns', file=sys.stderr); os.kill(os.getpid(), 11)")
    warm_runner.run(REQUEST)
    with pytest.raises(RunnerDiedError):
        warm_runner.receive(20.0)
    ended = warm_runner.end(grace_seconds=5.0)
    assert (ended.code, ended.signal) == (None, signal.SIGSEGV)
    assert "it burns" in warm_runner.log_tail


def test_one_jobs_log_is_not_the_nexts(runner) -> None:
    warm_runner = runner("for n, line in enumerate(sys.stdin): print('job', n, file=sys.stderr); say(type='done')")
    for number in range(2):
        warm_runner.run(REQUEST)
        until_message(warm_runner)
        deadline = time.monotonic() + 30.0
        while f"job {number}" not in warm_runner.log_tail and time.monotonic() < deadline:
            time.sleep(0.01)  # what it wrote is read by a thread
    warm_runner.end(grace_seconds=5.0)
    assert warm_runner.log_tail == "job 1"


def test_its_children_end_with_it(runner) -> None:
    program = (
        "import subprocess; child = subprocess.Popen(['sleep', '600']); say(type='x', pid=child.pid); time.sleep(60)"
    )
    warm_runner = runner(program)
    child = until_message(warm_runner)["pid"]
    warm_runner.end()
    psutil.wait_procs([psutil.Process(child)] if psutil.pid_exists(child) else [], timeout=10)
    assert not psutil.pid_exists(child)


def test_no_setting_of_the_service_reaches_it(runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTREG_DATABASE_URL", "postgresql://user:password@host/db")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    names = until_message(runner("say(type='env', names=sorted(os.environ)); time.sleep(60)"))["names"]
    assert not [name for name in names if name.startswith(("SOFTREG", "AWS"))]


def test_it_is_worn_after_its_jobs_or_by_what_it_still_holds(runner) -> None:
    echo = "for line in sys.stdin: say(type='done')"
    warm_runner = runner(echo, runner_jobs=2)
    for is_worn in (False, True):
        warm_runner.run(REQUEST)
        until_message(warm_runner)
        assert warm_runner.is_worn() is is_worn
    fat = runner("hold = bytearray(300 * 2**20)\n" + echo, runner_memory_bytes=2**28)
    fat.run(REQUEST)
    until_message(fat)
    assert fat.is_worn()
    slim = runner("hold = bytearray(300 * 2**20); del hold\n" + echo, runner_memory_bytes=2**28)
    slim.run(REQUEST)
    until_message(slim)
    assert not slim.is_worn()
