"""`python -m softreg_core train`: files in, files out, without any server."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import softreg_core
from softreg_core.command import app

_CSV = "x,y,price\n" + "".join(f"{i % 7},{i % 5},{3 * (i % 7) - (i % 5) + 0.5}\n" for i in range(80))


ENTRY = [sys.executable, "-m", "softreg_core"]


@pytest.fixture
def command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("data.csv").write_text(_CSV)

    def run(*arguments, spec=None, name="spec.json"):
        Path(name).write_text(json.dumps(spec if spec is not None else {"training": {"epochs": 6}}))
        return CliRunner().invoke(app, arguments)

    return run


def test_a_spec_and_a_csv_file_become_a_model_that_loads(command, tmp_path):
    done = command("train", "spec.json", "data.csv", "--out", "run")
    assert done.exit_code == 0, done.stderr
    assert "val.r2" in done.stdout
    assert "epoch 6/6" in done.stderr
    model = softreg_core.load(tmp_path / "run")
    assert model.predict([[3, 4], [6, 0]]).shape == (2,)
    history = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in history] == list(range(1, 7))
    assert json.loads((tmp_path / "run" / "spec.json").read_text())["task"]["target"] == ["price"]


def test_the_steps_that_a_spec_wants_logged_are_in_the_history(command, tmp_path):
    spec = {"training": {"epochs": 2, "batch_size": 8, "log_every": 1, "gradient_terms": 2}}
    done = command("train", "spec.json", "data.csv", "--out", "run", spec=spec)
    assert done.exit_code == 0, done.stderr
    history = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in history if "step.loss" in line]
    assert steps == list(range(1, history[-1]["step"] + 1))
    assert [line["step"] for line in history if "step.gradient.base" in line] == steps[1::2]


def test_a_bound_that_no_longer_holds_is_told_once(command):
    loss = {"alpha": 6.0, "alpha_units": "none", "divergence": {"kind": "article", "variance": {"kind": "residual"}}}
    done = command("train", "spec.json", "data.csv", "--out", "run", spec={"loss": loss, "training": {"epochs": 4}})
    assert done.exit_code == 0, done.stderr
    assert done.stderr.count("alpha/sigma2 = ") == 1
    assert "Warning: epoch 1: /loss/alpha" in done.stderr


def test_the_result_as_json_is_all_that_stands_on_standard_output(command):
    done = command("train", "spec.json", "sample:iris", "--out", "run", "--json", "--quiet")
    assert json.loads(done.stdout)["metrics"]["val.accuracy"] > 0.3
    assert "epoch" not in done.stderr


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(command, tmp_path):
    done = command("train", "spec.json", "data.csv", "--dry-run", spec={"training": {"epochs": 10}})
    facts = json.loads(done.stdout)
    assert (facts["total_steps"], facts["rows"]["train"]) == (20, 64)
    assert facts["loss"].startswith("1/2 |y - yhat|^2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.csv", "spec.json"]


@pytest.mark.parametrize(
    ("spec", "data", "said"),
    [
        ({"trainin": {}}, "data.csv", "did you mean 'training'?"),
        ({"task": {"target": "prize"}}, "data.csv", "did you mean 'price'?"),
        ({}, "missing.csv", "there is no file"),
        ({}, "spec.json", "the formats read are"),
        ({}, "sample:digit", "there is no sample 'digit'"),
    ],
)
def test_what_the_caller_can_mend_is_said_in_sentences_with_status_2(command, tmp_path, spec, data, said):
    done = command("train", "spec.json", data, "--out", "run", spec=spec)
    assert done.exit_code == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_spec_that_is_no_json_and_a_folder_in_use_are_refused(command, tmp_path):
    (tmp_path / "torn.json").write_text('{"training": ')
    assert "is not JSON" in command("train", "torn.json", "data.csv", "--out", "run").stderr
    assert "--out DIR is needed" in command("train", "spec.json", "data.csv").stderr
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("keep")
    refused = command("train", "spec.json", "data.csv", "--out", "run")
    assert refused.exit_code == 2
    assert "is not empty" in refused.stderr
    assert "holds no run" in command("train", "spec.json", "data.csv", "--out", "run", "--resume").stderr


def test_ctrl_c_keeps_a_checkpoint_and_resuming_gives_the_undisturbed_model(command, tmp_path):
    spec = {"training": {"epochs": 300, "batch_size": 8}, "checkpoints": {"every_epochs": 1}}
    whole = command("train", "spec.json", "data.csv", "--out", "whole", "--quiet", spec=spec)
    assert whole.exit_code == 0, whole.stderr
    process = subprocess.Popen(
        [*ENTRY, "train", "spec.json", "data.csv", "--out", "run", "--quiet"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(softreg_core.__file__).parents[1])},
        stderr=subprocess.PIPE,
        text=True,
    )
    history = tmp_path / "run" / "history.jsonl"
    while process.poll() is None and not (history.exists() and history.stat().st_size):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130, said
    assert "--resume" in said
    assert not (tmp_path / "run" / "model.json").exists()
    changed = command(
        "train",
        "other.json",
        "data.csv",
        "--out",
        "run",
        "--resume",
        spec={"training": {"epochs": 5}},
        name="other.json",
    )
    assert "another spec" in changed.stderr
    resumed = command("train", "spec.json", "data.csv", "--out", "run", "--quiet", "--resume", spec=spec)
    assert resumed.exit_code == 0, resumed.stderr
    for name in ("model.safetensors", "history.jsonl"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_further_formats_lie_beside_the_model_and_the_card_knows_the_file(command, tmp_path):
    spec = {"training": {"epochs": 1}, "export": ["pt2"]}
    assert command("train", "spec.json", "data.csv", "--out", "run", "--quiet", spec=spec).exit_code == 0
    made = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"model.safetensors", "model.json", "model.pt2", "README.md"} <= made
    digest = hashlib.sha256(Path("data.csv").read_bytes()).hexdigest()
    assert digest in (tmp_path / "run" / "README.md").read_text(encoding="utf-8")


def test_a_model_in_a_folder_teaches_another(command):
    first = command("train", "spec.json", "data.csv", "--out", "first", "--quiet")
    assert first.exit_code == 0, first.stderr
    spec = {"training": {"epochs": 3}, "loss": {"alpha": 1.0, "divergence": {"kind": "teacher"}}}
    alone = command("train", "pupil.json", "data.csv", "--out", "alone", "--quiet", spec=spec, name="pupil.json")
    assert alone.exit_code == 2
    assert "needs a model as its teacher" in alone.stderr
    done = command(
        "train", "pupil.json", "data.csv", "--out", "pupil", "--teacher", "first", spec=spec, name="pupil.json"
    )
    assert done.exit_code == 0, done.stderr
    assert softreg_core.load("pupil").metrics["train.divergence"] > 0.0


def test_a_device_that_is_not_there_is_refused_before_anything_is_written(command, tmp_path):
    done = command("train", "spec.json", "sample:iris", "--out", "run", "--device", "cuda:99")
    assert done.exit_code == 2
    assert "/resources/device: there is no device 'cuda:99'" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_spec_of_lists_in_lists_is_refused_in_a_sentence(command):
    Path("deep.json").write_text("[" * 100_000 + "]" * 100_000)
    done = command("train", "deep.json", "sample:iris", "--out", "run")
    assert done.exit_code == 2
    assert "too deep" in done.stderr


def test_memory_that_runs_out_is_said_in_a_sentence(command, monkeypatch):
    monkeypatch.setattr("softreg_core.command.run.train", lambda *_, **__: iter([torch.empty(10**14)]))
    done = command("train", "spec.json", "sample:iris", "--out", "run")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: out of memory")


def test_a_run_is_not_resumed_on_a_file_that_has_changed(command):
    assert command("train", "spec.json", "data.csv", "--out", "run").exit_code == 0
    lines = Path("data.csv").read_text().splitlines()
    Path("data.csv").write_text("\n".join([lines[0], *lines[:0:-1]]) + "\n")
    done = command("train", "spec.json", "data.csv", "--out", "run", "--resume")
    assert done.exit_code == 2
    assert "other data" in done.stderr


def test_resuming_removes_the_rows_that_a_killed_run_left_on_disk(command, tmp_path):
    assert command("train", "spec.json", "data.csv", "--out", "run").exit_code == 0
    left = tmp_path / "run" / "rows-left"
    left.mkdir()
    (left / "piece").write_bytes(b"x")
    assert command("train", "spec.json", "data.csv", "--out", "run", "--resume").exit_code == 0
    assert not left.exists()
