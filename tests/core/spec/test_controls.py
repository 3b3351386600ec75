"""Controls that do not go together are refused at their own place; those that surprise are advised on."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from softreg_core.data.arrays import table_from_arrays
from softreg_core.errors import SpecError
from softreg_core.spec import TrainSpec, resolve

X = np.random.default_rng(0).normal(size=(60, 3))
CLASSES = table_from_arrays(X, np.arange(60) % 3)
VALUES = table_from_arrays(X, X.sum(1))
CROSS_ENTROPY = {"base": {"kind": "cross_entropy"}}


def refusals(table=CLASSES, **spec):
    with pytest.raises(SpecError) as caught:
        resolve(TrainSpec.model_validate(spec), table.report)
    return {problem.pointer: problem.message for problem in caught.value.problems}


def advice(table=CLASSES, **spec):
    found = resolve(TrainSpec.model_validate(spec), table.report)
    return {item.code for item in found.advice}


@pytest.mark.parametrize(
    ("table", "spec", "pointer", "words"),
    [
        (
            CLASSES,
            {"loss": {"divergence": {"kind": "sample_program"}}, "training": {"accumulate": 2}},
            "/training/accumulate",
            "whole batch",
        ),
        (CLASSES, {"net": {"norm": "batch"}, "training": {"accumulate": 2}}, "/training/accumulate", "norm 'batch'"),
        (CLASSES, {"training": {"batch_size": 8, "accumulate": 9}}, "/training/accumulate", "9 parts"),
        (CLASSES, {"training": {"engine": "cudagraph"}, "resources": {"device": "cpu"}}, "/training/engine", "CUDA"),
        (
            CLASSES,
            {"training": {"engine": "compiled"}, "resources": {"device": "cuda"}},
            "/training/engine",
            "CPU only",
        ),
        (CLASSES, {"training": {"engine": "compiled", "accumulate": 2}}, "/training/engine", "one piece"),
        (CLASSES, {"training": {"engine": "compiled"}, "optimizer": {"kind": "muon"}}, "/training/engine", "muon"),
        (CLASSES, {"training": {"engine": "compiled"}, "penalties": {"mixup": 0.2}}, "/training/engine", "mixup"),
        (CLASSES, {"penalties": {"label_smoothing": 0.1}}, "/penalties/label_smoothing", "half_squared_error"),
        (VALUES, {"penalties": {"label_smoothing": 0.1}}, "/penalties/label_smoothing", "classes"),
        (
            CLASSES,
            {"penalties": {"mixup": 0.2}, "training": {"class_weights": "balanced"}},
            "/penalties/mixup",
            "weights",
        ),
        (VALUES, {"training": {"class_weights": "balanced"}}, "/training/class_weights", "no classes"),
        (CLASSES, {"training": {"class_weights": {"0": 2.0, "9": 2.0}}}, "/training/class_weights", "no class '9'"),
        (
            CLASSES,
            {"training": {"class_weights": {"0": 0.0, "1": 0.0, "2": 0.0}}},
            "/training/class_weights",
            "every class weighs 0",
        ),
        (
            VALUES,
            {"training": {"early_stopping": {"monitor": "val.accuracy", "restore_best": False}}},
            "/training/early_stopping/monitor",
            "does not exist",
        ),
        (
            CLASSES,
            {"training": {"early_stopping": {}}, "split": {"train": 1.0, "validation": 0.0}},
            "/training/early_stopping",
            "no validation rows",
        ),
        (
            CLASSES,
            {"training": {"early_stopping": {"monitor": "val.loss"}}, "checkpoints": {"monitor": "val.accuracy"}},
            "/training/early_stopping/monitor",
            "agree",
        ),
        (
            CLASSES,
            {"training": {"early_stopping": {}}, "checkpoints": {"keep_best": False}},
            "/training/early_stopping/restore_best",
            "keep_best",
        ),
        (CLASSES, {"schedule": {"kind": "plateau", "monitor": "val.r2"}}, "/schedule/monitor", "does not exist"),
        (
            CLASSES,
            {"training": {"precision": "bfloat16"}, "resources": {"device": "cpu"}},
            "/training/precision",
            "CUDA only",
        ),
    ],
)
def test_what_cannot_go_together_is_refused(table, spec, pointer, words):
    assert words in refusals(table, **spec)[pointer]


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ({"training": {"epochs": 5, "early_stopping": {}}}, "early_stopping_never"),
        ({"training": {"early_stopping": {}}, "schedule": {"kind": "cosine"}}, "schedule_cut_short"),
        ({"training": {"early_stopping": {}}, "schedule": {"kind": "plateau"}}, "plateau_never_acts"),
        ({"penalties": {"l2": 0.1}, "optimizer": {"kind": "adamw"}}, "two_weight_decays"),
        ({"penalties": {"input_noise": 0.1}, "preprocess": {"features": "none"}}, "noise_in_raw_units"),
        (
            {
                "penalties": {"label_smoothing": 0.1},
                "loss": {
                    **CROSS_ENTROPY,
                    "alpha": 0.1,
                    "divergence": {"kind": "categorical", "direction": "target_to_prediction", "epsilon": 0.1},
                },
            },
            "label_smoothing_twice",
        ),
    ],
)
def test_what_surprises_is_said(spec, code):
    assert code in advice(**spec)


@pytest.mark.parametrize("plateau", [{"monitor": "val.loss"}, {"min_delta": 0.1}])
def test_a_plateau_that_may_act_first_is_not_said_never_to(plateau):
    """It watches another metric, or asks more of the same one: then it waits while early stopping does not."""
    assert "plateau_never_acts" not in advice(training={"early_stopping": {}}, schedule={"kind": "plateau", **plateau})


def test_a_divergence_that_weighs_nothing_smooths_no_labels():
    divergence = {"kind": "categorical", "direction": "target_to_prediction", "epsilon": 0.1}
    loss = {**CROSS_ENTROPY, "alpha": 0.0, "divergence": divergence}
    assert "label_smoothing_twice" not in advice(penalties={"label_smoothing": 0.1}, loss=loss)


def test_no_advice_is_given_on_a_spec_without_controls():
    assert not advice() & {"early_stopping_never", "two_weight_decays", "noise_in_raw_units"}


def test_monitors_that_are_left_open_are_filled():
    given = {"training": {"early_stopping": {}}, "schedule": {"kind": "plateau", "patience": 2}}
    spec = resolve(TrainSpec.model_validate(given), CLASSES.report).spec
    assert spec.training.early_stopping.monitor == spec.schedule.monitor == spec.checkpoints.monitor == "val.accuracy"
    given = {"training": {"early_stopping": {"monitor": "val.loss"}}}
    assert resolve(TrainSpec.model_validate(given), CLASSES.report).spec.checkpoints.monitor == "val.loss"
    given = {"training": {"early_stopping": {"monitor": "val.loss", "restore_best": False}}}
    assert resolve(TrainSpec.model_validate(given), CLASSES.report).spec.checkpoints.monitor == "val.accuracy"


@pytest.mark.parametrize(
    "given",
    [
        {"penalties": {"l2": -1.0}},
        {"penalties": {"label_smoothing": 1.0}},
        {"training": {"gradient_clip": 0.0}},
        {"training": {"accumulate": 0}},
        {"training": {"batch_size": "half"}},
        {"training": {"class_weights": {"a": -1.0}}},
        {"training": {"average_weights": {"decay": 1.0}}},
        {"schedule": {"kind": "cosine", "warm_up": 1.5}},
    ],
)
def test_a_value_out_of_bounds_is_refused(given):
    with pytest.raises(ValidationError):
        TrainSpec.model_validate(given)


def test_a_full_batch_is_one_step_an_epoch():
    spec = TrainSpec.model_validate({"training": {"batch_size": "full", "epochs": 7}})
    assert resolve(spec, CLASSES.report).total_steps == 7
