"""The learning rate at each step, as torch's schedulers have it, and what a plateau waits for."""

from __future__ import annotations

import pytest
import torch
from pydantic import TypeAdapter

from softreg_core.engine import EpochEnded, fit, train
from softreg_core.engine.rates import Rates
from softreg_core.spec.schedule import ScheduleSpec, factor_at
from tests.core.engine.by_hand import assert_near, trained

TOTAL, PER_EPOCH = 60, 5


def schedule(**given):
    return TypeAdapter(ScheduleSpec).validate_python(given)


def torch_s(make, scale=1.0):
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scheduler = make(optimizer)
    found = []
    for _ in range(TOTAL):
        found.append(optimizer.param_groups[0]["lr"] * scale)
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize(
    ("given", "make"),
    [
        ({"kind": "constant"}, lambda o: torch.optim.lr_scheduler.ConstantLR(o, factor=1.0)),
        ({"kind": "cosine"}, lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, TOTAL)),
        ({"kind": "cosine", "end": 0.1}, lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, TOTAL, eta_min=0.1)),
        (
            {"kind": "step", "every_epochs": 3, "factor": 0.5},
            lambda o: torch.optim.lr_scheduler.StepLR(o, 3 * PER_EPOCH, gamma=0.5),
        ),
        (
            {"kind": "one_cycle"},
            lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 1.0, total_steps=TOTAL, cycle_momentum=False),
        ),
        (
            {"kind": "one_cycle", "rise": 0.5, "start_divisor": 10.0, "end_divisor": 100.0},
            lambda o: torch.optim.lr_scheduler.OneCycleLR(
                o, 1.0, total_steps=TOTAL, pct_start=0.5, div_factor=10.0, final_div_factor=100.0, cycle_momentum=False
            ),
        ),
        (
            {"kind": "constant", "warm_up": 0.2},
            lambda o: torch.optim.lr_scheduler.LinearLR(o, start_factor=1 / 13, total_iters=12),
        ),
    ],
)
def test_a_schedule_is_torch_s(given, make):
    if given["kind"] == "one_cycle":
        make_of = make

        def made(optimizer):
            return make_of(optimizer)

        wanted = torch_s(made)[: TOTAL - 1]
    else:
        wanted = torch_s(make)
    got = [factor_at(schedule(**given), step, TOTAL, PER_EPOCH) for step in range(len(wanted))]
    assert got == pytest.approx(wanted, abs=1e-12)


def test_warm_up_rises_to_the_schedule_and_hands_over_to_it():
    spec = schedule(kind="cosine", warm_up=0.1)
    rates = [factor_at(spec, step, TOTAL, PER_EPOCH) for step in range(TOTAL)]
    assert rates[:6] == pytest.approx([(step + 1) / 7 for step in range(6)])
    assert rates[6] == 1.0
    assert rates[6:] == sorted(rates[6:], reverse=True)
    assert 0.0 < rates[-1] < 0.01


@pytest.mark.parametrize("total", [1, 2, 3])
def test_one_cycle_of_a_few_steps_stays_within_its_rates(total):
    for step in range(total):
        assert 0.0 < factor_at(schedule(kind="one_cycle"), step, total, 1) <= 1.0


def test_a_run_follows_its_schedule_step_by_step(blobs, ready):
    spec, data = ready(
        blobs,
        training={"epochs": 3, "batch_size": 16},
        optimizer={"kind": "sgd"},
        schedule={"kind": "cosine", "warm_up": 0.25},
        checkpoints={"keep_best": False},
    )

    def set_rate(net, optimizer, step):
        optimizer.param_groups[0]["lr"] = 0.01 * factor_at(spec.schedule, step, 12, 4)

    wanted = trained(spec, data, lambda net: torch.optim.SGD(net.parameters(), 0.01), before=set_rate)
    result = fit(spec, data)
    assert_near(result.model.tensors, wanted)
    assert result.metrics["train.learning_rate"] == 0.01 * factor_at(spec.schedule, 11, 12, 4)


def test_a_plateau_counts_as_torch_s_does():
    losses = [1.0, 0.9, 0.95, 0.91, 0.905, 0.8, 0.85, 0.85, 0.85, 0.85, 0.85, float("nan"), 0.7]
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    plain = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=2, threshold=0.0, threshold_mode="abs"
    )
    rates = Rates(schedule(kind="plateau", factor=0.5, patience=3, monitor="val.loss"), 5, 100, "val.accuracy")
    for loss in losses:
        plain.step(loss)
        rates.see({"val.loss": loss})
        assert rates.at(0) == optimizer.param_groups[0]["lr"]
    assert rates.at(0) < 1.0
    again = Rates(rates.schedule, 5, 100, "val.accuracy")
    again.restore(rates.numbers())
    assert again.numbers() == rates.numbers()


def test_a_plateau_lowers_the_rate_of_a_run_that_does_not_get_better(blobs, ready):
    spec, data = ready(
        blobs,
        training={"epochs": 8, "batch_size": 16},
        optimizer={"learning_rate": 1e-12},
        schedule={"kind": "plateau", "patience": 2, "smallest": 0.01},
    )
    rates = [e.metrics["train.learning_rate"] for e in train(spec, data) if isinstance(e, EpochEnded)]
    assert rates == pytest.approx([1e-12, 1e-12, 1e-12, 1e-13, 1e-13, 1e-14, 1e-14, 1e-14])
