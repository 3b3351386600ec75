"""PostgreSQL and Valkey as children: private, durable, restartable."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from kombu import Connection
from sqlalchemy import NullPool, create_engine, make_url, text

from softreg.embedded import EmbeddedPostgres, EmbeddedServer, EmbeddedValkey
from softreg.errors import LocalError
from softreg.sockets import LONGEST_SOCKET_PATH

SERVERS = [EmbeddedPostgres, EmbeddedValkey]


@contextmanager
def running(server: EmbeddedServer) -> Iterator[str]:
    try:
        yield server.start()
    finally:
        server.stop()


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_postgres_keeps_its_data_between_starts(place: Path) -> None:
    with running(EmbeddedPostgres(place / "postgres")) as url:
        assert url.startswith("postgresql+psycopg://postgres@/softreg?host=/")
        query(url, "CREATE TABLE kept AS SELECT 7 AS number")
    with running(EmbeddedPostgres(place / "postgres")) as url:
        assert query(url, "SELECT number FROM kept") == [(7,)]


def test_postgres_comes_back_after_a_kill_with_what_was_committed(place: Path) -> None:
    server = EmbeddedPostgres(place / "postgres")
    url = server.start()
    query(url, "CREATE TABLE kept AS SELECT 7 AS number")
    assert server.process is not None
    server.process.kill()
    server.process.wait()
    with running(server) as url:
        assert query(url, "SELECT number FROM kept") == [(7,)]


def test_postgres_is_durable_and_listens_on_no_port(place: Path) -> None:
    with running(EmbeddedPostgres(place / "postgres")) as url:
        settings = dict(query(url, "SELECT name, setting FROM pg_settings"))
        assert (settings["fsync"], settings["synchronous_commit"], settings["full_page_writes"]) == ("on", "on", "on")
        assert settings["listen_addresses"] == ""
        assert settings["server_version"].startswith("18.")
        assert query(url, "SHOW server_encoding") == [("UTF8",)]


def test_valkey_writes_everything_down_and_evicts_nothing(place: Path) -> None:
    with running(EmbeddedValkey(place / "valkey")) as url, redis.Redis.from_url(url) as client:
        client.set("kept", "7")
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.config_get("port") == {"port": "0"}
    with running(EmbeddedValkey(place / "valkey")) as url, redis.Redis.from_url(url) as client:
        assert client.get("kept") == b"7"


@pytest.mark.parametrize("kind", SERVERS)
def test_nobody_else_can_reach_a_server(kind: type[EmbeddedServer], place: Path) -> None:
    server = kind(place / "server")
    with running(server):
        assert server.pid is not None
        assert psutil.Process(server.pid).uids().real != 0
        assert mode(server.directory) == 0o700
        assert mode(server.sockets) == 0o700
        assert mode(server.log) == 0o600


@pytest.mark.parametrize("kind", SERVERS)
def test_stop_leaves_no_process(kind: type[EmbeddedServer], place: Path, eventually: Callable[..., None]) -> None:
    server = kind(place / "server")
    server.start()
    assert server.pid is not None
    family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
    server.stop()
    assert server.pid is None
    eventually(lambda: not any(process.is_running() for process in family))
    server.stop()


@pytest.mark.parametrize("kind", SERVERS)
def test_a_deep_directory_gets_a_short_socket_elsewhere(kind: type[EmbeddedServer], place: Path) -> None:
    deep = place / ("d" * 60) / ("e" * 60)
    sockets = set()
    for _ in range(2):
        server = kind(deep)
        with running(server):
            files = list(server.sockets.iterdir())
            assert files
            assert all(len(os.fsencode(file)) < LONGEST_SOCKET_PATH for file in files)
            assert mode(server.sockets) == 0o700
            sockets.add(server.sockets)
    assert len(sockets) == 1
    sockets.pop().rmdir()


@pytest.mark.parametrize("name", ["s p", "\u00fcn\u00ef \u65e5\u672c", "pct%41x", "at@a:b,c&d=e", "quo'te\"$HOME`x"])
def test_a_path_of_any_letters_is_reached_by_its_url(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    with running(EmbeddedPostgres(place / name / "postgres")) as url:
        engine = create_engine(url, poolclass=NullPool)
        with engine.connect() as connection:
            host = connection.execute(text("SHOW unix_socket_directories")).scalar_one()
        assert host == make_url(url).query["host"]
    with running(EmbeddedValkey(place / name / "valkey")) as url:
        with redis.Redis.from_url(url) as client:
            assert client.ping()
        with Connection(url.replace("unix:", "redis+socket:")) as broker:
            broker.ensure_connection(max_retries=1)


@pytest.mark.parametrize("kind", SERVERS)
def test_a_socket_directory_that_somebody_else_opened_is_not_used_again(
    kind: type[EmbeddedServer], place: Path
) -> None:
    server = kind(place / ("d" * 60) / ("e" * 60))
    server.prepare()
    if isinstance(server, EmbeddedPostgres):
        server.command()
    first = server.sockets
    first.chmod(0o777)
    server.prepare()
    assert server.sockets != first
    first.rmdir()
    server.sockets.rmdir()


def test_a_server_that_cannot_start_says_why(place: Path) -> None:
    server = EmbeddedPostgres(place / "postgres")
    with running(server):
        pass
    (place / "postgres/data/PG_VERSION").write_text("12\n")
    with pytest.raises(LocalError, match="PostgreSQL version 12"):
        server.start()
    assert server.pid is None


def test_an_interrupted_creation_is_begun_anew(place: Path) -> None:
    server = EmbeddedPostgres(place / "postgres")
    server.prepare()
    assert server._initdb is not None
    os.kill(server._initdb.pid, signal.SIGKILL)
    with pytest.raises(LocalError, match="could not be created"):
        server.command()
    with running(EmbeddedPostgres(place / "postgres")) as url:
        assert query(url, "SELECT 1") == [(1,)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root could change the owner of somebody's files")
def test_a_directory_with_somebody_elses_files_is_left_alone(place: Path) -> None:
    place.joinpath("precious").touch()
    with pytest.raises(LocalError, match="belongs to another user"):
        EmbeddedPostgres(place).start()
    assert (place.stat().st_uid, mode(place)) == (0, 0o755)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the servers as another user")
def test_a_place_where_the_servers_user_cannot_go_is_named(place: Path) -> None:
    place.chmod(0o700)
    with pytest.raises(LocalError, match="cannot reach"):
        EmbeddedPostgres(place / "postgres").start()
    assert mode(place) == 0o700
