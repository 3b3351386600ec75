"""The runner's process as the supervisor holds it, with small programs in the runner's place."""

from __future__ import annotations

import os
import signal
import stat
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

    def make(program: str, device: str = "cpu", **overrides: object) -> WarmRunner:
        path = tmp_path / "runner.py"
        path.write_text(SAY + program)
        monkeypatch.setattr(warm, "RUNNER", (str(path),))
        settings = Settings.model_validate({**URLS, "spool_dir": tmp_path, **overrides})
        made.append(WarmRunner(settings, tmp_path, device))
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
    cache = ["SOFTREG_CACHE_BYTES", "SOFTREG_CACHE_DIRECTORY"]
    assert [name for name in names if name.startswith(("SOFTREG", "AWS"))] == cache


ENVIRONMENT = "say(type='env', names=dict(os.environ), path=sys.path, start=json.loads(sys.argv[1])); time.sleep(60)"


def test_it_has_its_share_of_threads_and_one_device(runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm, "usable_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,6")
    told = until_message(runner(ENVIRONMENT, "cuda:1", workers_here=4))
    assert {told["names"][name] for name in warm._THREADS} == {"2"}
    assert (told["names"]["OPENBLAS_NUM_THREADS"], told["names"]["OMP_WAIT_POLICY"]) == ("1", "PASSIVE")
    assert told["names"]["CUDA_VISIBLE_DEVICES"] == "6"
    assert told["start"]["device"] == "cuda:0"
    assert told["start"]["threads"] == 2
    assert 0 < told["start"]["data_bytes"] <= 512 * 2**20
    assert until_message(runner(ENVIRONMENT))["names"]["CUDA_VISIBLE_DEVICES"] == ""


def test_a_compiler_is_found_and_has_a_private_directory(
    runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HOME", raising=False)
    names = until_message(runner(ENVIRONMENT, compile_cache_directory=tmp_path / "kept"))["names"]
    assert names["PATH"] == os.environ["PATH"]
    assert "HOME" not in names
    assert names["SOFTREG_CACHE_DIRECTORY"] == str(tmp_path / "kept")
    assert Path(names["TORCHINDUCTOR_CACHE_DIR"]).parent == tmp_path / "kept"
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o700
    by_default = until_message(runner(ENVIRONMENT))["names"]["SOFTREG_CACHE_DIRECTORY"]
    assert by_default == str(tmp_path / "compiled")


def test_it_runs_the_code_that_the_supervisor_runs(
    runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, root: Path
) -> None:
    """However that was found: by the working directory, say, which the runner does not have."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", "relative", str(tmp_path / "other")]))
    path = until_message(runner(ENVIRONMENT))["path"]
    assert path[:3] == [str(root), str(Path.cwd() / "relative"), str(tmp_path / "other")]
    assert str(tmp_path) not in path
    monkeypatch.setattr(warm.sysconfig, "get_paths", lambda: {"purelib": str(root)})
    assert until_message(runner(ENVIRONMENT))["path"][:2] == [
        str(Path.cwd() / "relative"),
        str(tmp_path / "other"),
    ]


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
