"""The command and its options."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

import softreg_core
from softreg_core import __version__
from softreg_core.errors import ResourceError, SoftregError, SpecError, is_out_of_memory
from softreg_core.spec import TrainSpec, problems_of

if TYPE_CHECKING:
    from softreg_core.command.source import Source

__all__ = ["app"]

app = typer.Typer(
    name="softreg_core",
    help="Train on this machine, without any server.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
INTERRUPTED = 130
"""The shell's own status of a command that Ctrl-C ended."""


@app.callback()
def root() -> None:
    """A group, so that `train` is said."""


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


@app.command()
def train(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="A JSON file with the spec; {} is the article's run.")],
    data: Annotated[str, typer.Argument(metavar="DATA", help="A data file, or sample:NAME.")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where model, history and checkpoints go; new or empty.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N; else what the spec says.")] = None,
    teacher: Annotated[
        Path | None, typer.Option(metavar="MODEL", help="Folder of the model that divergence `teacher` learns from.")
    ] = None,
    memory: Annotated[
        int | None,
        typer.Option(metavar="MB", min=1, help="A larger Parquet file is streamed.  [default: a quarter of all]"),
    ] = None,
    *,
    resume: Annotated[bool, typer.Option("--resume", help="Go on in DIR where a run was stopped or killed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check spec and data, say what would be done.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train a model from a spec and a data file.

    DIR receives model.safetensors, model.json, the model card README.md, what else `export` in the spec names,
    spec.json as it was resolved, history.jsonl with a line for each epoch (and for each step that the spec wants
    logged), and checkpoints/. Ctrl-C stops after the step under way and keeps a checkpoint.
    """
    with _complaints():
        wanted = _spec(spec)
        if device is not None:
            wanted = _spec_of({**wanted.model_dump(mode="json"), "resources": {"device": device}})
        from softreg_core.command.source import open_source, sha256_of_source
        from softreg_core.spec import resolve

        source = open_source(data, None if memory is None else memory * 2**20)
        resolution = resolve(wanted, source.report)
        for advice in resolution.advice:
            typer.echo(f"Warning: {advice.pointer}: {advice.message}", err=True)
        if dry_run:
            facts: dict[str, Any] = {"parameters": resolution.parameters, "total_steps": resolution.total_steps}
            facts |= {"rows": resolution.sizes._asdict(), "loss": resolution.formula}
            typer.echo(json.dumps({**facts, "spec": resolution.spec.model_dump(mode="json")}, indent=2))
            return
        if out is None:
            raise SpecError("--out DIR is needed: where the model goes")
        digest = sha256_of_source(data)
        told = {"resume": resume, "quiet": quiet, "as_json": as_json}
        _train(resolution.spec, source, out, teacher, data_sha256=digest, **told)


def _train(
    spec: TrainSpec,
    source: Source,
    out: Path,
    teacher: Path | None,
    *,
    resume: bool,
    quiet: bool,
    as_json: bool,
    data_sha256: str | None,
) -> None:
    from softreg_core.command.folder import Folder
    from softreg_core.command.run import device_of, export, run
    from softreg_core.command.show import Display, closing

    device = device_of(spec.resources.device)
    model = None if teacher is None else softreg_core.load(teacher)
    folder = (Folder.resumed if resume else Folder.new)(out, spec, data_sha256)
    with Display(is_shown=not quiet) as display:
        outcome = run(spec, source, folder, display, device=device, data_sha256=data_sha256, teacher=model)
    if outcome is None:
        typer.echo(f"Stopped. The same command with --resume goes on from {folder.checkpoints}.", err=True)
        raise typer.Exit(INTERRUPTED)
    for complaint in export(spec, folder):
        typer.echo(f"Warning: /export: {complaint}", err=True)
    typer.echo(closing(outcome, folder, as_json=as_json))


def _spec(path: Path) -> TrainSpec:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"{path} cannot be read: {error.strerror}") from error
    except RecursionError as error:
        raise SpecError(f"{path} is not JSON: lists or objects lie too deep in each other") from error
    except ValueError as error:
        raise SpecError(f"{path} is not JSON: {error}") from error
    return _spec_of(document)


def _spec_of(document: Any) -> TrainSpec:
    try:
        return TrainSpec.model_validate(document)
    except ValidationError as error:
        raise SpecError("the spec is wrong", problems_of(error, TrainSpec, document)) from None


@contextlib.contextmanager
def _complaints() -> Iterator[None]:
    """What is in the way is said without a traceback; status 2 where the caller can mend it, 1 where not."""
    try:
        with _out_of_memory_said():
            yield
    except SoftregError as error:
        typer.echo(f"Error: {error}", err=True)
        for problem in error.problems if isinstance(error, SpecError) else ():
            typer.echo(f"  {problem.pointer or '/'}: {problem.message}", err=True)
        raise typer.Exit(2 if error.fault == "user" else 1) from error
    except OSError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error


@contextlib.contextmanager
def _out_of_memory_said() -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise ResourceError(f"out of memory: {str(error)[:500]}") from error
