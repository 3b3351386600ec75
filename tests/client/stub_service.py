"""A program for the tests: the local service with the real servers, but services that cost nothing to start.

python stub_service.py HOME PORT [WORKERS]
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from softreg.errors import LocalError
from softreg.home import Home, Record
from softreg.local import LocalService
from softreg.process import Command
from softreg.services import Endpoints, service_commands

API = """
import http.server, os
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.HTTPServer(("127.0.0.1", int(os.environ["SOFTREG_PORT"])), Ready).serve_forever()
"""


class StubDatabase:
    """A database that is always ready."""

    def prepare(self, key_file: Path) -> str | None:
        if key_file.exists():
            return None
        key_file.touch(mode=0o600)
        key_file.write_text("sk_first\n")
        return "sk_first"

    def has_keeper(self) -> bool:
        return True

    def has_worker(self) -> bool:
        return True

    def close(self) -> None:
        pass


def commands(home: Home, endpoints: Endpoints, workers: int) -> Sequence[Command]:
    """The real commands with other programs in them."""
    programs = {"api": (sys.executable, "-c", API)}
    return [
        dataclasses.replace(command, arguments=programs.get(command.name, ("/bin/sleep", "600")))
        for command in service_commands(home, endpoints, workers)
    ]


def announce(record: Record, key: str | None) -> None:
    print("ready", record.base_url, key, os.getpid(), flush=True)


def main() -> None:
    home = Home(Path(sys.argv[1]))
    workers = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    try:
        home.prepare()
        with home.locked() as is_ours:
            assert is_ours
            LocalService(home, int(sys.argv[2]), workers, commands, lambda _home, _endpoints: StubDatabase()).run(
                announce
            )
    except LocalError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
