"""docker-compose.yml says only what the code knows, and leaves nothing open. No Docker is needed."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer

from softreg import __version__
from softreg_jobs.settings import Settings

Services = dict[str, dict[str, Any]]
_SPOOL = "/spool"


def _settings_of(service: dict[str, Any]) -> set[str]:
    """The names of the settings that a service gets, from its environment or from secret files."""
    names = [name for name in service.get("environment", {}) if name.startswith("SOFTREG_")]
    names += [name for name in service.get("secrets", []) if name.startswith("softreg_")]
    return {name.lower().removeprefix("softreg_") for name in names}


def _seconds(duration: str) -> int:
    match = re.fullmatch(r"(\d+)s", duration)
    assert match is not None
    return int(match[1])


def test_every_command_is_one_of_the_command_line(own: Services) -> None:
    from softreg.cli import app

    known = set(typer.main.get_command(app).commands)
    assert {name: service["command"][0] for name, service in own.items()} == dict.fromkeys(own, "softreg")
    assert {service["command"][1] for service in own.values()} == {"migrate", "api", "keeper", "worker"}
    assert {service["command"][1] for service in own.values()} <= known


def test_every_module_of_a_health_check_exists(own: Services) -> None:
    tests = [service["healthcheck"]["test"] for service in own.values() if "healthcheck" in service]
    modules = {test[3] for test in tests if test[2] == "-m"}
    assert modules == {"softreg_jobs.health"}
    assert all(find_spec(module) for module in modules)


def test_every_setting_named_is_a_setting(compose: dict[str, Any], own: Services, dockerfile: list[str]) -> None:
    fields = set(Settings.model_fields)
    for name, service in own.items():
        assert _settings_of(service) <= fields, name
    in_text = re.findall(r"SOFTREG_(\w+)", " ".join(dockerfile))
    assert {name.lower() for name in in_text} <= fields
    assert {name.removeprefix("softreg_") for name in compose["secrets"] if name.startswith("softreg_")} <= fields


def test_every_process_gets_every_setting_without_a_default(own: Services) -> None:
    required = {name for name, field in Settings.model_fields.items() if field.is_required()}
    assert required
    for name, service in own.items():
        assert required <= _settings_of(service), name


def test_the_values_are_valid_and_the_published_port_is_the_one_listened_on(own: Services) -> None:
    for service in own.values():
        values = {key.lower().removeprefix("softreg_"): value for key, value in service.get("environment", {}).items()}
        settings = Settings.model_validate({"database_url": "postgresql://h/d", "redis_url": "redis://h", **values})
        assert settings.host == ("0.0.0.0" if service is own["api"] else "127.0.0.1")  # noqa: S104  # in a container
        if "ports" in service:
            assert [port.rpartition(":")[2] for port in service["ports"]] == [str(settings.port)]


def test_no_password_stands_in_the_file_or_comes_from_a_default(compose: dict[str, Any], root: Path) -> None:
    text = (root / "docker-compose.yml").read_text()
    assert not re.search(r"\w+://[^\s/]*:[^\s/]*@", text)
    for name, service in compose["services"].items():
        for key, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|TOKEN|KEY|URL", key):
                assert key.endswith("_FILE"), (name, key)
                assert value.removeprefix("/run/secrets/") in service["secrets"], (name, key)


def test_secrets_are_files_that_neither_git_nor_an_image_takes_along(compose: dict[str, Any], root: Path) -> None:
    assert all(set(secret) == {"file"} for secret in compose["secrets"].values())
    assert all(re.fullmatch(r"\./secrets/\w+", secret["file"]) for secret in compose["secrets"].values())
    assert "secrets/" in (root / ".gitignore").read_text().splitlines()


def test_the_database_and_the_first_key_reach_only_who_needs_them(compose: dict[str, Any]) -> None:
    readers = {
        secret: {name for name, service in compose["services"].items() if secret in service.get("secrets", [])}
        for secret in compose["secrets"]
    }
    everyone = {"migrate", "api", "keeper", "worker", "worker-gpu"}
    assert readers == {
        "database_password": {"postgres"},
        "redis_password": {"valkey"},
        "softreg_database_url": everyone,
        "softreg_redis_url": everyone,
        "softreg_first_key": {"migrate"},
    }


def test_images_are_pinned(own: Services, servers: Services, root: Path) -> None:
    assert {service["image"] for service in servers.values()} == {"postgres:18", "valkey/valkey:9"}
    assert all(service["image"].endswith(f":{__version__}") for service in own.values())
    assert set(re.findall(r"--tag softreg-\w+:(\S+)", (root / "Dockerfile").read_text())) == {__version__}


def test_what_runs_for_long_is_watched_and_restarted(long_running: Services) -> None:
    for name, service in long_running.items():
        assert service["restart"] == "unless-stopped", name
        assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}, name
        assert _seconds(service["healthcheck"]["timeout"]) <= _seconds(service["healthcheck"]["interval"]), name


def test_migrate_runs_once_before_everything_that_uses_the_tables(own: Services) -> None:
    assert own["migrate"]["restart"] == "no"
    for name, service in own.items():
        if name != "migrate":
            assert service["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}, name


def test_a_worker_has_time_to_give_its_job_back(own: Services) -> None:
    for name in ("worker", "worker-gpu"):
        assert _seconds(own[name]["stop_grace_period"]) >= 45


def test_no_program_of_ours_is_process_1(own: Services) -> None:
    """Orphans of a killed process become children of process 1, which must reap them."""
    assert all(service["init"] is True for service in own.values())


def test_each_kind_of_worker_has_its_profile_and_its_device(own: Services) -> None:
    assert {name: service["profiles"] for name, service in own.items() if "profiles" in service} == {
        "worker": ["cpu"],
        "worker-gpu": ["gpu"],
    }
    assert own["worker"]["environment"]["SOFTREG_DEVICE"] == "cpu"
    assert own["worker-gpu"]["environment"]["SOFTREG_DEVICE"] == "cuda"
    devices = own["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]
    assert "deploy" not in own["worker"]


@pytest.mark.parametrize("kind", ["volumes", "networks", "secrets"])
def test_what_is_declared_is_used_and_what_is_used_is_declared(compose: dict[str, Any], kind: str) -> None:
    used = {entry.partition(":")[0] for service in compose["services"].values() for entry in service.get(kind, [])}
    assert used == set(compose[kind])


def test_both_servers_keep_their_data_in_a_volume(servers: Services) -> None:
    assert servers["postgres"]["volumes"] == ["database:/var/lib/postgresql"]
    assert servers["valkey"]["volumes"] == ["queue:/data"]


def test_only_the_api_is_reached_from_outside_and_by_default_only_from_this_machine(compose: dict[str, Any]) -> None:
    assert compose["networks"]["inside"] == {"internal": True}
    for name, service in compose["services"].items():
        assert service["networks"] == (["inside", "outside"] if name == "api" else ["inside"])
        assert ("ports" in service) == (name == "api")
    (port,) = compose["services"]["api"]["ports"]
    assert port.startswith("${API_ADDRESS:-127.0.0.1}:")


def test_every_container_is_confined(compose: dict[str, Any], servers: Services) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "cap_add" not in service, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service, name
    assert {name: service["user"] for name, service in servers.items()} == {"postgres": "postgres", "valkey": "valkey"}


def test_the_spool_is_memory_that_only_the_images_user_can_enter(own: Services, stages: dict[str, list[str]]) -> None:
    runtime = " ".join(stages["runtime"])
    user = re.search(r"USER (\d+):(\d+)", runtime)
    assert user is not None
    assert f'SOFTREG_SPOOL_DIR="{_SPOOL}"' in runtime
    for name, service in own.items():
        (options,) = [entry for entry in service["tmpfs"] if entry.startswith(f"{_SPOOL}:")]
        assert {"mode=0700", f"uid={user[1]}", f"gid={user[2]}"} <= set(options.partition(":")[2].split(",")), name


def test_compose_itself_accepts_the_file(root: Path) -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("no docker client with the compose plugin")
    arguments = [docker, "compose", "--file", str(root / "docker-compose.yml"), "--profile", "cpu", "--profile", "gpu"]
    outcome = subprocess.run([*arguments, "config", "--quiet"], capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
