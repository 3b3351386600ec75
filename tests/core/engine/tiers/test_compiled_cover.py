"""Whatever a run is made of, compiled it is the run of single steps: in float64 to 1e-8 at the end, in float32 nearly.

Each case compiles a program, which takes some ten seconds; all are long.
"""

from __future__ import annotations

import pytest
import torch

from softreg_core.data.sample import load_sample
from softreg_core.engine import EpochEnded, train
from softreg_core.spec.engine import misfit_of_program
from softreg_core.spec.presets import article_section_4
from tests.core.engine.cover import FACTORS, pairwise, run_of

LEFT_OUT = {"muon", "mixup", "input noise", "average", "parts", "skip", "rewind"}
TRACED = {name: {key: case for key, case in of.items() if key not in LEFT_OUT} for name, of in FACTORS.items()}
COVER = pairwise(TRACED)
# Further losses; the cover has those that keep something from step to step.
LOSSES = {
    "variance of outputs": {"alpha": 0.2, "divergence": {"kind": "article", "variance": {"kind": "output"}}},
    "predicted variance": {"divergence": {"kind": "gaussian", "prediction_variance": "predicted"}},
    "cauchy": {"base": {"kind": "huber"}, "divergence": {"kind": "cauchy"}},
    "poisson": {"base": {"kind": "poisson"}},
    "gaussian_nll": {"base": {"kind": "gaussian_nll"}},
    "plain": {"divergence": None},
}


def of_engine(spec, engine):
    return spec.model_copy(update={"training": spec.training.model_copy(update={"engine": engine})})


def compare(spec, data, dtype, rel):
    """The same metrics after every epoch, the same weights at the end."""
    assert misfit_of_program(spec) is None
    ours, theirs = (list(train(of_engine(spec, engine), data, dtype=dtype)) for engine in ("compiled", "eager"))
    assert ours[0].manifest.tier == "compiled", ours[0].manifest.tier_reason
    for mine, other in zip(ours, theirs, strict=True):
        if isinstance(mine, EpochEnded):
            assert mine.metrics.keys() == other.metrics.keys()
            for name, value in other.metrics.items():
                assert mine.metrics[name] == pytest.approx(value, rel=rel, abs=rel, nan_ok=True), name
    for name, tensor in theirs[-1].model.tensors.items():
        torch.testing.assert_close(ours[-1].model.tensors[name], tensor, rtol=rel, atol=rel)


@pytest.mark.long
@pytest.mark.parametrize("row", COVER, ids=lambda row: "-".join(row.values()))
def test_in_float64_every_run_is_that_of_single_steps(row):
    compare(*run_of(row), torch.float64, 1e-8)


@pytest.mark.long
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_further_losses_are_those_of_single_steps(slope, ready, loss, dtype):
    target = "none" if loss.get("base", {}).get("kind") == "poisson" else "standardize"
    document = {"preprocess": {"target": target}, "training": {"epochs": 3, "batch_size": 16}, "loss": loss}
    compare(*ready(slope, **document), dtype, 1e-8 if dtype == torch.float64 else 1e-3)


@pytest.mark.long
def test_the_article_s_job_is_that_of_single_steps_within_what_rounding_makes_of_it(ready):
    """1e-5 over the first 50 steps, 1 % of the loss and 0.01 of the metric at the end of a hundred epochs."""
    document = article_section_4().model_dump(mode="json")
    document["training"] |= {"epochs": 100}
    spec, data = ready(load_sample("digits"), **document)
    ours, theirs = (
        list(train(of_engine(spec, engine), data, keep_step_losses=True)) for engine in ("compiled", "eager")
    )
    assert ours[0].manifest.tier == "compiled"
    losses = [[e.step_losses for e in events if isinstance(e, EpochEnded)] for events in (ours, theirs)]
    first, wanted = ((epochs[0] + epochs[1])[:50] for epochs in losses)
    assert first == pytest.approx(wanted, rel=1e-5)
    assert ours[-1].metrics["train.loss"] == pytest.approx(theirs[-1].metrics["train.loss"], rel=0.01)
    assert ours[-1].metrics["val.accuracy"] == pytest.approx(theirs[-1].metrics["val.accuracy"], abs=0.01)


@pytest.mark.long
@pytest.mark.parametrize("rows", [1, 8, 28, 56, "full"], ids=str)
def test_however_the_last_batch_is_left(blobs, ready, rows):
    """One row more or less in the last batch, none left over, two batches, or a single one."""
    training = {"epochs": 3, "batch_size": rows}
    compare(*ready(blobs, training=training, loss={"alpha": 0.1}), torch.float64, 1e-8)
