"""From a body to a job that can be queued: everything wrong with it is found before anything is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection

from api.body import read_object
from api.intake import SAMPLE_IDS, find_or_make
from api.refusals import InvalidRequestError
from api.runtime import Runtime
from api.schemas.jobs import JobCreate
from api.teacher import problem_of_teacher
from softreg_core.data.report import DatasetReport
from softreg_core.errors import Problem, SpecError, UserError
from softreg_core.spec import Resolution, TrainSpec, problems_of, resolve
from softreg_core.spec.estimate import bytes_of_batch
from softreg_core.spec.memory import bytes_of_decoded
from softreg_core.spec.problems import nearest
from softreg_jobs.store import NewJob

__all__ = ["Submission"]


@dataclass(frozen=True, slots=True)
class Submission:
    """One request for a job."""

    runtime: Runtime
    connection: Connection
    tenant_id: str
    request_id: str

    def checked(self, body: bytes) -> NewJob:
        """The job that `body` asks for, resolved against its dataset.

        Raises:
            MalformedRequestError: it is not JSON.
            InvalidRequestError: it holds what cannot be kept; all else that was found is in it too.
            SpecError: something is wrong; all that was found is in it.
        """
        document, refused = read_object(body)
        try:
            job = JobCreate.model_validate(document)
        except ValidationError as error:
            raise self._refusal(document, refused, problems_of(error, JobCreate, document)) from None
        dataset = find_or_make(self.runtime, self.connection, self.tenant_id, job.dataset)
        if dataset is None:
            raise _spec_error([_no_dataset(job.dataset)])
        resolution = self._resolved(job.spec(), dataset.report)
        return NewJob(
            tenant_id=self.tenant_id,
            dataset_id=dataset.id,
            resolution=resolution,
            name=job.name,
            priority=job.priority,
            metadata=job.metadata,
            warnings=tuple(advice.as_dict() for advice in resolution.advice),
            request_id=self.request_id,
        )

    def _refusal(self, document: dict[str, Any], refused: list[Problem], found: list[Problem]) -> UserError:
        """Everything wrong with a document: what cannot be kept, what does not validate, what misses its dataset."""
        places = tuple(f"{problem.pointer}/" for problem in refused)
        problems = refused + [problem for problem in found if not f"{problem.pointer}/".startswith(places)]
        problems += self._misfits(document, {_section(problem) for problem in problems})
        if refused:
            return InvalidRequestError(
                f"the job has {_counted(problems)}, some of them in what cannot be kept", problems
            )
        return _spec_error(problems)

    def _misfits(self, document: dict[str, Any], broken: set[str]) -> list[Problem]:
        """How the sections that are not `broken` miss the dataset.

        With a broken task nothing is said: every misfit hangs on what is learned from what.
        """
        if not broken.isdisjoint({"", "dataset", "task"}):
            return []
        name = document["dataset"]
        dataset = find_or_make(self.runtime, self.connection, self.tenant_id, name)
        if dataset is None:
            return [_no_dataset(name)]
        sections = {key: document[key] for key in TrainSpec.model_fields if key in document and key not in broken}
        try:
            self._resolved(TrainSpec.model_validate(sections), dataset.report)
        except SpecError as error:
            return [problem for problem in error.problems if _section(problem) not in broken]
        return []

    def _resolved(self, spec: TrainSpec, report: DatasetReport) -> Resolution:
        resolution = resolve(spec, report)
        most = self.runtime.settings.max_parameters
        if resolution.parameters > most:
            message = f"the net has {resolution.parameters} parameters, and at most {most} are taken"
            raise _spec_error([Problem("/net", message)])
        needed, most = bytes_of_decoded(resolution.spec.task.input, report), self.runtime.settings.max_prepared_bytes
        if needed > most:
            message = (
                f"{report.rows} rows take {needed / 2**30:.1f} GiB when they are decoded to this size, and at most "
                f"{most / 2**30:.1f} are taken: choose a smaller height and width, or fewer seconds or a lower rate"
            )
            raise _spec_error([Problem("/task/input", message)])
        needed, most = _bytes_of_batch(resolution), self.runtime.settings.max_batch_bytes
        if needed > most:
            message = (
                f"a batch takes {needed / 2**30:.1f} GiB in the net's largest layer alone, and at most "
                f"{most / 2**30:.1f} are taken: choose a smaller batch, training.accumulate, or a smaller input or net"
            )
            raise _spec_error([Problem("/training/batch_size", message)])
        problem = problem_of_teacher(self.connection, self.tenant_id, resolution)
        if problem is not None:
            raise _spec_error([problem])
        return resolution


def _bytes_of_batch(resolution: Resolution) -> int:
    spec = resolution.spec
    return bytes_of_batch(spec.net, resolution.shape, resolution.outputs, spec.training, resolution.sizes.train)


def _no_dataset(name: str) -> Problem:
    return Problem("/dataset", f"there is no dataset '{name}'" + nearest(name, SAMPLE_IDS))


def _section(problem: Problem) -> str:
    """The key of the document under which the problem lies; empty for the document itself."""
    return problem.pointer.removeprefix("/").partition("/")[0]


def _counted(problems: list[Problem]) -> str:
    return f"{len(problems)} problem{'s' * (len(problems) > 1)}"


def _spec_error(problems: list[Problem]) -> SpecError:
    return SpecError(f"the job has {_counted(problems)}", problems)
