"""The model card says what the model is and is not, and what it tells the reader to run works."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest

from softreg_core.data.table import Table
from softreg_core.engine import fit
from softreg_core.export import DataDocument, export_model, save_model
from softreg_core.spec.formula import describe


@pytest.fixture
def carded(tmp_path, ready):
    """Train for two epochs, save, and return the card."""

    def make(table, **spec):
        resolved, data = ready(table, **{"training": {"epochs": 2}} | spec)
        result = fit(resolved, data)
        fingerprint = DataDocument(sha256="ab" * 32, rows=table.report.rows)
        paths = save_model(result.model, tmp_path, result.metrics, result.report, data=fingerprint)
        return resolved, result, paths[2].read_text(encoding="utf-8")

    return make


def test_it_names_data_loss_seeds_metrics_and_weights(blobs, carded, tmp_path):
    spec, result, card = carded(blobs, split={"train": 0.6, "validation": 0.2, "test": 0.2})
    for expected in (
        "70 rows",
        "ab" * 32,
        describe(spec.loss),
        "training 0",
        "`0`, `1`, `2`",
        '"epochs": 2',
        '"processor"',
        "Not claimed for:",
    ):
        assert expected in card, expected
    (line,) = (line for line in card.splitlines() if line.startswith("| accuracy"))
    for part in ("train", "validation", "test"):
        found = result.report.parts[part].metrics["accuracy"]
        assert f"{found.value:.4g} [{found.lower:.4g}, {found.upper:.4g}]" in line
    assert "42 for training, 14 for validation, 14 for test" in card
    assert "No rows were kept for a test" not in card
    assert "no probabilities" in card  # the default base compares real values


def test_it_says_that_nothing_was_tested(slope, carded):
    _, _, card = carded(slope)
    assert "No rows were kept for a test" in card
    assert "Only 12 validation rows were measured" in card


def test_a_users_names_cannot_break_out_of_their_place(carded, slope):
    columns = slope.report.columns
    evil = "x` | <script>\n# owned | `"
    renamed = (columns[0].model_copy(update={"name": evil}), *columns[1:])
    table = Table(slope.report.model_copy(update={"columns": renamed}), slope.tensors)
    _, _, card = carded(table)
    assert "# owned" not in [line.strip()[:7] for line in card.splitlines()]
    assert "x \\| <script> # owned" in card


def programs(card):
    return "\n".join(re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL))


def run(program, directory):
    return subprocess.run(
        [sys.executable, "-c", program], cwd=directory, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("kind", ["blobs", "slope"])
def test_what_it_tells_to_run_runs(request, carded, tmp_path, kind):
    _, _, card = carded(request.getfixturevalue(kind))
    export_model(tmp_path, "onnx")
    done = run(programs(card), tmp_path)
    assert done.returncode == 0, done.stderr
    predicted, exported = done.stdout.strip().split("\n", 1)
    numbers = [float(text) for text in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", exported)]
    if kind == "slope":
        assert numbers[0] == pytest.approx(float(predicted.strip("[]")), rel=1e-4)
    else:
        assert predicted == f"['{np.argmax(numbers)}']"


@pytest.mark.parametrize("kind", ["table", "image", "sequence", "text", "sound"])
def test_each_kind_of_rows_is_shown_as_it_is_taken(tmp_path, kind):
    from benchmarks.export import encodings, stand_in

    stand_in({"kind": "linear"}, encodings()[kind], tmp_path)
    program = programs((tmp_path / "README.md").read_text(encoding="utf-8"))
    first, _ = program.split("session = ")
    # In this process: an exporter's start for each kind would take seconds. That the graphs answer is shown elsewhere.
    namespace: dict[str, object] = {}
    compiled = compile(
        first.replace('"."', repr(str(tmp_path))).replace('"model.json"', repr(str(tmp_path / "model.json"))),
        "card",
        "exec",
    )
    exec(compiled, namespace)  # noqa: S102  # our own text, which is what is tested
    assert set(namespace["tensors"]) == set(encodings()[kind].shape.names)
