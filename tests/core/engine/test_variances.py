"""Losses that follow, learn or predict a variance: trained, resumed bit for bit, warned of, saved and loaded."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import softreg_core
from softreg_core.data.arrays import table_from_arrays
from softreg_core.data.splits import split_rows
from softreg_core.engine import EpochEnded, Finished, Stopped, fit, load_state, save_state, train
from softreg_core.errors import DataError
from softreg_core.export import save_model
from softreg_core.export.graph import ExportGraph

TRAINING = {"epochs": 3, "batch_size": 16}
VARIANCES = [
    {"kind": "target"},
    {"kind": "residual"},
    {"kind": "output"},
    {"kind": "output", "statistic": "second_moment", "gradient": "detached"},
]
LOSSES = [
    *({"alpha": 0.5, "divergence": {"kind": "article", "variance": variance}} for variance in VARIANCES),
    {"alpha": 0.5, "divergence": {"kind": "gaussian", "prediction_variance": "learned"}},
    {"alpha": 0.5, "divergence": {"kind": "gaussian", "prediction_variance": "predicted", "beta": 0.5}},
    {"alpha": 0.5, "divergence": {"kind": "gaussian", "prediction_variance": "predicted", "head": "per_output"}},
    {"base": {"kind": "gaussian_nll", "head": "per_output"}},
    {
        "base": {"kind": "gaussian_nll"},
        "alpha": 0.5,
        "divergence": {"kind": "inflation", "variance": {"kind": "residual"}},
    },
]
PREDICTED = [LOSSES[5], LOSSES[6], LOSSES[7], LOSSES[8]]


def name(loss):
    divergence = loss.get("divergence", {})
    variance = divergence.get("variance", {})
    words = [*loss.get("base", {}).values(), *divergence.values(), *variance.values()]
    return "-".join(str(word) for word in words if not isinstance(word, dict))


def events_of(spec, data, **options):
    return [event for event in train(spec, data, **options) if isinstance(event, EpochEnded | Stopped | Finished)]


def stop_after(steps):
    answers = itertools.chain([None] * steps, itertools.repeat("stop"))
    return lambda: next(answers)


def best_of(spec, data, state):
    if state.best is None or state.best.step == state.step:
        return None
    return events_of(spec, data, control=stop_after(state.best.step))[-1].state


@pytest.mark.parametrize("loss", LOSSES, ids=name)
def test_stopping_at_any_step_changes_no_bit(two_slopes, ready, digest, tmp_path, loss):
    spec, data = ready(two_slopes, loss=loss, training=TRAINING)
    whole = events_of(spec, data)
    for steps in (1, 3, 4, 7):
        stopped = events_of(spec, data, control=stop_after(steps))[-1]
        save_state(stopped.state, tmp_path / "state")
        state = load_state(tmp_path / "state")
        rest = events_of(spec, data, resume=state, resume_best=best_of(spec, data, state))
        assert digest(rest[-1].model.tensors, rest[-1].model.loss) == digest(
            whole[-1].model.tensors, whole[-1].model.loss
        )
        assert rest[-1].metrics == whole[-1].metrics
        assert rest[-2].metrics == whole[-2].metrics
        assert rest[-2].advice == whole[-2].advice


@pytest.mark.parametrize("part", ["value", "log_variance"])
def test_without_the_loss_s_state_the_bits_differ(two_slopes, ready, digest, part):
    """Guards the test above: it would see a resume that forgets what the loss follows or learns."""
    spec, data = ready(two_slopes, loss=LOSSES[1] if part == "value" else LOSSES[4], training=TRAINING)
    whole = events_of(spec, data)
    state = events_of(spec, data, control=stop_after(2))[-1].state
    (key,) = (key for key in state.loss if key.endswith(part))
    state.loss[key] = state.loss[key] + 1.0
    rest = events_of(spec, data, resume=state)
    assert digest(rest[-1].model.tensors) != digest(whole[-1].model.tensors)


def test_a_state_of_another_loss_is_refused(two_slopes, ready):
    spec, data = ready(two_slopes, loss=LOSSES[1], training=TRAINING)
    state = events_of(spec, data, control=stop_after(2))[-1].state
    other, _ = ready(two_slopes, training=TRAINING)
    with pytest.raises(DataError, match="do not fit"):
        next(train(other, data, resume=state))


def test_the_targets_variance_is_that_of_the_training_rows(blobs, ready):
    loss = {"divergence": {"kind": "article", "variance": {"kind": "target"}}}
    spec, data = ready(blobs, loss=loss, training=TRAINING)
    share = np.bincount(data.train.target.numpy(), minlength=3) / data.train.rows
    for event in events_of(spec, data)[:-1]:
        assert event.metrics["train.sigma2"] == pytest.approx((share * (1 - share)).mean(), rel=1e-12)


def test_a_sigma2_that_shrinks_past_the_bound_is_warned_of_when_it_does(slope, ready):
    variance = {"kind": "residual", "momentum": 0.5}
    loss = {"alpha": 1.0, "alpha_units": "none", "divergence": {"kind": "article", "variance": variance}}
    training = {"epochs": 80, "batch_size": 16}
    spec, data = ready(slope, loss=loss, training=training, optimizer={"learning_rate": 0.02})
    seen = []
    for event in events_of(spec, data)[:-1]:
        ratio = 1.0 / event.metrics["train.sigma2"]
        wanted = "article_pushes_outward" if ratio > 4.0 else "article_not_convex" if ratio > 2.638 else None
        assert [advice.code for advice in event.advice] == ([] if wanted is None else [wanted])
        seen.append(wanted)
    assert seen[0] is None
    assert seen[-1] is not None
    in_units, _ = ready(slope, loss=loss | {"alpha_units": "sigma2"}, training=training)
    assert all(event.advice == () for event in events_of(in_units, data)[:-1])


def test_a_fixed_sigma2_has_no_series(slope, ready):
    spec, data = ready(slope, training=TRAINING)
    assert all("train.sigma2" not in event.metrics for event in events_of(spec, data)[:-1])


def uneven(rows=400):
    """Noise that grows with the first column, from 0.2 to 2."""
    generator = np.random.default_rng(3)
    features = generator.uniform(-1.0, 1.0, size=(rows, 2))
    deviation = 10.0 ** (0.15 + 0.5 * features[:, 0])
    target = 5.0 + 3.0 * features[:, 1] + deviation * generator.normal(size=rows)
    return table_from_arrays(features, target), deviation


@pytest.mark.parametrize(
    "loss",
    [
        {"base": {"kind": "gaussian_nll"}},
        {"alpha": 1.0, "divergence": {"kind": "gaussian", "prediction_variance": "predicted"}},
    ],
    ids=["gaussian_nll", "gaussian"],
)
def test_a_predicted_variance_is_that_of_the_noise(ready, tmp_path, loss):
    table, deviation = uneven()
    spec, data = ready(
        table,
        loss=loss,
        net={"hidden": [16]},
        optimizer={"learning_rate": 0.01},
        training={"epochs": 120, "batch_size": 32},
        checkpoints={"keep_best": False},
    )
    result = fit(spec, data)
    save_model(result.model, tmp_path, result.metrics)
    model = softreg_core.load(tmp_path)
    found = model.predict_variance(table.values(model.features))
    assert found.shape == (400,)
    assert np.corrcoef(np.log(found), np.log(deviation))[0, 1] > 0.9
    assert 0.5 < np.exp(np.mean(np.log(found / deviation**2))) < 1.5


@pytest.mark.parametrize("loss", PREDICTED, ids=name)
def test_a_loaded_model_predicts_values_and_variances_and_measures_the_same(two_slopes, ready, tmp_path, loss):
    spec, data = ready(two_slopes, loss=loss, training=TRAINING)
    result = fit(spec, data)
    save_model(result.model, tmp_path, result.metrics)
    model = softreg_core.load(tmp_path)
    rows = split_rows(spec, two_slopes).validation
    features, target = two_slopes.values(model.features)[rows], two_slopes.values(["target.0", "target.1"])[rows]
    found = model.evaluate(features, target)
    assert {f"val.{key}": value for key, value in found.items()}.items() <= result.metrics.items()
    assert model.predict(features).shape == model.scores(features).shape == (len(rows), 2)
    variance = model.predict_variance(features)
    assert variance.shape == (len(rows), 2)
    assert (variance > 0).all()
    scale = model.document.target.scale
    is_shared = np.allclose(variance[:, 0] / scale[0] ** 2, variance[:, 1] / scale[1] ** 2)
    assert is_shared == ("per_output" not in str(loss))
    assert model.predict_variance(np.zeros((0, 3))).shape == (0, 2)


@pytest.mark.parametrize("loss", [*PREDICTED, {"base": {"kind": "poisson"}}], ids=name)
def test_the_graph_that_is_exported_gives_what_is_predicted(ready, tmp_path, loss):
    generator = np.random.default_rng(1)
    features = generator.normal(size=(60, 3))
    table = table_from_arrays(features, generator.poisson(np.exp(0.3 * features[:, :2])).astype(float))
    spec, data = ready(table, task={"kind": "regression"}, loss=loss, training=TRAINING)
    result = fit(spec, data)
    save_model(result.model, tmp_path, result.metrics)
    model = softreg_core.load(tmp_path)
    graph = ExportGraph(model.document, model.net, model.loss).eval()
    with torch.no_grad():
        values, *variances = (tensor.numpy() for tensor in graph(torch.from_numpy(features)))
    assert values.shape == (60, 2)
    np.testing.assert_allclose(values, model.predict(features), rtol=1e-5)
    assert len(variances) == (loss["base"]["kind"] != "poisson" if "base" in loss else 1)
    for variance in variances:
        np.testing.assert_allclose(variance, model.predict_variance(features), rtol=1e-5)


def test_what_a_loss_followed_stands_with_the_model(blobs, ready, tmp_path):
    for loss in (LOSSES[0], LOSSES[1]):
        spec, data = ready(blobs, loss=loss, training=TRAINING)
        result = fit(spec, data)
        save_model(result.model, tmp_path, result.metrics)
        model = softreg_core.load(tmp_path)
        assert list(model.document.loss_state) == ["divergence.variance.value"]
        rows = split_rows(spec, blobs).validation
        found = model.evaluate(blobs.values(model.features)[rows], blobs.labels("target")[rows])
        assert found["loss"] == result.metrics["val.loss"]


def test_a_model_without_a_predicted_variance_says_so(slope, ready, tmp_path):
    spec, data = ready(slope, training=TRAINING)
    result = fit(spec, data)
    save_model(result.model, tmp_path, result.metrics)
    with pytest.raises(DataError, match="no variance") as caught:
        softreg_core.load(tmp_path).predict_variance(np.zeros((2, 3)))
    assert caught.value.reason == "no_variance"


def test_a_model_of_counts_predicts_counts(ready, tmp_path):
    generator = np.random.default_rng(0)
    features = generator.normal(size=(120, 2))
    counts = generator.poisson(np.exp(1.0 + 0.5 * features[:, 0])).astype(float)
    table = table_from_arrays(features, counts)
    spec, data = ready(table, task={"kind": "regression"}, loss={"base": {"kind": "poisson"}}, training=TRAINING)
    result = fit(spec, data)
    save_model(result.model, tmp_path, result.metrics)
    model = softreg_core.load(tmp_path)
    rows = split_rows(spec, table).validation
    predicted = model.predict(features[rows])
    assert np.allclose(predicted, np.exp(model.scores(features[rows])[:, 0]), rtol=1e-6)
    assert np.abs(predicted - counts[rows]).mean() == pytest.approx(result.metrics["val.mae"], rel=1e-5)


def test_the_outputs_of_the_second_head_are_counted(two_slopes, ready):
    from softreg_core.spec import TrainSpec, resolve

    for loss, extra in ((LOSSES[4], 0), (LOSSES[5], 1), (LOSSES[6], 2), (LOSSES[7], 2), (LOSSES[8], 1)):
        resolution = resolve(TrainSpec.model_validate({"loss": loss, "training": TRAINING}), two_slopes.report)
        spec, data = ready(two_slopes, loss=loss, training=TRAINING)
        started = next(train(spec, data))
        assert resolution.parameters == started.parameters == 3 * 64 + 64 + (64 + 1) * (2 + extra)
        assert torch.is_tensor(data.train.target)


def test_accumulation_follows_the_residuals_as_the_whole_batch_does(slope, ready):
    loss = {"alpha": 1.0, "divergence": {"kind": "article", "variance": {"kind": "residual"}}}
    found = []
    for accumulate in (1, 4):
        spec, data = ready(slope, loss=loss, training=TRAINING | {"accumulate": accumulate})
        found.append([event.metrics["train.sigma2"] for event in events_of(spec, data)[:-1]])
    assert found[1] == pytest.approx(found[0], rel=1e-5)


def test_a_step_that_is_left_out_does_not_move_what_the_loss_follows(ready):
    features = np.linspace(-1.0, 1.0, 40)[:, np.newaxis]
    table = table_from_arrays(np.hstack([features, features**2]), features[:, 0])
    loss = {"alpha": 1.0, "divergence": {"kind": "article", "variance": {"kind": "residual"}}}
    spec, data = ready(table, loss=loss, training=TRAINING | {"on_nonfinite": "skip"})
    data.train.inputs[0][3] = np.inf
    state = events_of(spec, data, control=stop_after(2))[-1].state
    assert all(tensor.isfinite().all() for tensor in state.loss.values())
