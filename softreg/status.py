"""What runs of one home, checked against the live processes and the API."""

from __future__ import annotations

from typing import Any

from softreg.home import Home, Record, State
from softreg.readiness import checks, is_api_ready

__all__ = ["EXIT_CODES", "local_status", "status_text"]

EXIT_CODES: dict[State, int] = {"running": 0, "starting": 1, "degraded": 1, "stopping": 1, "stopped": 3}
"""Of `softreg status`; 3 is what the Linux Standard Base gives a service that does not run."""


def local_status(home: Home) -> dict[str, Any]:
    """The state of the service in `home`, as `softreg status --format json` prints it."""
    record = home.running()
    key_file = str(home.api_key_file) if home.api_key_file.exists() else None
    if record is None:
        nothing = {"base_url": None, "api_key_file": key_file, "database_url": None, "redis_url": None}
        return {"state": "stopped", **nothing, "processes": []}
    alive = [process for process in record.processes if process.is_alive]
    return {
        "state": _checked_state(record, everything_lives=len(alive) == len(record.processes)),
        "base_url": record.base_url,
        "api_key_file": key_file,
        "database_url": record.database_url,
        "redis_url": record.redis_url,
        "processes": [{"name": process.name, "pid": process.pid} for process in alive],
    }


def _checked_state(record: Record, *, everything_lives: bool) -> State:
    """The recorded state; `running` only if what it claims is true at this moment."""
    if record.state == "running" and record.base_url is not None:
        return "running" if everything_lives and is_api_ready(record.base_url) else "degraded"
    return record.state


def status_text(status: dict[str, Any]) -> str:
    """The same for a reader, with what the API says of its parts: without Redis it runs, and its jobs wait."""
    lines = [f"state      {status['state']}"]
    for label, field in (
        ("api", "base_url"),
        ("key", "api_key_file"),
        ("database", "database_url"),
        ("redis", "redis_url"),
    ):
        if status[field] is not None:
            lines.append(f"{label:<10} {status[field]}")
    if status["base_url"] is not None and (words := checks(status["base_url"])):
        lines.append("checks     " + ", ".join(f"{name} {word}" for name, word in words.items()))
    lines += [f"{process['name']:<10} pid {process['pid']}" for process in status["processes"]]
    return "\n".join(lines)
