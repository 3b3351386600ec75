"""The calls of the command line against a small server that answers as told."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from softreg.errors import LocalError
from softreg.http import Api

PROBLEM = json.dumps({"title": "Not Found", "status": 404, "detail": "there is no such model"}).encode()
ANSWERS = {
    ("POST", "/v1/jobs"): (201, b'{"id": "job_1"}'),
    ("GET", "/v1/models/mdl_1/files/model.json"): (200, b"{}" * 100_000),
    ("GET", "/v1/models/mdl_2/files/model.json"): (404, PROBLEM),
    ("GET", "/v1/jobs/job_1"): (502, b"<html>a proxy's page</html>"),
}


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        known = self.headers["Authorization"] == "Bearer sk_1"
        status, body = ANSWERS[self.command, self.path] if known else (401, b"")
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer  # noqa: N815  # names that the standard library looks for

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def base_url() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_submit_and_download(base_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with Api(base_url, "sk_1") as api:
        assert api.submit({"dataset": "sample:digits"}) == {"id": "job_1"}
        api.download("mdl_1", "model.json", tmp_path / "model.json")
    assert (tmp_path / "model.json").read_bytes() == b"{}" * 100_000


def test_a_refusal_is_told_in_the_services_words_and_writes_no_file(base_url: str, tmp_path: Path) -> None:
    with Api(base_url, "sk_1") as api, pytest.raises(LocalError, match="404 there is no such model"):
        api.download("mdl_2", "model.json", tmp_path / "model.json")
    assert not list(tmp_path.iterdir())


def test_a_refusal_without_a_problem_document_is_told_too(base_url: str) -> None:
    with Api(base_url, "sk_1") as api, pytest.raises(LocalError, match="GET /v1/jobs/job_1: 502 Bad Gateway"):
        api.job("job_1")
    with Api(base_url, "sk_2") as api, pytest.raises(LocalError, match="401 Unauthorized"):
        api.job("job_1")
