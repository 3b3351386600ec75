"""Faults put into the losses on purpose: each makes a fast test fail, in a copy of the package.

A fault is (file, what stands there, what is put in its place, the test files that must notice). A test without which a
fault would go unseen cannot be dropped, and a new file of losses needs faults of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import softreg_core

ROOT = Path(softreg_core.__file__).parents[1]
LOSSES = ROOT / "softreg_core" / "losses"
TESTS = ROOT / "tests" / "core" / "losses"

NUMBERS, SURVIVAL, VARIANCE, GAUSSIAN = "test_numbers", "test_survival", "test_variance", "test_gaussian"
BASES, CLASSES, LABELS, EVERY = "test_bases", "test_class_divergences", "test_labels", "test_every_residual_loss"
BUILD, WEIGHING, ROWS, BESIDE = "test_build_loss", "test_weighing", "test_rows", "test_beside"
CLOSED = "test_closed"

FAULTS = [
    # article: the sign of the printed formula, the slopes, the branch for small u
    ("article", "return _half_gap(squared_B, variance, -0.5)", "return _half_gap(squared_B, variance, 0.5)", NUMBERS),
    ("article", "return _half_gap(squared_B, variance, 0.5)", "return _half_gap(squared_B, variance, 1.0)", NUMBERS),
    ("article", "-part_B * (share_B / variance)", "part_B * (share_B / variance)", SURVIVAL),
    (
        "article",
        "return part_B / total_B, by_variance_B, None",
        "return part_B / variance, by_variance_B, None",
        SURVIVAL,
    ),
    ("article", "torch.float64: 0.1}", "torch.float64: 1e-9}", NUMBERS),
    ("article", "return 2.0 * w_B.square()", "return w_B.square()", NUMBERS),
    # ratio: overflow, small u, slopes
    (
        "ratio",
        "torch.where(ratio_B < math.inf, ratio_B.log1p(), wide_B.log() - log_variance)",
        "ratio_B.log1p()",
        SURVIVAL,
    ),
    ("ratio", "return ratio_B.log1p()  #", "return (1.0 + squared_B / variance).log()  #", NUMBERS),
    (
        "ratio",
        "return gradients[0] / total_B, by_variance_B",
        "return gradients[0] / variance, by_variance_B",
        SURVIVAL,
    ),
    (
        "ratio",
        "-gradients[0] * (squared_B / total_B) / variance",
        "gradients[0] * (squared_B / total_B) / variance",
        SURVIVAL,
    ),
    # the other functions of the ratio
    (
        "cauchy",
        "0.5 * outputs * log1p_ratio(squared_B, outputs * variance)",
        "0.5 * log1p_ratio(squared_B, variance)",
        NUMBERS,
    ),
    ("redescending", "return part_B * (variance / total_B), by_variance_B", "return part_B, by_variance_B", SURVIVAL),
    ("redescending", "-0.5 * (-squared_B / variance).expm1()", "0.5 - 0.5 * (-squared_B / variance).exp()", NUMBERS),
    ("redescending", "(squared_B / variance).clamp(max=_FAR)", "squared_B / variance", SURVIVAL),
    ("redescending", "(root_B / variance) * root_B", "(root_B / variance)", SURVIVAL),
    # gaussian: directions, sums, detached weights
    ("gaussian", "return squared_B / (2.0 * variance)", "return squared_B / variance", NUMBERS),
    ("gaussian", 'if direction == "prediction_to_target":', 'if direction == "target_to_prediction":', GAUSSIAN),
    ("gaussian", "half_BG / sigma2).sum(1)", "half_BG / sigma2).mean(1)", GAUSSIAN),
    ("gaussian", "predicted_BG / sigma2 - 1.0", "predicted_BG / sigma2", GAUSSIAN),
    ("gaussian", "predicted_BG.log() - sigma2.log() + sigma2", "sigma2.log() - predicted_BG.log() + sigma2", GAUSSIAN),
    ("gaussian", "predicted_BG.detach().pow(beta)", "predicted_BG.pow(beta)", GAUSSIAN),
    ("gaussian", "0.5 * size * predicted_BG.log()", "0.5 * predicted_BG.log()", GAUSSIAN),
    ("gaussian", "return value_BG.sum(1)", "return value_BG.mean(1)", GAUSSIAN),
    # sample_program: the gradient through s, its floor, its rows
    ("sample_program", "s = prediction_energy(pair) if", "s = prediction_energy(pair).detach() if", EVERY),
    ("sample_program", "return torch.maximum(predicted, floor)", "return predicted", SURVIVAL),
    (
        "sample_program",
        "kept_mean(pair.prediction.square(), weight_B)",
        "kept_mean(pair.prediction.square(), None)",
        EVERY,
    ),
    ("sample_program", "pair.squared / s - 1.0", "pair.squared / s", NUMBERS),
    # variance: what moves sigma2, when, and what flows through it
    ("variance", 'if self.spec.gradient == "through" else self.used', "", VARIANCE),
    ("variance", "        if self.training:", "        if True:", VARIANCE),
    (
        "variance",
        "self.momentum * self.value + (1.0 - self.momentum)",
        "(1.0 - self.momentum) * self.value + self.momentum",
        VARIANCE,
    ),
    ("variance", "kept_mean(pair.squared.double(), pair.weight)", "kept_mean(pair.squared.double(), None)", VARIANCE),
    ("variance", "data_meta.outputs * data_meta.target_variance", "data_meta.target_variance", VARIANCE),
    ("variance", "max(data_meta.target_variance, spec.floor)", "data_meta.target_variance", VARIANCE),
    ("variance", ".clamp(min=self.spec.floor)", ".clamp(min=1e-6)", VARIANCE),
    ("variance", "if is_centred else 0.0", "if not is_centred else 0.0", VARIANCE),
    ("variance", "torch.where(moved.isfinite(), moved, self.value)", "moved", VARIANCE),
    ("variance", "self._held.append(seen)", "self._take_in([seen])", VARIANCE),
    ("variance", "in seen]).sum() / mass", "in seen]).sum() / len(seen)", VARIANCE),
    ("variance", "(share_C * (1.0 - share_C)).mean()", "(share_C * (1.0 - share_C)).sum()", VARIANCE),
    ("variance", "copy=True).clamp(min=self.floor)", "copy=True)", VARIANCE),
    ("variance", "return self.used\n\n    @contextmanager", "return self.settled()\n\n    @contextmanager", VARIANCE),
    (
        "variance",
        "kept_mean(values_NC, weight)).square(), weight)",
        "kept_mean(values_NC, weight)).square(), None)",
        VARIANCE,
    ),
    # rows, residual: what a weight of 0 removes, sums over the outputs, shapes, halves
    ("rows", "kept_BX = torch.where(weight_BX > 0, values_BX, 0.0)", "kept_BX = values_BX", ROWS),
    ("rows", "/ torch.where(total > 0, total, 1.0)", "/ total", ROWS),
    ("rows", "return values_BX.mean(0)", "return values_BX.sum(0)", ROWS),
    ("rows", "(weight_B > 0).view", "(weight_B > -1).view", EVERY),
    ("residual", ".square().sum(1)", ".square().mean(1)", NUMBERS),
    ("residual", "values.float() if values.dtype in (torch.float16, torch.bfloat16) else values", "values", SURVIVAL),
    (
        "residual",
        "if target_BC.shape != prediction_BC.shape:",
        "if target_BC.shape[0] != prediction_BC.shape[0]:",
        BUILD,
    ),
    ("residual", "if low.item() < 0 or high.item() >= classes:", "if high.item() >= classes:", BUILD),
    # the second head, and modules around the formulas
    ("second_head", "less: Tensor = variance - sigma2", "less: Tensor = variance + sigma2", GAUSSIAN),
    ("second_head", ".clamp(max=_LARGEST_LOG).exp()", ".exp()", GAUSSIAN),
    ("second_head", "self.floor + wide_BX", "wide_BX", GAUSSIAN),
    ("second_head", "if not self.has_noise or sigma2 is None:", "if sigma2 is None:", GAUSSIAN),
    ("divergence", "outputs * sigma2 if self.is_per_output else sigma2", "sigma2", VARIANCE),
    ("divergence", "self.spec.direction, beta", '"target_to_prediction", beta', EVERY),
    ("divergence", ", beta=self.spec.beta", "", EVERY),
    ("divergence", "start = 0.0 if known is None", "start = 0.0 if known is not None", EVERY),
    ("soft", "divergence_B, step if self.training else None", "divergence_B, step", WEIGHING),
    ("soft", "return 1.0 if source is None else source.used", "return 1.0", VARIANCE),
    ("weighing", "(1.0 - alpha) * base_B if is_convex else base_B", "base_B", WEIGHING),
    ("weighing", "if alpha == 0.0:", "if alpha < 0.0:", WEIGHING),
    ("weighing", "step / self.total_steps", "(step + 1) / self.total_steps", WEIGHING),
    ("registry", 'is_per_output=spec.scale == "per_output"', "is_per_output=False", VARIANCE),
    (
        "registry",
        '"half_squared_error": lambda _: lambda pair: 0.5 * pair.squared',
        '"half_squared_error": lambda _: lambda pair: pair.squared',
        NUMBERS,
    ),
    # another prediction beside the network's own
    ("agreement", "return temperature**2 * (t.p", "return (t.p", BESIDE),
    ("agreement", "teacher_BK = teacher_BK.detach()", "teacher_BK = teacher_BK + 0.0", BESIDE),
    ("agreement", "(t.p * (t.log_p - p.log_p))", "(p.p * (p.log_p - t.log_p))", BESIDE),
    ("agreement", "return 0.5 * ((p.p - r.p)", "return ((p.p - r.p)", BESIDE),
    ("agreement", "teacher_BC.detach()", "teacher_BC", BESIDE),
    ("agreement", "(4.0 * variance)", "(2.0 * variance)", BESIDE),
    ("beside", "return each_R.view_as(prediction_BC).sum(1)", "return each_R.view_as(prediction_BC).mean(1)", BESIDE),
    ("beside", "self._temperature = spec.temperature", "self._temperature = 1.0", BESIDE),
    ("soft", "base_B = 0.5 * (base_B +", "base_B = 1.0 * (base_B +", BESIDE),
    # what is stepped on: shares of base and divergence, slopes, floors
    ("slopes", "value=0.5 * sign * factor", "value=sign * factor", CLOSED),
    ("slopes", "-1.0),", "1.0),", CLOSED),
    ("slopes", "variance / total_B1, total_B1, value=0.5 * factor", "total_B1, total_B1, value=0.5 * factor", CLOSED),
    ("slopes", "_number(outputs * sigma2, like)", "_number(sigma2, like)", CLOSED),
    ("closed", "kept = 1.0 - alpha if self._weighing.is_convex else 1.0", "kept = 1.0", CLOSED),
    ("closed", "(outputs if is_per_output else 1)", "1", CLOSED),
    ("closed", "self._unit = float(sigma2)", "self._unit = 1.0", CLOSED),
    ("closed", "if energy < self.energy:", "if False:", CLOSED),
    ("closed", "slope_BK.mul_(minus_entropy_B1 > -spec.threshold)", "slope_BK", CLOSED),
    ("closed", "alpha=alpha * factor / temperature", "alpha=alpha * factor", CLOSED),
    ("closed", "if spec.normalize else 1.0", "if spec.normalize else 0.5", CLOSED),
    ("closed", "weighed_BK.sum(1, True), value=-1.0", "weighed_BK.sum(1, True), value=1.0", CLOSED),
    # bases of real values
    ("bases", 'reduction="none", delta=delta).sum(1)', 'reduction="none", delta=delta).mean(1)', BASES),
    ("bases", "(pair.prediction - pair.target).abs().sum(1)", "(pair.prediction - pair.target).abs().mean(1)", BASES),
    ("bases", "(tau - 1.0) * short_BC", "(1.0 - tau) * short_BC", BASES),
    (
        "bases",
        "pair.prediction.exp() - pair.target * pair.prediction",
        "pair.prediction.exp() + pair.target * pair.prediction",
        BASES,
    ),
    ("bases", "0.5 * (nu + 1.0) * log1p_ratio", "0.5 * nu * log1p_ratio", BASES),
    ("bases", "(pair.prediction - pair.target).double().square()", "(pair.prediction - pair.target).square()", BASES),
    # bases and divergences of classes
    ("class_bases", "return 0.5 * pair.residual().squared", "return pair.residual().squared", BASES),
    ("class_bases", "return -(q * log_p_B).expm1() / q", "return -(q * log_p_B).expm1()", BASES),
    ("class_bases", "reverse_weight * log_zero * log_p_B.expm1()", "log_zero * log_p_B.expm1()", BASES),
    ("class_bases", "miss_B.pow(gamma)", "log_p_B.exp().pow(gamma)", BASES),
    ("logits", "torch.log_softmax(wide_BK, dim=1)", "torch.log_softmax(wide_BK, dim=0)", BASES),
    (
        "logits",
        "return self.log_probability.gather(1, self.code).squeeze(1)",
        "return self.log_probability[:, 0]",
        BASES,
    ),
    ("categorical", 'if direction == "target_to_prediction":', 'if direction == "prediction_to_target":', CLASSES),
    ("categorical", "return reverse_B + _of_label(predicted, q_BK)", "return reverse_B", CLASSES),
    ("categorical", "return 0.5 * (of_p_B + of_q_B)", "return of_p_B + of_q_B", CLASSES),
    ("categorical", "own_B1 = 1.0 - epsilon + rest_B1", "own_B1 = 1.0 - epsilon", CLASSES),
    ("categorical", "torch.logaddexp(log_ratio_B, torch.zeros_like(log_ratio_B))", "log_ratio_B", CLASSES),
    ("categorical", "pair.logits / temperature", "pair.logits * temperature", CLASSES),
    ("categorical", "is_open_BK = pair.logits > -torch.inf", "is_open_BK = pair.logits == pair.logits", CLASSES),
    ("categorical", "torch.relu(threshold - entropy_B)", "threshold - entropy_B", CLASSES),
    ("labels", "(2.0 * pair.target - 1.0)", "(1.0 - 2.0 * pair.target)", LABELS),
    ("labels", "* pair.logits).sum(1)", "* pair.logits).mean(1)", LABELS),
    (
        "labels",
        "[logsigmoid(-self.logits), logsigmoid(self.logits)]",
        "[logsigmoid(self.logits), logsigmoid(-self.logits)]",
        LABELS,
    ),
    ("labels", "return values_R.view_as(self.logits).sum(1)", "return values_R.view_as(self.logits).mean(1)", LABELS),
]
# Of what they hold nothing is computed.
WITHOUT_FORMULAS = {"__init__", "parts"}
_ALL_PASSED, _SOME_FAILED = 0, 1
# What is slow to import is imported once; each question is answered by a fork that has seen none of our modules.
_DRIVER = """
import json, os, sys
import hypothesis, mpmath, numpy, pydantic, pytest, torch
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os.dup2(2, 1)
        code = 70  # of a driver that broke, not of a test
        try:
            code = pytest.main(json.loads(line))
        finally:
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
_CONFIGURATION = """[pytest]
addopts = --import-mode=importlib
filterwarnings =
    error
    ignore:Module already imported so cannot be rewritten
markers = long: not here
"""


