"""The few calls that the command line makes over HTTP."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from softreg.errors import LocalError

__all__ = ["Api"]


class Api:
    """An API and a key; a context manager."""

    def __init__(self, base_url: str, key: str, *, timeout_seconds: float = 30.0) -> None:
        # trust_env: a proxy of the environment has no business between two processes of one machine
        self._client = httpx.Client(
            base_url=base_url, headers={"Authorization": f"Bearer {key}"}, timeout=timeout_seconds, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def submit(self, body: dict[str, Any]) -> dict[str, Any]:
        """Submit a job."""
        return self._object("POST", "/v1/jobs", json=body)

    def job(self, job_id: str) -> dict[str, Any]:
        """The job as it is now."""
        return self._object("GET", f"/v1/jobs/{job_id}")

    def model(self, model_id: str) -> dict[str, Any]:
        """A model's description, with its metrics."""
        return self._object("GET", f"/v1/models/{model_id}")

    def download(self, model_id: str, name: str, target: Path) -> None:
        """Stream one file of a model into `target`."""
        with self._client.stream("GET", f"/v1/models/{model_id}/files/{name}") as response:
            if response.is_error:
                response.read()
            _refuse_errors(response)
            with target.open("wb") as file:
                for chunk in response.iter_bytes():
                    file.write(chunk)

    def _object(self, verb: str, path: str, **options: Any) -> dict[str, Any]:
        response = self._client.request(verb, path, **options)
        _refuse_errors(response)
        fields: dict[str, Any] = response.json()
        return fields


def _refuse_errors(response: httpx.Response) -> None:
    """Raise for a status of 400 and above, with the problem document's own words where there is one."""
    if not response.is_error:
        return
    try:
        problem = response.json()
        reason = problem.get("detail") or problem.get("title") or response.reason_phrase
    except ValueError:
        reason = response.reason_phrase
    raise LocalError(f"{response.request.method} {response.request.url.path}: {response.status_code} {reason}")
