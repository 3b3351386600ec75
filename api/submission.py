"""From a body to a job that can be queued: everything wrong with it is found before anything is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection

from api.intake import SAMPLE_IDS, find_or_make
from api.runtime import Runtime
from api.schemas.jobs import JobCreate
from softreg_core.data.report import DatasetReport
from softreg_core.errors import Problem, SpecError
from softreg_core.spec import Resolution, TrainSpec, problems_of, resolve
from softreg_core.spec.problems import nearest
from softreg_jobs.datasets import find_dataset
from softreg_jobs.store import NewJob

__all__ = ["Submission"]


@dataclass(frozen=True, slots=True)
class Submission:
    """One request for a job."""

    runtime: Runtime
    connection: Connection
    tenant_id: str
    request_id: str

    def checked(self, document: dict[str, Any]) -> NewJob:
        """The job that `document` asks for, resolved against its dataset.

        Raises:
            SpecError: something is wrong; all that was found is in it.
        """
        try:
            job = JobCreate.model_validate(document)
        except ValidationError as error:
            problems = problems_of(error, JobCreate, document)
            if all(problem.pointer != "/dataset" for problem in problems):
                problems += self._misfits(document)
            raise _refusal(problems) from None
        dataset = find_or_make(self.runtime, self.connection, self.tenant_id, job.dataset)
        if dataset is None:
            raise _refusal([_no_dataset(job.dataset)])
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

    def _misfits(self, document: dict[str, Any]) -> list[Problem]:
        """What else is wrong with a document that is refused already; makes no sample for it."""
        name = document["dataset"]
        dataset = find_dataset(self.connection, self.tenant_id, name)
        if dataset is None:
            return [] if name in SAMPLE_IDS else [_no_dataset(name)]
        try:
            spec = TrainSpec.model_validate({key: document[key] for key in TrainSpec.model_fields if key in document})
            self._resolved(spec, dataset.report)
        except ValidationError:
            return []
        except SpecError as error:
            return list(error.problems)
        return []

    def _resolved(self, spec: TrainSpec, report: DatasetReport) -> Resolution:
        resolution = resolve(spec, report)
        most = self.runtime.settings.max_parameters
        if resolution.parameters > most:
            message = f"the net has {resolution.parameters} parameters, and at most {most} are taken"
            raise _refusal([Problem("/net", message)])
        return resolution


def _no_dataset(name: str) -> Problem:
    return Problem("/dataset", f"there is no dataset '{name}'" + nearest(name, SAMPLE_IDS))


def _refusal(problems: list[Problem]) -> SpecError:
    count = len(problems)
    return SpecError(f"the job has {count} problem{'s' * (count > 1)}", problems)
