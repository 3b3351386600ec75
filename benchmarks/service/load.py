"""Requests over connections that stay open, with nothing between the socket and the clock.

    echo '{"port": 8000, "clients": 8, "requests": 100, "method": "GET", "path": "/healthz"}' | \
        python -m benchmarks.service.load

A process of its own with the standard library alone: a client that costs as much as the server would measure itself.
"""

from __future__ import annotations

import json
import math
import socket
import statistics
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["Plan", "exchange", "run_apart"]

Plan = Mapping[str, Any]
_HOST = "127.0.0.1"
_BLOCK_BYTES = 2**20


def exchange(port: int, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> tuple[int, int]:
    """One request on a connection of its own; its status and the bytes of the answer's body, which are dropped."""
    with socket.create_connection((_HOST, port)) as connection:
        connection.sendall(_head(method, path, {**headers, "Connection": "close"}, len(body)))
        connection.sendall(body)
        status, length, first = _answer(connection, b"")
        received, block = len(first), bytearray(_BLOCK_BYTES)
        while received < length and (count := connection.recv_into(block)):
            received += count
    return status, received


def run_apart(plan: Plan) -> dict[str, Any]:
    """What `plan` measures, in a process of its own: `rate` a second, `p50_ms`, `p99_ms`.

    Raises:
        SystemExit: an answer had another status than the plan expects.
    """
    command = [sys.executable, "-m", "benchmarks.service.load"]
    folder = Path(__file__).parents[2]
    done = subprocess.run(command, input=json.dumps(plan), capture_output=True, text=True, cwd=folder, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    if set(found["statuses"]) != {str(plan["status"])}:
        raise SystemExit(f"{plan['method']} {plan['path']} was answered with {found['statuses']}")
    return found


def _head(method: str, path: str, headers: Mapping[str, str], length: int) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {_HOST}", f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _answer(connection: socket.socket, buffer: bytes) -> tuple[int, int, bytes]:
    """Status and length of an answer, and what has come of its body."""
    while b"\r\n\r\n" not in buffer:
        data = connection.recv(2**16)
        if not data:
            raise ConnectionError("the server closed the connection")
        buffer += data
    head, _, rest = buffer.partition(b"\r\n\r\n")
    lengths = [line.partition(b":")[2] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return int(head.split(b" ", 2)[1]), int(lengths[0]) if lengths else sys.maxsize, rest


def _client(plan: Plan, answers: list[tuple[int, float, float]]) -> None:
    body = json.dumps(plan["body"]).encode() if plan.get("body") is not None else b""
    headers = {"Content-Type": "application/json", **plan.get("headers", {})}
    with socket.create_connection((_HOST, plan["port"])) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        buffer, made = b"", []
        for _ in range(plan["requests"]):
            if plan.get("with_key"):
                headers["Idempotency-Key"] = uuid.uuid4().hex
            started = time.perf_counter()
            connection.sendall(_head(plan["method"], plan["path"], headers, len(body)) + body)
            status, length, buffer = _answer(connection, buffer)
            while len(buffer) < length:
                buffer += connection.recv(2**16)
            ended = time.perf_counter()
            answers.append((status, ended - started, ended))
            made.append(buffer[:length])
            buffer = buffer[length:]
        for answer in made if plan.get("cancel") else ():
            path = json.loads(answer)["urls"]["cancel"]
            connection.sendall(_head("POST", path, headers, 0))
            _, length, buffer = _answer(connection, b"")
            while len(buffer) < length:
                buffer += connection.recv(2**16)


def _measured(plan: Plan) -> dict[str, Any]:
    answers: list[list[tuple[int, float, float]]] = [[] for _ in range(plan["clients"])]
    clients = [threading.Thread(target=_client, args=(plan, mine)) for mine in answers]
    started = time.perf_counter()
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    times = sorted(took for mine in answers for _, took, _ in mine)
    if len(times) < plan["clients"] * plan["requests"]:
        raise SystemExit("a connection broke")
    # Up to the last answer: what is cancelled afterwards is not timed.
    seconds = max(ended for mine in answers for _, _, ended in mine) - started
    return {
        "rate": len(times) / seconds,
        "p50_ms": 1000 * statistics.median(times),
        "p99_ms": 1000 * times[math.ceil(0.99 * len(times)) - 1],
        "statuses": Counter(str(status) for mine in answers for status, _, _ in mine),
    }


if __name__ == "__main__":
    print(json.dumps(_measured(json.load(sys.stdin))))
