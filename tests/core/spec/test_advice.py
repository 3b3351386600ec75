"""Warnings, and the two thresholds of `article` against the loss itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from softreg_core.losses import build_loss
from softreg_core.spec import LossSpec, TrainSpec
from softreg_core.spec.advice import CONVEX_UP_TO, MONOTONE_UP_TO, advise, advise_at, outward_pull


def spec(alpha, variance=1.0, kind="article"):
    return TrainSpec.model_validate(
        {"loss": {"alpha": alpha, "divergence": {"kind": kind, "variance": {"kind": "fixed", "value": variance}}}}
    )


def codes(given):
    return [advice.code for advice in advise(given)]


def gradients(alpha):
    """dl/dr of the built loss over a fine grid of residuals."""
    residual = torch.linspace(1e-3, 6.0, 20001, dtype=torch.float64).unsqueeze(1).requires_grad_()
    loss = build_loss(spec(alpha).loss)
    return torch.autograd.grad(loss(residual, torch.zeros_like(residual)).total.sum(), residual)[0].numpy().ravel()


def test_the_loss_is_convex_up_to_the_first_threshold_and_not_beyond():
    assert pytest.approx(2.638, abs=5e-4) == CONVEX_UP_TO
    assert (np.diff(gradients(CONVEX_UP_TO * 0.9999)) > 0).all()
    assert (np.diff(gradients(CONVEX_UP_TO * 1.001)) < 0).any()


def test_residuals_are_drawn_inward_up_to_the_second_threshold_and_not_beyond():
    assert (gradients(MONOTONE_UP_TO * 0.9999) > 0).all()
    assert (gradients(MONOTONE_UP_TO * 1.001) < 0).any()


@pytest.mark.parametrize("variance", [0.5, 1.0, 8.0])
def test_warnings_follow_alpha_over_sigma2(variance):
    assert codes(spec(2.63 * variance, variance)) == []
    assert codes(spec(2.65 * variance, variance)) == ["article_not_convex"]
    assert codes(spec(3.99 * variance, variance)) == ["article_not_convex"]
    assert codes(spec(4.01 * variance, variance)) == ["article_pushes_outward"]
    assert codes(spec(0.0, variance)) == []


def test_the_gaussian_is_said_to_be_a_rescaling_and_is_one():
    (advice,) = advise(spec(3.0, 2.0, "gaussian"))
    assert (advice.code, advice.pointer) == ("gaussian_rescales", "/loss/divergence")
    assert "2.5" in advice.message
    prediction, target = torch.rand(4, 3), torch.rand(4, 3)
    plain = build_loss(LossSpec(divergence=None, alpha=0.0))(prediction, target).total
    assert torch.allclose(build_loss(spec(3.0, 2.0, "gaussian").loss)(prediction, target).total, 2.5 * plain)


def test_small_batches_of_the_sample_program_are_warned_of():
    document = {"loss": {"divergence": {"kind": "sample_program"}}, "training": {"batch_size": 7}}
    assert codes(TrainSpec.model_validate(document)) == ["sample_program_small_batch"]
    document["loss"]["alpha"] = 0.0  # nothing is estimated
    assert codes(TrainSpec.model_validate(document)) == []
    document["loss"]["alpha"], document["training"]["batch_size"] = 0.01, 8
    assert codes(TrainSpec.model_validate(document)) == []


BASES = [{"kind": "absolute_error"}, *({"kind": "huber", "delta": delta} for delta in (0.1, 0.5, 1.0, 3.0))]


@pytest.mark.parametrize("base", BASES, ids=lambda base: f"{base['kind']}-{base.get('delta', '')}")
@pytest.mark.parametrize("variance", [0.04, 1.0, 9.0])
def test_with_a_bounded_pull_the_bound_is_where_the_gradient_turns(base, variance):
    def with_alpha(alpha):
        divergence = {"kind": "article", "variance": {"kind": "fixed", "value": variance}}
        return TrainSpec.model_validate({"loss": {"base": base, "alpha": alpha, "divergence": divergence}})

    def is_inward(alpha):
        residual = torch.logspace(-3, 2, 100_001, dtype=torch.float64).unsqueeze(1).requires_grad_()
        total = build_loss(with_alpha(alpha).loss)(residual, torch.zeros_like(residual)).total
        return bool((torch.autograd.grad(total.sum(), residual)[0] > 0).all())

    bound = 1.0 / outward_pull(1.0, variance, base.get("delta"))
    assert is_inward(bound * 0.999)
    assert not is_inward(bound * 1.001)
    assert codes(with_alpha(bound * 0.999)) == []
    assert codes(with_alpha(bound * 1.001)) == ["article_pushes_outward"]


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({}, ["label_smoothing"]),
        ({"epsilon": 0.0}, ["cross_entropy_rescales"]),
        ({"temperature": 2.0}, []),
        ({"direction": "jensen_shannon"}, []),
    ],
)
def test_label_smoothing_in_disguise_is_named(change, wanted):
    divergence = {"kind": "categorical", "direction": "target_to_prediction", "epsilon": 0.3} | change
    loss = {"base": {"kind": "cross_entropy"}, "alpha": 0.5, "divergence": divergence}
    found = advise(TrainSpec.model_validate({"loss": loss}))
    assert [advice.code for advice in found] == wanted
    if wanted == ["label_smoothing"]:  # that it is: test_towards_the_prediction_it_is_label_smoothing
        assert "1.5 times the cross-entropy of labels smoothed by 0.1" in found[0].message
    assert advise(TrainSpec.model_validate({"loss": loss | {"base": {"kind": "focal"}}})) == []


def test_label_smoothing_in_disguise_is_named_for_several_labels_too():
    """That it is: test_labels.py, test_towards_the_prediction_it_is_label_smoothing."""
    divergence = {"kind": "categorical", "direction": "target_to_prediction", "epsilon": 0.3}
    loss = {"base": {"kind": "binary_cross_entropy"}, "alpha": 0.5, "divergence": divergence}
    (advice,) = advise(TrainSpec.model_validate({"loss": loss}))
    assert "1.5 times the binary cross-entropy of labels smoothed by 0.1 towards 1/2" in advice.message


@pytest.mark.parametrize("variance", [0.5, 1.0, 8.0])
def test_a_convex_sum_turns_outward_at_its_own_bound(variance):
    def convex(alpha):
        return TrainSpec(loss=spec(alpha, variance).loss.model_copy(update={"combine": "convex"}))

    bound = 4.0 * variance / (1.0 + 4.0 * variance)
    assert codes(convex(bound * 0.999)) == ["article_not_convex"]
    assert codes(convex(bound * 1.001)) == ["article_pushes_outward"]
    residual = (variance**0.5 * torch.ones(1, 1, dtype=torch.float64)).requires_grad_()
    for factor, sign in ((0.999, 1.0), (1.001, -1.0)):
        total = build_loss(convex(bound * factor).loss)(residual, torch.zeros_like(residual)).total
        assert torch.autograd.grad(total.sum(), residual)[0].sign().item() == sign


def test_warnings_speak_of_the_largest_alpha_of_a_schedule():
    schedules = [
        {"kind": "constant", "value": 5.0},
        {"kind": "linear", "value": 5.0},
        {"kind": "cosine", "start": 0.0, "end": 5.0},
        {"kind": "cosine", "start": 5.0, "end": 0.0},
        {"kind": "cyclical", "value": 5.0},
    ]
    for schedule in schedules:
        assert codes(TrainSpec.model_validate({"loss": {"alpha": schedule}})) == ["article_pushes_outward"]
        document = {"loss": {"alpha": schedule, "divergence": {"kind": "gaussian"}}}
        (advice,) = advise(TrainSpec.model_validate(document))
        assert "times 6 (when alpha is 5)" in advice.message


def test_a_convex_sum_with_label_smoothing_keeps_the_scale():
    divergence = {"kind": "categorical", "direction": "target_to_prediction", "epsilon": 0.5}
    loss = {"base": {"kind": "cross_entropy"}, "alpha": 0.2, "combine": "convex", "divergence": divergence}
    given = TrainSpec.model_validate({"loss": loss})
    (advice,) = advise(given)
    assert "1 times the cross-entropy of labels smoothed by 0.1" in advice.message
    logits, target = torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1])
    smoothed = torch.nn.functional.cross_entropy(logits, target, label_smoothing=0.1, reduction="none")
    gap = build_loss(given.loss)(logits, target).total - smoothed
    assert torch.allclose(gap, gap[0].expand(5), atol=1e-12)


def loss_of(**loss):
    return TrainSpec.model_validate({"loss": loss})


def article(alpha, variance, **more):
    return loss_of(
        alpha=alpha, divergence={"kind": "article", "variance": variance, **more.pop("divergence", {})}, **more
    )


def test_in_units_of_sigma2_alpha_is_the_ratio_whatever_sigma2_is():
    for variance in ({"kind": "residual"}, {"kind": "fixed", "value": 1e-6}, {"kind": "output"}):
        for alpha, wanted in ((2.6, []), (2.7, ["article_not_convex"]), (4.1, ["article_pushes_outward"])):
            found = advise(article(alpha, variance, alpha_units="sigma2"))
            assert [advice.code for advice in found] == wanted
    (advice,) = advise(article(2.7, {"kind": "residual"}))
    assert advice.message.startswith("alpha = 2.7 is above")


def test_a_sigma2_that_is_not_known_yet_is_not_warned_of_before_it_is():
    given = article(3.0, {"kind": "target"})
    assert advise(given) == []
    assert codes_with(given, target_variance=1.0) == ["article_not_convex"]
    assert codes_with(given, target_variance=0.09) == ["article_pushes_outward"]
    assert codes_with(article(3.0, {"kind": "target", "floor": 2.0}), target_variance=0.09) == []
    assert [one.code for one in advise_at(given.loss, 1, 1.0, 3.0)] == ["article_not_convex"]
    assert advise_at(given.loss, 1, 1.0, 2.0) == advise_at(given.loss, 1, 1.0, 0.0) == []
    assert advise_at(loss_of(divergence={"kind": "cauchy"}).loss, 1, 1e-9, 3.0) == []


def codes_with(given, **known):
    return [advice.code for advice in advise(given, **known)]


def test_per_output_the_ratio_is_by_the_number_of_outputs():
    given = article(30.0, {"kind": "fixed", "value": 1.0}, divergence={"scale": "per_output"})
    assert codes_with(given) == []
    assert codes_with(given, outputs=10) == ["article_not_convex"]
    assert codes_with(given, outputs=5) == ["article_pushes_outward"]
    residual = torch.full((1, 5), (5 / 5) ** 0.5, dtype=torch.float64, requires_grad=True)
    total = build_loss(given.loss)(residual, torch.zeros_like(residual)).total
    assert (torch.autograd.grad(total.sum(), residual)[0] < 0).all()
    in_units = article(30.0, {"kind": "residual"}, divergence={"scale": "per_output"})
    assert codes_with(in_units, outputs=10) == ["article_not_convex"]


def test_a_known_sigma2_is_what_a_linear_base_is_weighed_by():
    given = article(0.5, {"kind": "residual"}, base={"kind": "huber", "delta": 0.5})
    assert codes_with(given) == []
    pull = outward_pull(0.5 * 40.0, 40.0, 0.5)
    assert pull > 1.0
    (advice,) = advise_at(given.loss, 1, 40.0, 0.5)
    assert f"{pull:.3g} times" in advice.message


def test_an_article_that_outweighs_a_likelihood_is_warned_of():
    base = {"kind": "gaussian_nll"}
    assert codes_with(article(1.0, {"kind": "fixed"}, base=base)) == []
    assert codes_with(article(1.5, {"kind": "fixed"}, base=base)) == ["article_unbounded"]
    assert codes_with(article(1.5, {"kind": "fixed"}, base=base), outputs=2) == []
    loss = build_loss(article(1.5, {"kind": "fixed"}, base=base).loss)
    totals = []
    for size in (1e3, 1e6, 1e9):  # its variance minimised out
        prediction = torch.tensor([[size]], dtype=torch.float64)
        totals.append(loss(prediction, torch.zeros_like(prediction), variance=prediction**2).total.item())
    assert totals[0] > totals[1] > totals[2]


def test_with_a_variance_for_each_output_one_output_is_enough_to_outweigh_a_likelihood():
    base = {"kind": "gaussian_nll", "head": "per_output"}
    given = article(1.5, {"kind": "fixed"}, base=base)
    assert codes_with(given, outputs=2) == ["article_unbounded"]
    loss = build_loss(given.loss)
    totals = []
    for size in (1e3, 1e6, 1e9):  # the first output's variance minimised out; the second stays where it is
        prediction = torch.tensor([[size, 1.0]], dtype=torch.float64)
        totals.append(loss(prediction, torch.zeros_like(prediction), variance=prediction**2).total.item())
    assert totals[0] > totals[1] > totals[2]


@pytest.mark.parametrize("kind", ["learned", "predicted"])
def test_a_variance_that_is_told_nothing_is_warned_of(kind):
    divergence = {"kind": "gaussian", "prediction_variance": kind, "direction": "prediction_to_target"}
    assert codes_with(loss_of(divergence=divergence)) == ["gaussian_uninformative"]
    assert codes_with(loss_of(divergence=divergence | {"direction": "target_to_prediction"})) == []


@pytest.mark.parametrize(
    ("variance", "words"),
    [
        ({"kind": "residual"}, "times 1.5 and"),
        ({"kind": "target"}, "times a factor that follows sigma2 and"),
        ({"kind": "output", "gradient": "detached"}, "times a factor that follows sigma2 and"),
        ({"kind": "output"}, None),
    ],
    ids=str,
)
def test_with_the_same_variance_only_a_gradient_through_it_changes_more_than_the_scale(variance, words):
    found = advise(loss_of(alpha=0.5, divergence={"kind": "gaussian", "variance": variance}))
    assert [one.code for one in found] == ([] if words is None else ["gaussian_rescales"])
    assert words is None or words in found[0].message


def test_small_batches_of_the_outputs_variance_are_warned_of():
    document = {"loss": {"divergence": {"variance": {"kind": "output"}}}, "training": {"batch_size": 7}}
    assert codes(TrainSpec.model_validate(document)) == ["output_variance_small_batch"]
    document["training"]["batch_size"] = 8
    assert codes(TrainSpec.model_validate(document)) == []
