"""The runner as its supervisor holds it: started by exec, talked to through pipes, replaced when it is worn."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from softreg_jobs.settings import Settings
from softreg_jobs.spool import private_directory
from worker.devices import visible_devices
from worker.machine import machine_bytes, resident_bytes, threads_of_runner, usable_cores
from worker.protocol import Action, ExportRequest, RunnerStart, RunRequest, decode, encode

__all__ = ["Exit", "RunnerDiedError", "WarmRunner"]

RUNNER = ("-m", "worker.runner")
_LOG_LINES = 100
_LONGEST_LINE = 2**24
# What torch, its libraries and a compiler need to start; no variable of the service (credentials) passes.
_PASSED_ON = (
    "PATH",
    "HOME",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "CUDA_DEVICE_ORDER",
    "CUDA_HOME",
    "CXX",
    "VIRTUAL_ENV",
)
# Threads of torch, which some libraries read once, when they are loaded.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_ALWAYS = {
    "PYTHONUNBUFFERED": "1",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    # A thread that spins while it waits for others takes the core that they need, as soon as anything else runs here.
    "OMP_WAIT_POLICY": "PASSIVE",
    # NumPy's sums are small: its threads spent eight times the processor time on a report.
    "OPENBLAS_NUM_THREADS": "1",
}


class Exit:
    """How a runner ended."""

    def __init__(self, returncode: int) -> None:
        self.code = returncode if returncode >= 0 else None
        self.signal = -returncode if returncode < 0 else None

    def __str__(self) -> str:
        return f"signal {self.signal}" if self.signal else f"exit code {self.code}"


class RunnerDiedError(Exception):
    """The runner ended or spoke nonsense; its log is kept."""


class WarmRunner:
    """One runner process. Start it from the main thread: PR_SET_PDEATHSIG follows the thread that made it."""

    def __init__(self, settings: Settings, directory: Path, device: str = "cpu") -> None:
        """Nothing is started yet.

        Args:
            settings: of the service.
            directory: what it works in.
            device: `cpu` or `cuda:N`, as this process counts them.
        """
        self._settings = settings
        self._directory = directory
        self._visible = visible_devices(device)
        self.device = "cpu" if device == "cpu" else "cuda:0"
        """The same as the runner knows it: it sees no other."""
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = b""
        self._log: deque[str] = deque(maxlen=_LOG_LINES)
        self._log_reader: threading.Thread | None = None
        self._jobs = 0
        self._said_ready = False

    @property
    def log_tail(self) -> str:
        """The last lines that it wrote to standard error since the job began."""
        return "\n".join(self._log)

    def start(self) -> None:
        """Start a process if none runs; returns at once, while it still imports torch."""
        if self._process is not None and self._process.poll() is None:
            return
        start = RunnerStart(
            parent=os.getpid(),
            device=self.device,
            threads=threads_of_runner(self._settings, usable_cores()),
            data_bytes=resident_bytes(self._settings, machine_bytes()),
        )
        self._process = subprocess.Popen(
            # -P: nothing in the working directory may be imported.
            [sys.executable, "-P", *RUNNER, start.as_argument()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environment(start.threads),
            cwd=self._directory,
            start_new_session=True,
        )
        self._buffer, self._jobs, self._said_ready = b"", 0, False
        self._log = deque(maxlen=_LOG_LINES)
        stderr = _pipe(self._process.stderr)
        self._log_reader = threading.Thread(target=_drain, args=(stderr, self._log), daemon=True)
        self._log_reader.start()

    def _environment(self, threads: int) -> dict[str, str]:
        passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        cache = private_directory(self._settings.compiled_dir)
        return (
            passed
            | _ALWAYS
            | dict.fromkeys(_THREADS, str(threads))
            | {
                "PYTHONPATH": _module_path(),
                "CUDA_VISIBLE_DEVICES": self._visible,
                "SOFTREG_CACHE_DIRECTORY": str(cache),
                "SOFTREG_CACHE_BYTES": str(self._settings.compile_cache_bytes),
                # By default in the temporary directory, under a name that any user can take first.
                "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
                "TRITON_CACHE_DIR": str(cache / "triton"),
            }
        )

    def is_ready(self, seconds: float, gives_up: Callable[[], bool]) -> bool:
        """Wait until it can take a job; False when `gives_up` says so first.

        Raises:
            RunnerDiedError: it ended instead, or does not get ready in time.
        """
        deadline = time.monotonic() + seconds
        while not self._said_ready:
            if gives_up():
                return False
            if time.monotonic() > deadline:
                raise RunnerDiedError(f"the runner is not ready after {seconds:g} s")
            message = self.receive(0.1)
            self._said_ready = message is not None and message["type"] == "ready"
        return True

    def run(self, request: RunRequest | ExportRequest) -> None:
        """Hand it a job, or a file to build."""
        self.start()
        self._jobs += 1
        self._log.clear()
        with contextlib.suppress(OSError):  # forget the peak of the jobs before, where the system lets us
            Path(f"/proc/{self._running().pid}/clear_refs").write_text("5", encoding="ascii")
        self._send(request.as_message())

    def control(self, action: Action) -> None:
        """Tell it a wish, which it honours at the next step."""
        self._send({"type": "control", "action": action})

    def _send(self, message: dict[str, Any]) -> None:
        process = self._running()
        try:
            stdin = _pipe(process.stdin)
            stdin.write(encode(message))
            stdin.flush()
        except OSError as error:
            raise RunnerDiedError("the runner does not read") from error

    def receive(self, seconds: float) -> dict[str, Any] | None:
        """The next message, or None when none came within `seconds`.

        Raises:
            RunnerDiedError: it ended, or what it wrote is no message.
        """
        stdout = _pipe(self._running().stdout)
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(stdout, select.POLLIN)
        while b"\n" not in self._buffer:
            if not poll.poll(max(0.0, 1000.0 * (deadline - time.monotonic()))):
                return None
            data = os.read(stdout.fileno(), 2**16)
            if not data or len(self._buffer) > _LONGEST_LINE:
                raise RunnerDiedError("the runner's messages ended")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            return decode(line)
        except ValueError as error:
            raise RunnerDiedError("the runner wrote what is no message") from error

    def max_rss_bytes(self) -> int | None:
        """The most memory that the process held at once during its last job, where the system tells."""
        return self._memory("VmHWM:")

    def is_worn(self) -> bool:
        """Whether it has done enough jobs, or still holds too much memory, to be replaced."""
        memory = self._memory("VmRSS:") or 0
        return self._jobs >= self._settings.runner_jobs or memory > self._settings.runner_memory_bytes

    def _memory(self, field: str) -> int | None:
        with contextlib.suppress(OSError, ValueError, IndexError, RunnerDiedError):
            status = Path(f"/proc/{self._running().pid}/status").read_text(encoding="ascii")
            line = next((line for line in status.splitlines() if line.startswith(field)), "")
            return int(line.split()[1]) * 1024
        return None

    def end(self, *, grace_seconds: float = 0.0) -> Exit | None:
        """End the process and everything it started; how it ended, or None when none ran."""
        process, self._process = self._process, None
        if process is None:
            return None
        _pipe(process.stdout).close()
        with contextlib.suppress(OSError):
            _pipe(process.stdin).close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_seconds)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # its own session: the group is the runner and its children
        if self._log_reader is not None:
            self._log_reader.join(1.0)  # what it said last is why it died
        return Exit(process.wait())

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RunnerDiedError("no runner is there")
        return self._process


def _module_path() -> str:
    """PYTHONPATH with which a process in another directory finds the modules that this one runs."""
    here = str(Path(__file__).resolve().parents[1])
    # What is installed is found anyway, and put first it would hide the standard library.
    installed = {str(Path(path).resolve()) for path in sysconfig.get_paths().values()}
    sources = [] if here in installed else [here]
    given = [str(Path(entry).absolute()) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    return os.pathsep.join(dict.fromkeys(sources + given))


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise RunnerDiedError("a runner without pipes")
    return stream


def _drain(stream: IO[bytes], log: deque[str]) -> None:
    """Read standard error to its end, so that the runner never blocks on it."""
    with contextlib.suppress(OSError, ValueError):
        for line in stream:
            log.append(line.decode("utf-8", "replace").replace("\0", "\ufffd").rstrip()[:2000])
    stream.close()
