"""The article's two runs by name, against the same program in plain torch."""

from __future__ import annotations

import pytest
import torch

from softreg_core.data.sample import load_sample
from softreg_core.data.tabular import prepare
from softreg_core.engine import EpochEnded, train
from softreg_core.engine.order import epoch_order
from softreg_core.nets import build_net
from softreg_core.spec import TrainSpec, resolve
from softreg_core.spec.inputs import TableShape
from softreg_core.spec.presets import article_section_3_3, article_section_4
from tests.core import reference_article

EPOCHS = 20
SEEDS = range(5)
RUNS = {
    "section_3_3": (article_section_3_3, reference_article.section_3_3, {}),
    "section_4": (article_section_4, reference_article.section_4, {"epsilon": 1e-7, "glorot": True}),
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def digits():
    return load_sample("digits")


def job(preset, digits, seed, epochs):
    document = preset().model_dump(mode="json")
    document["training"] |= {"seed": seed, "epochs": epochs}
    document["split"] |= {"seed": seed}
    spec = resolve(TrainSpec.model_validate(document), digits.report).spec
    data = prepare(spec, digits)
    return spec, data, (data.train.inputs[0], data.train.target, data.validation.inputs[0], data.validation.target)


@pytest.mark.parametrize("name", RUNS)
def test_the_first_twenty_losses_are_the_plain_program_s(digits, name):
    preset, loss, options = RUNS[name]
    spec, data, rows = job(preset, digits, seed=0, epochs=1)
    (ended,) = (event for event in train(spec, data, keep_step_losses=True) if isinstance(event, EpochEnded))
    wanted, _ = reference_article.run(
        loss,
        *rows,
        epochs=1,
        weights=list(build_net(spec.net, TableShape(numbers=64), 10, seed=0).parameters()),
        order=lambda epoch: torch.from_numpy(epoch_order(0, epoch, data.train.rows)),
        **options,
    )
    assert ended.step_losses[:20] == pytest.approx(wanted[:20], abs=1e-5)
    assert len(ended.step_losses) == len(wanted) == 45


@pytest.mark.parametrize("name", RUNS)
def test_mean_accuracy_over_five_seeds_is_the_plain_program_s(digits, name):
    """Own initial weights and own order on both sides; the accuracy of the last epoch."""
    preset, loss, options = RUNS[name]
    ours, theirs = [], []
    for seed in SEEDS:
        spec, data, rows = job(preset, digits, seed, EPOCHS)
        epochs = [event.metrics for event in train(spec, data) if isinstance(event, EpochEnded)]
        ours.append(epochs[-1]["val.accuracy"])
        theirs.append(reference_article.run(loss, *rows, epochs=EPOCHS, seed=100 + seed, **options)[1])
    assert sum(ours) / 5 == pytest.approx(sum(theirs) / 5, abs=0.01)
    assert sum(ours) / 5 > 0.9