class Copy:
    """The package and its tests of losses in a directory of their own, to be changed at will."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        bytecode = shutil.ignore_patterns("__pycache__", ".hypothesis")
        shutil.copytree(ROOT / "softreg_core", directory / "softreg_core", ignore=bytecode)
        shutil.copytree(TESTS, directory / "tests" / "core" / "losses", ignore=bytecode)
        (directory / "pytest.ini").write_text(_CONFIGURATION)
        self._log = directory / "log"
        # No bytecode: a file that was changed within a second of its last change would be taken for the old one.
        own = {"PYTHONPATH": str(directory), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
        with self._log.open("w") as log:
            self._driver = subprocess.Popen(
                [sys.executable, "-c", _DRIVER],
                cwd=directory,
                env=os.environ | own,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def verdict(self, *names: str) -> int:
        """Pytest's on some of the tests."""
        tests = [f"tests/core/losses/{name}.py" for name in names]
        arguments = ["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0", "-c", "pytest.ini", *tests]
        self._driver.stdin.write(json.dumps(arguments) + "\n")
        self._driver.stdin.flush()
        code = int(self._driver.stdout.readline())
        if code not in (_ALL_PASSED, _SOME_FAILED):
            raise AssertionError(f"the tests did not run: {self._log.read_text()[-3000:]}")
        return code

    def close(self) -> None:
        """Let the driver end."""
        self._driver.stdin.close()
        self._driver.wait(timeout=30)
        self._driver.stdout.close()


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    made = Copy(tmp_path_factory.mktemp("copy"))
    yield made
    made.close()


def test_every_file_of_losses_has_a_fault_and_every_fault_has_its_place():
    assert {path.stem for path in LOSSES.glob("*.py")} - WITHOUT_FORMULAS == {fault[0] for fault in FAULTS}
    for file, before, after, tests in FAULTS:
        assert (LOSSES / f"{file}.py").read_text().count(before) == 1, f"{file}: {before}"
        assert before != after
        assert (TESTS / f"{tests}.py").exists()


@pytest.mark.long
def test_without_a_fault_every_named_test_passes(copy):
    assert copy.verdict(*sorted({fault[3] for fault in FAULTS})) == _ALL_PASSED


@pytest.mark.long
@pytest.mark.parametrize(("file", "before", "after", "tests"), FAULTS, ids=lambda value: str(value)[:60])
def test_a_fault_is_noticed(copy, file, before, after, tests):
    path = copy.directory / "softreg_core" / "losses" / f"{file}.py"
    text = path.read_text()
    path.write_text(text.replace(before, after))
    try:
        assert copy.verdict(tests) == _SOME_FAILED, (
            f"no test of {tests} notices that {file} has {after!r} for {before!r}"
        )
    finally:
        path.write_text(text)
