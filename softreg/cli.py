"""The command `softreg`.

Every command imports what it needs when it runs: `softreg --help` stays fast, and the client installs without servers.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shlex
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from softreg import __version__
from softreg.errors import LocalError

if TYPE_CHECKING:
    from softreg.home import Home, Record

__all__ = ["app"]

app = typer.Typer(
    name="softreg",
    help="Train networks with soft-regularized losses, as a service.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # locals may hold keys
)
keys_app = typer.Typer(help="Keys of the API.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")


class Format(StrEnum):
    """How a command prints."""

    TEXT = "text"
    JSON = "json"


HomeOption = Annotated[
    str | None,  # a Path would take an empty text for the working directory
    typer.Option(
        "--home",
        metavar="DIRECTORY",
        help="Where data, logs and the key lie.  [default: /var/lib/softreg, or your data folder]",
    ),
]
PortOption = Annotated[int, typer.Option(envvar="SOFTREG_PORT", min=0, max=65535, help="Of the API; 0: a free one.")]
WorkersOption = Annotated[int, typer.Option(min=1, max=64, help="How many worker processes.")]


def _home(path: str | None) -> Home:
    from softreg.home import Home, default_home

    if path == "":
        raise LocalError("--home is empty: name a directory, or leave the option out.")
    return Home(default_home() if path is None else Path(path))


@contextlib.contextmanager
def _complaints() -> Iterator[None]:
    """What is in the way is said in one paragraph, without a traceback."""
    try:
        yield
    except LocalError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error


@app.command()
def up(
    home: HomeOption = None,
    port: PortOption = 8000,
    workers: WorkersOption = 1,
    *,
    detach: Annotated[bool, typer.Option("--detach", help="Return when the service is ready.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Do not print the addresses and the first key.")] = False,
) -> None:
    """Start the whole service on this machine: database, queue, API, keeper and workers."""
    from softreg.detach import start_background
    from softreg.local import LocalService
    from softreg.readiness import free_port
    from softreg.services import own_host

    with _complaints():
        place = _home(home)
        if not place.is_prepared:
            free_port(own_host(), port)  # so that a port that is taken leaves no trace
        place.prepare()
        with place.locked() as is_ours:
            if is_ours and not detach:
                _log_events()
                LocalService(place, port, workers).run(lambda record, key: _announce(place, record, key, quiet=quiet))
        if not is_ours:
            _say_running(place)
            raise typer.Exit(0 if detach else 1)
        if detach:
            had_key = place.api_key_file.exists()
            record = start_background(place, port, workers, os.environ, dies_with_caller=False)
            _announce(place, record, None if had_key else _stored_key(place), quiet=quiet)


def _log_events() -> None:
    """What the supervisor does, but not what each library thinks of it."""
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("softreg").setLevel(logging.INFO)


def _stored_key(home: Home) -> str | None:
    return home.api_key_file.read_text().strip() if home.api_key_file.exists() else None


def _say_running(home: Home) -> None:
    from softreg.status import local_status, status_text

    typer.echo("The service already runs in this home.")
    typer.echo(status_text(local_status(home)))


def _announce(home: Home, record: Record, key: str | None, *, quiet: bool) -> None:
    """What a user needs next; the key is shown this once."""
    from softreg.readiness import checks

    if not quiet:
        _show_addresses(home, record, key)
    if record.base_url is not None and checks(record.base_url).get("redis") == "failed":
        typer.echo(f"Warning: Redis at {record.redis_url} does not answer: jobs are accepted and wait.", err=True)


def _show_addresses(home: Home, record: Record, key: str | None) -> None:
    typer.echo(f"softreg is ready: {record.base_url}")
    if key is not None:
        typer.echo(f"Your first key, shown once: {key}")
    file = home.api_key_file
    # A database of the user's may have had keys before: then only the user knows them.
    bearer = f"$(cat {shlex.quote(str(file))})" if file.exists() else "$SOFTREG_API_KEY"
    typer.echo(f"Key file: {file if file.exists() else '(none: use a key of this database)'}   Logs: {home.logs}")
    typer.echo("Submit a job:")
    typer.echo(
        f'  curl {record.base_url}/v1/jobs -H "Authorization: Bearer {bearer}" '
        """-H "Content-Type: application/json" -d '{"dataset": "sample:digits"}'"""
    )


@app.command()
def down(home: HomeOption = None) -> None:
    """Stop the service of a home; its data stays."""
    from softreg.detach import stop

    with _complaints():
        typer.echo("Stopped." if stop(_home(home)) else "Nothing runs in this home.")


@app.command()
def status(
    home: HomeOption = None, output: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.TEXT
) -> None:
    """Say what runs. Exit status: 0 running, 3 stopped, 1 anything between."""
    from softreg.status import EXIT_CODES, local_status, status_text

    with _complaints():
        found = local_status(_home(home))
    typer.echo(json.dumps(found, indent=2) if output is Format.JSON else status_text(found))
    raise typer.Exit(EXIT_CODES[found["state"]])


@app.command()
def migrate() -> None:
    """Bring the schema of SOFTREG_DATABASE_URL up to date."""
    from softreg.database import known_settings, reachable
    from softreg_jobs.bootstrap import migrate as run_migrations

    with _complaints(), reachable():
        run_migrations(known_settings())
    typer.echo("The schema is up to date.")


@app.command()
def api() -> None:
    """Serve the API in the foreground."""
    from softreg.services import run_api

    run_api()


@app.command()
def keeper() -> None:
    """Run the keeper in the foreground: doorbells, expired leases, stale uploads."""
    from softreg.services import run_keeper

    run_keeper()


@app.command()
def worker(
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N; over SOFTREG_DEVICE.")] = None,
) -> None:
    """Run one worker in the foreground."""
    from softreg.services import run_worker

    run_worker(device)


@keys_app.command("create")
def create_key(
    name: Annotated[str, typer.Option(help="What the key is for.")] = "unnamed", home: HomeOption = None
) -> None:
    """Make a key and print it, this once; for the database of the environment, or of the service in a home."""
    from softreg.keys import create

    with _complaints():
        typer.echo(create(_home(home), name))


@app.command()
def demo(
    *, keep: Annotated[bool, typer.Option("--keep", help="Leave the service running at the end.")] = False
) -> None:
    """Train on the sample digits, download the model, and check it: the whole way in one command."""
    from softreg.demo import run_demo

    with _complaints():
        raise typer.Exit(run_demo(keep=keep))


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)
