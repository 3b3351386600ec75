"""Where sigma2 comes from: what each kind is, what moves it, and what a row of weight 0 has to do with it."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch.autograd import gradcheck, gradgradcheck

from softreg_core.losses import DataMeta, article, build_loss, target_variance
from softreg_core.spec import LossSpec

RATIO = ["article", "inflation", "gaussian", "cauchy", "geman_mcclure", "welsch"]
SOURCES = [
    {"kind": "fixed", "value": 0.7},
    {"kind": "target"},
    {"kind": "residual"},
    *(
        {"kind": "output", "statistic": statistic, "gradient": gradient}
        for statistic in ("centred", "second_moment")
        for gradient in ("through", "detached")
    ),
]


def built(variance, kind="article", target=0.09, **loss):
    divergence = {"kind": kind, "variance": variance} | loss.pop("divergence", {})
    spec = LossSpec.model_validate({"alpha": 0.5, "divergence": divergence} | loss)
    return build_loss(spec, DataMeta(outputs=3, task="regression", target_variance=target))


def batch(seed=0, rows=5, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn((rows, 3), generator=generator, dtype=dtype) for _ in range(2))


def d2(prediction, target):
    return (prediction - target).square().sum(1)


def ids(source):
    return "-".join(str(value) for value in source.values())


def test_the_targets_variance_of_one_hot_digits_and_of_standardised_values():
    assert target_variance(torch.arange(10).repeat(3), 10) == pytest.approx(0.09, rel=1e-15)
    values = torch.randn(50, 2, dtype=torch.float64)
    values = (values - values.mean(0)) / values.std(0, correction=0)
    assert target_variance(values.float(), 2) == pytest.approx(1.0, rel=1e-6)
    one_hot = torch.eye(3)[torch.tensor([0, 0, 1, 2])]
    assert target_variance(torch.tensor([0, 0, 1, 2]), 3) == pytest.approx(target_variance(one_hot, 3), rel=1e-6)


def test_the_targets_variance_counts_rows_by_their_weight_and_those_of_weight_zero_not_at_all():
    weight = torch.tensor([2.0, 0.0, 1.0, 0.5])
    codes = torch.tensor([0, 1, 2, 2])
    doubled = torch.tensor([0, 0, 0, 0, 2, 2, 2])
    assert target_variance(codes, 3, weight) == pytest.approx(target_variance(doubled, 3), rel=1e-12)
    values = torch.randn(4, 2, dtype=torch.float64)
    values[1] = torch.nan
    repeated = values[[0, 0, 0, 0, 2, 2, 3]]
    assert target_variance(values, 2, weight) == pytest.approx(target_variance(repeated, 2), rel=1e-12)


def test_variance_target_is_that_of_the_data_and_not_below_its_floor():
    prediction, target = batch()
    assert torch.equal(built({"kind": "target"})(prediction, target).divergence, article(d2(prediction, target), 0.09))
    floored = built({"kind": "target", "floor": 0.5})(prediction, target).divergence
    assert torch.equal(floored, article(d2(prediction, target), 0.5))
    with pytest.raises(ValueError, match=r"DataMeta\.target_variance"):
        build_loss(LossSpec.model_validate({"divergence": {"variance": {"kind": "target"}}}))


def test_the_moving_mean_is_used_before_it_takes_in_the_batch_and_starts_at_a_constant_prediction_s_residual():
    loss, mean = built({"kind": "residual", "momentum": 0.75}), 3 * 0.09
    for seed in range(4):
        prediction, target = batch(seed)
        assert torch.allclose(loss(prediction, target).divergence, article(d2(prediction, target), mean), rtol=1e-14)
        mean = 0.75 * mean + 0.25 * d2(prediction, target).mean().item()
        assert loss.sigma2.item() == pytest.approx(mean, rel=1e-14)


def test_the_moving_mean_does_not_fall_below_its_floor():
    loss = built({"kind": "residual", "momentum": 0.0, "floor": 0.5})
    loss(torch.ones(2, 3), torch.ones(2, 3))
    prediction, target = batch()
    assert torch.allclose(loss(prediction, target).divergence, article(d2(prediction, target), 0.5), rtol=1e-14)


def test_without_data_the_moving_mean_starts_at_one_and_its_momentum_is_nine_tenths():
    loss = build_loss(LossSpec.model_validate({"divergence": {"variance": {"kind": "residual"}}}))
    loss(torch.zeros(2, 1), torch.tensor([[1.0], [3.0]]))
    assert loss.sigma2.item() == pytest.approx(0.9 + 0.1 * 5.0, rel=1e-6)


def test_evaluation_does_not_move_the_mean_and_training_goes_on_from_it():
    loss = built({"kind": "residual"})
    loss(*batch(0))
    before = loss.sigma2.item()
    loss.eval()
    prediction, target = batch(1)
    found = loss(prediction, target).divergence
    assert torch.allclose(found, article(d2(prediction, target), before), rtol=1e-14)
    assert loss.sigma2.item() == before
    loss.train()
    loss(prediction, target)
    assert loss.sigma2.item() != before


def test_the_moving_mean_survives_a_state_dict_and_a_batch_that_is_not_finite():
    one, other = built({"kind": "residual"}), built({"kind": "residual"})
    one(*batch(0))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(*batch(1)).total, other(*batch(1)).total)
    before = one.sigma2.item()
    one(torch.full((2, 3), torch.nan), torch.zeros(2, 3))
    one(torch.full((2, 3), 1e30), torch.zeros(2, 3))
    assert one.sigma2.item() == before


def test_no_gradient_flows_through_the_moving_mean():
    prediction, target = batch()
    prediction.requires_grad_()
    got = torch.autograd.grad(built({"kind": "residual"})(prediction, target).divergence.sum(), prediction)[0]
    wanted = torch.autograd.grad(article(d2(prediction, target), 0.27).sum(), prediction)[0]
    assert torch.allclose(got, wanted, rtol=1e-12)


@pytest.mark.parametrize(("statistic", "function"), [("centred", "var"), ("second_moment", "square")])
def test_the_outputs_variance_is_over_the_batch(statistic, function):
    prediction, target = batch()
    prediction.requires_grad_()
    s = prediction.var(0, correction=0).mean() if function == "var" else prediction.square().mean()
    for gradient in ("through", "detached"):
        loss = built({"kind": "output", "statistic": statistic, "gradient": gradient})
        got = loss(prediction, target).divergence
        wanted = article(d2(prediction, target), s if gradient == "through" else s.detach())
        assert torch.allclose(got, wanted, rtol=1e-13)
        slopes = [torch.autograd.grad(value.sum(), prediction, retain_graph=True)[0] for value in (got, wanted)]
        assert torch.allclose(*slopes, rtol=1e-11)
        assert loss.sigma2.item() == pytest.approx(s.item(), rel=1e-13)


def test_a_batch_of_one_has_no_variance_and_gets_the_floor():
    prediction, target = batch(rows=1)
    for floor in (1e-6, 0.25):
        loss = built({"kind": "output", "floor": floor})
        assert torch.allclose(loss(prediction, target).divergence, article(d2(prediction, target), floor), rtol=1e-14)


@pytest.mark.parametrize("source", [one for one in SOURCES if one.get("gradient") != "detached"], ids=ids)
@pytest.mark.parametrize("kind", RATIO)
def test_gradients_with_each_variance_are_right_to_second_order(source, kind):
    loss = built(source, kind).eval()
    prediction, target = batch()
    prediction.requires_grad_()
    assert gradcheck(lambda p: loss(p, target).total, (prediction,))
    assert gradgradcheck(lambda p: loss(p, target).total, (prediction,))


@pytest.mark.parametrize(
    "source", [*SOURCES, None], ids=lambda source: "sample_program" if source is None else ids(source)
)
def test_rows_of_weight_zero_are_as_if_they_were_not_there(source):
    prediction, target = batch(rows=6)
    kept, weight = torch.tensor([0, 2, 3, 5]), torch.tensor([1.0, 0.0, 2.0, 1.0, 0.0, 0.5])
    dirty = prediction.clone()
    dirty[[1, 4]] = torch.tensor([torch.nan, torch.inf, -1e300], dtype=torch.float64)
    for _ in range(2):
        of_all, of_kept = (
            build_loss(LossSpec.model_validate({"alpha": 0.5, "divergence": {"kind": "sample_program"}}))
            if source is None
            else built(source)
            for _ in range(2)
        )
        p, k = dirty.clone().requires_grad_(), prediction[kept].clone().requires_grad_()
        found, wanted = of_all(p, target, weight=weight), of_kept(k, target[kept], weight=weight[kept])
        assert torch.allclose(found.total[kept], wanted.total, rtol=1e-14)
        assert found.total.isfinite().all()
        (found.total * weight).sum().backward()
        (wanted.total * weight[kept]).sum().backward()
        assert torch.allclose(p.grad[kept], k.grad, rtol=1e-12)
        assert torch.equal(p.grad[[1, 4]], torch.zeros(2, 3, dtype=torch.float64))
        for name, tensor in of_all.state_dict().items():
            assert torch.allclose(tensor, of_kept.state_dict()[name], rtol=1e-14)


@pytest.mark.parametrize("source", SOURCES, ids=ids)
def test_a_batch_in_which_no_row_counts_changes_nothing(source):
    loss = built(source)
    before = {name: tensor.clone() for name, tensor in loss.state_dict().items()}
    prediction, target = batch()
    assert loss(prediction, target, weight=torch.zeros(5)).total.isfinite().all()
    assert all(torch.equal(tensor, before[name]) for name, tensor in loss.state_dict().items())


@pytest.mark.parametrize("source", SOURCES, ids=ids)
def test_a_weight_of_two_counts_a_row_twice(source):
    prediction, target = batch(rows=3)
    one, two = built(source), built(source)
    weighted = one(prediction, target, weight=torch.tensor([1.0, 2.0, 1.0])).total
    doubled = two(prediction[[0, 1, 1, 2]], target[[0, 1, 1, 2]]).total
    assert torch.allclose(weighted, doubled[[0, 1, 3]], rtol=1e-13)
    for name, tensor in one.state_dict().items():
        assert torch.allclose(tensor, two.state_dict()[name], rtol=1e-13)


@pytest.mark.parametrize("source", SOURCES, ids=ids)
def test_the_order_of_rows_does_not_matter(source):
    prediction, target = batch()
    order = torch.tensor([3, 0, 4, 1, 2])
    shuffled = built(source)(prediction[order], target[order]).total
    assert torch.allclose(shuffled, built(source)(prediction, target).total[order], rtol=1e-13)


@pytest.mark.parametrize("kind", RATIO)
def test_per_output_measures_by_the_mean_of_the_squares(kind):
    prediction, target = batch()
    per_output = built({"kind": "fixed", "value": 0.7}, kind, divergence={"scale": "per_output"})
    wanted = built({"kind": "fixed", "value": 2.1}, kind)
    assert torch.allclose(per_output(prediction, target).total, wanted(prediction, target).total, rtol=1e-14)


@pytest.mark.parametrize("source", SOURCES, ids=ids)
def test_alpha_in_units_of_sigma2_is_multiplied_by_the_sigma2_of_the_batch_as_a_number(source):
    prediction, target = batch()
    prediction.requires_grad_()
    plain, in_units = built(source, alpha_units="none"), built(source, alpha_units="sigma2")
    parts = plain(prediction, target)
    s = plain.divergence.variance.used
    wanted = parts.base + 0.5 * s * parts.divergence
    got = in_units(prediction, target).total
    assert torch.allclose(got, wanted, rtol=1e-14)
    slopes = [torch.autograd.grad(value.sum(), prediction, retain_graph=True)[0] for value in (got, wanted)]
    assert torch.allclose(*slopes, rtol=1e-12)


def test_alpha_is_in_units_of_a_moving_mean_unless_said_otherwise():
    assert LossSpec.model_validate({"divergence": {"variance": {"kind": "residual"}}}).alpha_units == "sigma2"
    assert LossSpec.model_validate({"divergence": {"variance": {"kind": "target"}}}).alpha_units is None
    named = {"alpha_units": "none", "divergence": {"variance": {"kind": "residual"}}}
    assert LossSpec.model_validate(named).alpha_units == "none"
    convex = {"combine": "convex", "divergence": {"variance": {"kind": "residual"}}}
    assert LossSpec.model_validate(convex).alpha_units is None


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"alpha_units": "sigma2", "divergence": {"kind": "sample_program"}}, "needs a divergence with a variance"),
        ({"alpha_units": "sigma2", "divergence": None}, "needs a divergence with a variance"),
        ({"alpha_units": "sigma2", "combine": "convex"}, "does not bound"),
    ],
    ids=["sample_program", "none", "convex"],
)
def test_alpha_in_units_of_a_sigma2_that_does_not_exist_is_refused(document, words):
    with pytest.raises(ValidationError, match=words):
        LossSpec.model_validate(document)


def test_with_brier_the_variance_is_of_the_probabilities_and_its_state_is_kept():
    logits, codes = torch.randn((6, 3), dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2])
    spec = {"base": {"kind": "brier"}, "alpha": 0.4, "divergence": {"variance": {"kind": "residual"}}}
    loss = build_loss(LossSpec.model_validate(spec))
    loss(logits, codes)
    squared = (logits.softmax(1) - torch.eye(3)[codes]).square().sum(1)
    assert loss.sigma2.item() == pytest.approx(0.9 + 0.1 * squared.mean().item(), rel=1e-12)
    assert list(loss.state_dict()) == ["divergence.divergence.variance.value"]


def test_the_parts_of_one_step_all_use_the_mean_before_it_and_move_it_as_one_batch_does():
    prediction, target = batch(rows=6)
    weight = torch.tensor([1.0, 2.0, 0.0, 1.0, 0.5, 1.0])
    for given in (None, weight):
        whole, parts = built({"kind": "residual"}), built({"kind": "residual"})
        wanted = whole(prediction, target, weight=given).total
        with parts.as_one_step():
            some = [
                parts(prediction[rows], target[rows], weight=None if given is None else given[rows]).total
                for rows in (slice(0, 2), slice(2, 6))
            ]
        assert torch.allclose(torch.cat(some), wanted, rtol=1e-14)
        assert parts.sigma2.item() == pytest.approx(whole.sigma2.item(), rel=1e-14)


def test_a_step_that_breaks_off_does_not_move_the_mean():
    loss = built({"kind": "residual"})
    before = loss.sigma2.item()

    def broken():
        with loss.as_one_step():
            loss(*batch())
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    assert loss.sigma2.item() == before
    loss(*batch())
    assert loss.sigma2.item() != before
