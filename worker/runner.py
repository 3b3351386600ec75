"""The runner: a process with torch and without credentials that trains what it is told, one job after another.

    python -P -m worker.runner START

START is a `worker.protocol.RunnerStart`. It reads requests on standard input and writes messages to what was standard
output; anything that a library prints goes to standard error. It dies with its parent.
"""

from __future__ import annotations

import os
import queue
import resource
import signal
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from softreg_core.lifeline import die_with_parent
from worker.protocol import (
    Action,
    ExportRequest,
    FileRef,
    RunnerStart,
    RunRequest,
    decode,
    encode,
    file_ref,
    sha256_of_file,
)
from worker.resident import ResidentData

if TYPE_CHECKING:
    from softreg_core.data.table import Table
    from softreg_core.engine import TrainingState
    from softreg_core.export.load import LoadedModel

__all__ = ["main"]

_MOST_OPEN_FILES = 1024


class Runner:
    """Messages in, messages out; one run at a time."""

    def __init__(self, start: RunnerStart, requests: BinaryIO, replies: BinaryIO) -> None:
        self._start = start
        self._resident = ResidentData(start.data_bytes, _loaded)
        self._requests = requests
        self._replies = replies
        self._inbox: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._wish: Action | None = None

    def serve(self) -> None:
        """Until standard input ends."""
        threading.Thread(target=self._listen, daemon=True).start()
        import torch  # the slow part, done while the first job is still to come

        from softreg_core import engine, export  # noqa: F401
        from softreg_core.data import tabular  # noqa: F401

        spare_the_compiler()
        torch.set_num_threads(self._start.threads)
        torch.set_num_interop_threads(1)
        settle(self._start.device)
        self._say("ready", threads=torch.get_num_threads(), cuda_devices=torch.cuda.device_count())
        from softreg_core.evaluate import report  # noqa: F401  SciPy, while the first job is still to come

        while (message := self._inbox.get()) is not None:
            if message["type"] == "export":
                self._answer(_export(ExportRequest.from_message(message)))
            else:
                self._answer(_train(RunRequest.from_message(message), self._resident, lambda: self._wish))

    def _listen(self) -> None:
        """On a thread of its own, so that a wish is heard between two steps.

        A wish ends with the job that it was for: it is forgotten here, where the order of the messages is seen.
        """
        for line in self._requests:
            message = decode(line)
            if message["type"] == "control":
                self._wish = message["action"]
            else:
                self._wish = None
                self._inbox.put(message)
        self._wish = "stop"
        self._inbox.put(None)

    def _say(self, kind: str, **facts: Any) -> None:
        self._replies.write(encode({"type": kind, **facts}))
        self._replies.flush()

    def _answer(self, work: Iterator[tuple[str, dict[str, Any]]]) -> None:
        from softreg_core.errors import ResourceError, SoftregError, is_out_of_memory

        failure: SoftregError | None = None
        try:
            for kind, facts in work:
                self._say(kind, **facts)
        except SoftregError as error:
            failure = error
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            self._resident.clear()
            failure = ResourceError(f"out of memory: {str(error)[:500]}")
        if failure is not None:
            settle(self._start.device)
            self._say("failed", error=_described(failure))
        # Not caught: anything else is a fault of ours, or of a device, which a process is rid of only by its end. It
        # ends with a traceback on standard error, the supervisor keeps the log's tail and gives the job another chance
        # in a fresh process.


def spare_the_compiler() -> None:
    """Let torch's optimisers be made without importing torch._dynamo, which takes most of a second and 100 MB.

    They mark some methods as not to be compiled, for which they ask it. Nothing here compiles them.
    """
    from torch.optim import Optimizer

    for name in ("add_param_group", "load_state_dict", "state_dict", "zero_grad"):
        method = getattr(getattr(Optimizer, name), "__wrapped__", None)
        if method is not None:
            vars(method)["__dynamo_disable"] = method


def settle(device: str) -> None:
    """Wait until a CUDA device has done what it was told, and hear of what went wrong there: for the job whose it was.

    At the start it shows whether the device works at all.

    Raises:
        RuntimeError: the device is in error, and this process cannot use it any more.
    """
    if device != "cpu":
        import torch

        torch.cuda.synchronize(device)


