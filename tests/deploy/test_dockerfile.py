"""The images are built from what the project has, and the API's image gets no torch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

Stages = dict[str, list[str]]


def _sources(lines: list[str]) -> set[str]:
    """What COPY takes from the build context."""
    copies = [line.split()[1:] for line in lines if line.startswith("COPY ") and "--from=" not in line]
    return {source.rstrip("/") for words in copies for source in words[:-1]}


def _requirements(project: dict[str, Any], extra: str) -> set[str]:
    """The packages of an extra, with those of the extras that it names."""
    found: set[str] = set()
    for requirement in project["project"]["optional-dependencies"][extra]:
        name, extras = re.match(r"([\w-]+)(?:\[([\w,]+)\])?", requirement).groups()  # type: ignore[union-attr]
        if name == project["project"]["name"]:
            found = found.union(*(_requirements(project, inner) for inner in extras.split(",")))
        else:
            found.add(name)
    return found


def _extra(stages: Stages, stage: str) -> str:
    (extra,) = re.findall(r"whl\)\[(\w+)\]", " ".join(stages[stage]))
    return str(extra)


def test_every_target_of_the_compose_file_is_a_stage(compose: dict[str, Any], stages: Stages) -> None:
    targets = {service["build"]["target"] for service in compose["services"].values() if "build" in service}
    assert targets == {"api", "worker"}
    assert targets <= set(stages)


def test_every_stage_stands_on_the_floor_of_python_or_on_a_stage(stages: Stages, project: dict[str, Any]) -> None:
    floor = project["project"]["requires-python"].removeprefix(">=")
    for name, lines in stages.items():
        base = lines[0].split()[1]
        assert base == f"python:{floor}-slim" or base in stages, name


def test_stages_copied_from_exist(stages: Stages) -> None:
    assert set(re.findall(r"--from=(\S+)", str(stages))) <= set(stages)


def test_every_package_and_file_of_the_wheel_is_copied(root: Path, stages: Stages, project: dict[str, Any]) -> None:
    copied = _sources(stages["wheel"])
    assert all((root / source).exists() for source in copied)
    packages = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    described = {project["project"]["readme"], *project["project"]["license-files"]}
    assert copied == packages | described | {"pyproject.toml", "constraints.txt"}


def test_the_build_context_holds_what_is_copied_and_nothing_else(root: Path, dockerfile: list[str]) -> None:
    lines = (root / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == _sources(dockerfile)


@pytest.mark.parametrize(("stage", "has_torch"), [("api", False), ("worker", True)])
def test_only_the_worker_gets_torch(stages: Stages, project: dict[str, Any], stage: str, has_torch: bool) -> None:
    (source,) = re.findall(r"--from=(\S+)", " ".join(stages[stage]))
    extra = _extra(stages, source)
    assert extra == stage
    assert ("torch" in _requirements(project, extra)) is has_torch
    installs = " ".join(line for line in stages[source] if "pip install" in line)
    assert (" torch" in installs) is has_torch


def test_everything_is_installed_at_the_versions_of_the_checks(dockerfile: list[str]) -> None:
    installs = [line for line in dockerfile if "pip install" in line]
    assert installs
    assert all("--constraint /constraints.txt" in line for line in installs)
    (wheel,) = [line for line in dockerfile if "pip wheel" in line]
    assert "PIP_CONSTRAINT=constraints.txt" in wheel


def test_no_package_host_is_written_down(root: Path) -> None:
    for name in ("Dockerfile", "docker-compose.yml", "constraints.txt", "pyproject.toml"):
        hosts = set(re.findall(r"https?://([^\s/\"':)]+)", (root / name).read_text()))
        assert hosts <= {"127.0.0.1"}, name


def test_the_images_run_as_a_user_without_rights(stages: Stages) -> None:
    for name in ("api", "worker"):
        assert stages[name][0] == f"FROM runtime AS {name}"
        assert not any(line.startswith("USER") for line in stages[name])
    assert [line for line in stages["runtime"] if line.startswith("USER")] == ["USER 10001:10001"]
