"""The service benchmark's own parts: a client that counts right, and ends that leave nothing behind."""

from __future__ import annotations

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psutil
import pytest

from benchmarks.service.load import exchange, run_apart
from benchmarks.service.measure import alternate, beside, ratio
from benchmarks.service.processes import end_tree, family, megabytes


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201 if self.path == "/made" else 500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port():
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_every_request_of_every_client_is_counted(port):
    plan = {"port": port, "clients": 3, "requests": 5, "method": "POST", "path": "/made", "body": {"a": 1}}
    found = run_apart({**plan, "status": 201})
    assert found["statuses"] == {"201": 15}
    assert found["rate"] > 0
    assert 0 < found["p50_ms"] <= found["p99_ms"]


def test_a_refused_request_is_no_measurement(port):
    plan = {"port": port, "clients": 1, "requests": 2, "method": "POST", "path": "/", "body": {}, "status": 201}
    with pytest.raises(SystemExit, match="500"):
        run_apart(plan)


def test_a_file_is_received_to_its_last_byte(port):
    assert exchange(port, "POST", "/made", {}, b"x" * 3_000_000) == (201, 3_000_000)


def test_both_sides_take_turns_and_the_first_round_is_not_counted():
    turns = iter([9.0, 9.0, 4.0, 2.0, 9.0, 3.0])
    readings = alternate(2, lambda: next(turns), lambda: next(turns))
    assert readings == [(4.0, 2.0), (9.0, 3.0)]
    assert ratio(readings, is_rate=True) == 2.5
    assert beside("a", "s", readings, "peer")["softreg"] == 6.5


def test_whatever_a_peer_has_started_ends_with_it():
    inner = (
        "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'input()'], start_new_session=True); input()"
    )
    outer = subprocess.Popen([sys.executable, "-c", inner], stdin=subprocess.PIPE)
    while len(members := family(outer.pid)) < 2:
        pass
    assert megabytes(members) > 1
    end_tree(outer)
    outer.stdin.close()
    assert not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in members)