def _train(request: RunRequest, resident: ResidentData, wish: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """One training run as a stream of messages."""
    from softreg_core.engine import events, train
    from softreg_core.spec import TrainSpec

    directory = Path(request.directory)
    spec = TrainSpec.model_validate(request.spec)
    ready = resident.ready(request.dataset, spec)
    data = ready.data
    resume, best = _state(request.resume), _state(request.best)
    further = {"teacher": _teacher(request), "control": wish, "device": request.device}
    for event in train(spec, data, resume=resume, resume_best=best, **further):
        match event:
            case events.Started():
                yield (
                    "started",
                    {
                        "step": event.start_step,
                        "total_steps": event.total_steps,
                        "epochs": event.epochs,
                        "tier": event.manifest.tier,
                        "tier_reason": event.manifest.tier_reason,
                    },
                )
            case events.Progress():
                yield "progress", {"step": event.step, "epoch": event.epoch}
            case events.StepLogged():
                yield "epoch", {"step": event.step, "epoch": event.epoch, "metrics": event.metrics, "advice": []}
            case events.EpochEnded():
                facts = {"step": event.step, "epoch": event.epoch, "metrics": event.metrics}
                yield "epoch", facts | {"advice": [advice.as_dict() for advice in event.advice]}
            case events.CheckpointDue():
                yield "checkpoint", _checkpoint(directory, event.state, event.metrics, is_best=event.is_best)
            case events.Stopped():
                if event.reason == "stop" and not event.is_stored:
                    yield "checkpoint", _checkpoint(directory, event.state, {}, is_best=False)
                settle(request.device)
                yield "stopped", {"reason": event.reason}
            case events.Finished():
                yield "finished", _finished(directory, event, request.data_sha256, ready.rows)


def _checkpoint(directory: Path, state: TrainingState, metrics: dict[str, float], *, is_best: bool) -> dict[str, Any]:
    from softreg_core.engine import save_state

    # A name of its own: the supervisor may not have removed an earlier one of the same step yet.
    path = directory / f"checkpoint-{uuid.uuid4().hex}.safetensors"
    save_state(state, path)
    return {
        "file": _as_dict(file_ref(path)),
        "step": state.step,
        "epoch": state.epoch,
        "metrics": metrics,
        "is_best": is_best,
    }


def _finished(directory: Path, event: Any, data_sha256: str, rows: int) -> dict[str, Any]:
    from softreg_core.export import DataDocument, save_model

    target = directory / "model"
    target.mkdir()
    data = DataDocument(sha256=data_sha256, rows=rows) if data_sha256 else None
    save_model(event.model, target, event.metrics, event.report, data=data)
    return {
        "reason": event.reason,
        "step": event.step,
        "epoch": event.epoch,
        "metrics": event.metrics,
        "report": event.report.model_dump(mode="json"),
        "files": {path.name: _as_dict(file_ref(path)) for path in sorted(target.iterdir())},
    }


def _export(request: ExportRequest) -> Iterator[tuple[str, dict[str, Any]]]:
    """One file of a stored model."""
    from softreg_core.export import export_model

    for source in request.sources:
        _verified(source)
    record = export_model(request.directory, request.kind)
    built = file_ref(Path(request.directory) / record.file)
    yield "exported", {"file": _as_dict(built), "facts": record.as_dict()}


def _as_dict(ref: FileRef) -> dict[str, Any]:
    return {"path": ref.path, "sha256": ref.sha256, "size": ref.size}


def _state(ref: FileRef | None) -> TrainingState | None:
    from softreg_core.engine import load_state

    return None if ref is None else load_state(_verified(ref))


def _teacher(request: RunRequest) -> LoadedModel | None:
    """The model that the job learns from, where it needs one."""
    from softreg_core.errors import DataError
    from softreg_core.export.load import load
    from softreg_core.spec import TrainSpec
    from softreg_core.spec.beside import teacher_of

    teacher = teacher_of(TrainSpec.model_validate(request.spec).loss)
    if teacher is None or teacher.source.kind != "model":
        return None
    if not request.teacher:
        raise DataError(f"the teacher, model '{teacher.source.model}', is gone", "no_teacher")
    return load(next(iter({_verified(file).parent for file in request.teacher})))


def _loaded(ref: FileRef) -> Table:
    from softreg_core.data.table import load_table

    return load_table(_verified(ref))


def _verified(ref: FileRef) -> Path:
    from softreg_core.errors import IntegrityError

    path = Path(ref.path)
    if sha256_of_file(path) != ref.sha256:
        raise IntegrityError(f"{path.name} does not have the digest that it was sent with")
    return path


def _described(error: Any) -> dict[str, Any]:
    return {"code": error.code, "fault": error.fault, "message": error.message, **error.details()}


def _confine(parent: int) -> None:
    """Die with the parent, leave no core file, open few files."""
    die_with_parent(parent)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, _MOST_OPEN_FILES), hard))


def main() -> None:
    """Keep standard output for messages alone, then serve."""
    start = RunnerStart.from_argument(sys.argv[1])
    _confine(start.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is for the supervisor
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    Runner(start, sys.stdin.buffer, replies).serve()


if __name__ == "__main__":
    main()
