"""A teacher or a second pass beside the network: what is learned from it, and that a resumed run notices nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import softreg_core
from softreg_core.data.arrays import table_from_arrays
from softreg_core.data.splits import split_rows
from softreg_core.data.tabular import prepare
from softreg_core.engine import CheckpointDue, EpochEnded, Finished, Stopped, fit, load_state, save_state, train
from softreg_core.errors import DataError, SpecError
from softreg_core.export import save_model
from softreg_core.spec import TrainSpec, resolve

EMA = {"kind": "teacher", "source": {"kind": "ema", "decay": 0.9}}
GIVEN = {"kind": "teacher"}
TWIN = {"kind": "twin"}
CROSS_ENTROPY = {"base": {"kind": "cross_entropy"}, "alpha": 0.7}
BINARY = {"base": {"kind": "binary_cross_entropy"}, "alpha": 0.7}
TRAINING = {"epochs": 3, "batch_size": 16}
FAST = {"kind": "adam", "learning_rate": 0.02}
LAST = {"keep_best": False}
TRANSFORMER = {"kind": "transformer", "width": 8, "heads": 2, "layers": 1, "dropout": 0.2}
DROPPING = {"net": {"kind": "mlp", "hidden": [12, 8], "dropout": 0.3}}


def numbers(rows=70, seed=0):
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(rows, 4)) * [1.0, 10.0, 0.1, 5.0] + [0.0, 3.0, 0.0, -2.0]
    signal = features @ generator.normal(size=(4, 2)) / [4.0, 2.0]
    return features, signal


def table(task="classification"):
    features, signal = numbers()
    target = signal[:, 0] > 0 if task == "classification" else signal > 0 if task == "multilabel" else signal
    return table_from_arrays(features, target.astype(str) if task == "classification" else target)


def ready(of, **document):
    spec = resolve(TrainSpec.model_validate({"training": TRAINING} | document), of.report).spec
    return spec, prepare(spec, of)


@pytest.fixture
def teacher(tmp_path):
    """Trains a model on a table and loads it."""

    def make(of, **document):
        spec, data = ready(of, **document)
        result = fit(spec, data)
        save_model(result.model, tmp_path, result.metrics)
        return softreg_core.load(tmp_path)

    return make


def outcome(spec, data, **further):
    """Everything that a run leaves: metrics of each epoch, and the tensors of its last state and model."""
    epochs, state, model = [], None, None
    for event in train(spec, data, keep_step_losses=True, **further):
        match event:
            case EpochEnded():
                epochs.append((event.metrics, event.step_losses))
            case CheckpointDue():
                state = event.state
            case Finished():
                model = event.model
    return epochs, state, model


def stopped(spec, data, step, **further):
    calls = iter(range(step + 1))
    *_, last = train(spec, data, control=lambda: "stop" if next(calls) == step else None, **further)
    assert isinstance(last, Stopped)
    return last.state


CASES = {
    "ema-classes": ({"loss": CROSS_ENTROPY | {"divergence": EMA | {"temperature": 2.0}}}, "classification"),
    "ema-labels": ({"loss": BINARY | {"divergence": EMA}, "task": {"kind": "multilabel"}}, "multilabel"),
    "ema-values": ({"loss": {"alpha": 0.5, "divergence": EMA}} | DROPPING, "regression"),
    "ema-batch-norm": (
        {"loss": CROSS_ENTROPY | {"divergence": EMA}, "net": {"kind": "mlp", "norm": "batch"}},
        "classification",
    ),
    "twin-classes": ({"loss": CROSS_ENTROPY | {"divergence": TWIN}} | DROPPING, "classification"),
    "twin-transformer": (
        {"loss": CROSS_ENTROPY | {"divergence": TWIN}, "net": TRANSFORMER},
        "classification",
    ),
    "ema-transformer": ({"loss": CROSS_ENTROPY | {"divergence": EMA}, "net": TRANSFORMER}, "classification"),
    "twin-labels": ({"loss": BINARY | {"divergence": TWIN}, "task": {"kind": "multilabel"}} | DROPPING, "multilabel"),
    "twin-values": ({"loss": {"alpha": 0.5, "divergence": TWIN}} | DROPPING, "regression"),
}
cases = pytest.mark.parametrize(("document", "task"), CASES.values(), ids=CASES)


@cases
def test_a_run_that_is_resumed_at_any_step_ends_bit_for_bit_as_one_that_was_not(document, task, digest, tmp_path):
    spec, data = ready(table(task), checkpoints=LAST, **document)
    epochs, state, model = outcome(spec, data)
    wanted = digest(state.model, state.optimizer, state.more, model.tensors)
    for step in (1, 4, 6, 11):
        save_state(stopped(spec, data, step), tmp_path / "state")
        resumed = outcome(spec, data, resume=load_state(tmp_path / "state"))
        assert digest(resumed[1].model, resumed[1].optimizer, resumed[1].more, resumed[2].tensors) == wanted
        assert [metrics for metrics, _ in resumed[0]] == [metrics for metrics, _ in epochs][-len(resumed[0]) :]


@cases
def test_training_logs_the_divergence_and_evaluation_measures_the_base(document, task):
    epochs, _, _ = outcome(*ready(table(task), **document))
    for metrics, _ in epochs:
        assert metrics["train.divergence"] > 0.0
        assert metrics["val.loss"] == metrics["val.base"]
        assert "val.divergence" not in metrics


def test_the_two_passes_have_masks_of_their_own_at_every_step():
    spec, data = ready(
        table(), loss=CROSS_ENTROPY | {"divergence": TWIN}, training=TRAINING | {"epochs": 1}, **DROPPING
    )
    alone, _ = ready(table(), loss={"base": {"kind": "cross_entropy"}}, training=TRAINING | {"epochs": 1}, **DROPPING)
    (first, *_), *_ = outcome(alone, data)[0]
    (metrics, *_), *_ = outcome(spec, data)[0]
    assert metrics["train.divergence"] > 1e-6
    assert metrics["train.base"] != first["train.base"]  # the mean of two passes, one of which is that of `alone`


def test_an_average_that_keeps_nothing_is_the_network_itself_and_teaches_nothing():
    spec, data = ready(table(), loss=CROSS_ENTROPY | {"divergence": EMA | {"source": {"kind": "ema", "decay": 0.0}}})
    epochs, state, _ = outcome(spec, data)
    assert [metrics["train.divergence"] for metrics, _ in epochs] == [0.0] * 3
    plain, _ = ready(table(), loss={"base": {"kind": "cross_entropy"}})
    wanted = [metrics["val.base"] for metrics, _ in outcome(plain, data)[0]]
    assert [metrics["val.base"] for metrics, _ in epochs] == pytest.approx(wanted, rel=1e-6)
    assert all(torch.equal(state.more[f"teacher/{name}"], tensor) for name, tensor in state.model.items())


def test_the_average_is_what_its_formula_says():
    spec, data = ready(table(), loss=CROSS_ENTROPY | {"divergence": EMA})
    states = [stopped(spec, data, step) for step in range(5)]
    average = {name: tensor.double() for name, tensor in states[0].model.items()}
    assert all(torch.equal(states[0].more[f"teacher/{n}"], t) for n, t in states[0].model.items())
    for step, state in enumerate(states[1:], start=1):
        decay = min(0.9, (1 + step) / (10 + step))
        average = {n: decay * average[n] + (1 - decay) * state.model[n].double() for n in average}
        for name, wanted in average.items():
            assert torch.allclose(state.more[f"teacher/{name}"].double(), wanted, atol=1e-6)


def test_a_student_comes_closer_to_its_teacher_even_to_one_that_learned_the_opposite(teacher):
    of = table("regression")
    model = teacher(
        table_from_arrays(numbers()[0], -numbers()[1]),
        training={"epochs": 60, "batch_size": 8},
        loss={"divergence": None},
    )
    rows = numbers()[0]
    gaps = []
    for alpha in (1e-9, 30.0):
        spec, data = ready(
            of, loss={"alpha": alpha, "divergence": GIVEN}, training={"epochs": 20}, checkpoints=LAST, optimizer=FAST
        )
        result = fit(spec, data, teacher=model)
        net = softreg_core.nets.build_net(spec.net, data.preprocessing.shape, 2, 0)
        net.load_state_dict(result.model.tensors)
        scaled = data.preprocessing.features.apply(rows)
        predicted = data.preprocessing.target.undo(net(torch.from_numpy(scaled)).detach().numpy())
        gaps.append(np.abs(predicted - model.predict(rows)).mean())
    assert gaps[1] < 0.3 * gaps[0]


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_a_model_teaches_what_it_answers_whatever_its_columns_and_their_scaling(task, teacher):
    """The teacher knows three of the columns, in another order, scaled by other rows or not at all."""
    of = table(task)
    loss = {"classification": CROSS_ENTROPY, "multilabel": BINARY, "regression": {}}[task]
    kind = {"kind": task}
    names = ["features.3", "features.0", "features.1"]
    model = teacher(
        of,
        task=kind | {"features": names},
        split={"seed": 9},
        preprocess={"features": "none"} | ({"target": "none"} if task == "regression" else {}),
        loss={name: value for name, value in loss.items() if name != "alpha"} | {"divergence": None},
    )
    spec, data = ready(of, task=kind, loss=loss | {"divergence": GIVEN})
    teach = model.teach(data.preprocessing, spec.loss.base, torch.device("cpu"))
    rows = split_rows(spec, of).validation
    wanted = model.scores(of.values(names)[rows])
    if task == "regression":
        wanted = data.preprocessing.target.apply(wanted.astype(np.float64))
    np.testing.assert_allclose(teach(data.validation.inputs).numpy(), wanted, rtol=1e-4, atol=1e-5)


def test_a_teacher_with_the_same_preprocessing_sees_the_same_numbers(teacher):
    of = table()
    model = teacher(of, loss={"base": {"kind": "cross_entropy"}})
    spec, data = ready(of, loss=CROSS_ENTROPY | {"divergence": GIVEN})
    teach = model.teach(data.preprocessing, spec.loss.base, torch.device("cpu"))
    assert torch.equal(teach(data.validation.inputs), model.net(*data.validation.inputs))


def test_a_run_with_a_model_as_teacher_resumes_bit_for_bit(teacher, digest):
    of = table()
    model = teacher(of, loss={"base": {"kind": "cross_entropy"}})
    spec, data = ready(of, loss=CROSS_ENTROPY | {"divergence": GIVEN | {"temperature": 3.0}})
    _, state, _ = outcome(spec, data, teacher=model)
    middle = stopped(spec, data, 2, teacher=model)
    _, resumed, _ = outcome(spec, data, teacher=model, resume=middle)
    assert digest(resumed.model, resumed.optimizer) == digest(state.model, state.optimizer)
    assert state.more == {}


@pytest.mark.parametrize(
    ("of", "document", "words"),
    [
        (table("regression"), {}, "its task is regression, not classification"),
        (
            table_from_arrays(numbers()[0], np.array(["a", "b"])[(numbers()[1][:, 0] > 0).astype(int)]),
            {"loss": {"base": {"kind": "cross_entropy"}}},
            r"2 outputs \(a, b\), not 2 outputs \(False, True\)",
        ),
        (table(), {}, "they are values .*, not logits"),
    ],
    ids=["task", "labels", "values"],
)
def test_a_teacher_with_other_outputs_is_a_typed_error(of, document, words, teacher):
    model = teacher(of, **document)
    spec, data = ready(table(), loss=CROSS_ENTROPY | {"divergence": GIVEN})
    with pytest.raises(DataError, match=words) as caught:
        fit(spec, data, teacher=model)
    assert caught.value.reason == "other_outputs"


def test_a_teacher_that_needs_another_column_is_a_typed_error(teacher):
    model = teacher(table(), loss={"base": {"kind": "cross_entropy"}})
    spec, data = ready(table(), task={"features": ["features.1"]}, loss=CROSS_ENTROPY | {"divergence": GIVEN})
    with pytest.raises(DataError, match="needs column") as caught:
        fit(spec, data, teacher=model)
    assert (caught.value.reason, caught.value.column) == ("other_inputs", "features.0")


def test_a_teacher_is_there_when_it_is_needed_and_only_then(teacher):
    model = teacher(table(), loss={"base": {"kind": "cross_entropy"}})
    spec, data = ready(table(), loss=CROSS_ENTROPY | {"divergence": GIVEN})
    with pytest.raises(SpecError, match="needs a model"):
        fit(spec, data)
    for divergence in (EMA, None):
        other, _ = ready(table(), loss={"base": {"kind": "cross_entropy"}, "divergence": divergence})
        with pytest.raises(SpecError, match="the loss has none"):
            fit(other, data, teacher=model)


def test_a_checkpoint_without_its_teacher_is_refused():
    spec, data = ready(table(), loss=CROSS_ENTROPY | {"divergence": EMA})
    plain, _ = ready(table(), loss={"base": {"kind": "cross_entropy"}})
    with pytest.raises(DataError) as caught:
        outcome(spec, data, resume=stopped(plain, data, 2))
    assert caught.value.reason == "wrong_checkpoint"


@pytest.mark.parametrize("net", [{"kind": "mlp"}, {"kind": "mlp", "hidden": [], "dropout": 0.5}])
def test_a_twin_needs_a_network_that_drops(net):
    with pytest.raises(SpecError) as caught:
        ready(table(), loss=CROSS_ENTROPY | {"divergence": TWIN}, net=net)
    assert [problem.pointer for problem in caught.value.problems] == ["/loss/divergence"]
    ready(table(), loss=CROSS_ENTROPY | {"alpha": 0.0, "divergence": TWIN}, net=net)


def test_two_passes_are_counted_and_said():
    of = table()
    twin = resolve(TrainSpec.model_validate({"loss": CROSS_ENTROPY | {"divergence": TWIN}} | DROPPING), of.report)
    plain = resolve(TrainSpec.model_validate({"loss": CROSS_ENTROPY | {"divergence": EMA}}), of.report)
    assert (twin.passes_per_step, plain.passes_per_step) == (2, 1)
    assert "twin_costs_two_passes" in {advice.code for advice in twin.advice}
    assert "teacher_costs_a_pass" in {advice.code for advice in plain.advice}


@cases
def test_a_loaded_model_needs_no_teacher_and_reaches_the_reported_metrics(document, task, tmp_path):
    of = table(task)
    spec, data = ready(of, **document)
    result = fit(spec, data)
    save_model(result.model, tmp_path, result.metrics)
    rows = split_rows(spec, of).validation
    names = list(spec.task.target)
    target = of.labels(names[0])[rows] if task == "classification" else of.values(names)[rows]
    target = target > 0.5 if task == "multilabel" else target
    found = softreg_core.load(tmp_path).evaluate(numbers()[0][rows], target)
    assert {f"val.{name}": value for name, value in found.items()}.items() <= result.metrics.items()


TOGETHER = {
    "parts-of-a-batch": ({"training": TRAINING | {"accumulate": 2}}, TWIN),
    "averaged-weights": ({"training": TRAINING | {"average_weights": {"decay": 0.8}}}, EMA),
    "undone-steps": ({"training": TRAINING | {"on_nonfinite": "rewind"}}, EMA),
    "mixed-rows": ({"penalties": {"mixup": 0.4, "input_noise": 0.1}}, TWIN),
    "mixed-rows-and-average": ({"penalties": {"mixup": 0.4, "input_noise": 0.1}}, EMA),
}


@pytest.mark.parametrize(("further", "divergence"), TOGETHER.values(), ids=TOGETHER)
def test_it_goes_with_the_other_controls_of_training_and_resumes_with_them(further, divergence, digest, tmp_path):
    loss = CROSS_ENTROPY | {"divergence": divergence}
    spec, data = ready(table(), loss=loss, checkpoints=LAST, **DROPPING, **further)
    epochs, state, model = outcome(spec, data)
    assert all(metrics["train.divergence"] > 0.0 for metrics, _ in epochs)
    save_state(stopped(spec, data, 5), tmp_path / "state")
    _, again, delivered = outcome(spec, data, resume=load_state(tmp_path / "state"))
    wanted = digest(state.model, state.optimizer, state.more, model.tensors)
    assert digest(again.model, again.optimizer, again.more, delivered.tensors) == wanted
