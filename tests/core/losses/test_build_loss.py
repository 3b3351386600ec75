"""The contract of `build_loss`: what is accepted, what is refused, what comes back."""

from __future__ import annotations

import pytest
import torch

from softreg_core.errors import DataError, ShapeError, SpecError
from softreg_core.losses import DataMeta, build_loss
from softreg_core.spec import LossSpec


def test_class_codes_are_compared_as_one_hot_rows():
    loss = build_loss(LossSpec())
    prediction = torch.tensor([[0.2, 0.5, -0.1], [0.0, 0.0, 1.0]])
    codes, rows = torch.tensor([0, 2]), torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    for got, wanted in zip(loss(prediction, codes), loss(prediction, rows), strict=True):
        assert torch.equal(got, wanted)


def test_whole_numbers_are_values_when_the_task_is_regression():
    loss = build_loss(LossSpec(), DataMeta(outputs=1, task="regression"))
    parts = loss(torch.tensor([[1.0], [2.0]]), torch.tensor([3, 2]))
    assert parts.base.tolist() == [2.0, 0.0]


def test_vectors_are_read_as_one_output():
    loss = build_loss(LossSpec())
    flat = loss(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 5.0]))
    column = loss(torch.tensor([[1.0], [2.0]]), torch.tensor([[0.0], [5.0]]))
    assert torch.equal(flat.total, column.total)
    assert flat.base.tolist() == [0.5, 4.5]


@pytest.mark.parametrize(
    ("prediction", "target"),
    [
        (torch.zeros(3, 2), torch.zeros(3)),
        (torch.zeros(3, 2), torch.zeros(2, 2)),
        (torch.zeros(3, 1), torch.tensor([0, 0, 0])),
        (torch.zeros(3, 2), torch.zeros(3, 2, dtype=torch.int64)),
        (torch.zeros(3, 2, 2), torch.zeros(3, 2, 2)),
    ],
    ids=["broadcast", "rows", "codes-for-one-output", "codes-in-two-dimensions", "three-dimensions"],
)
def test_shapes_that_would_broadcast_or_mislead_are_refused(prediction, target):
    with pytest.raises(ShapeError, match=r"shape|outputs"):
        build_loss(LossSpec())(prediction, target)


def test_a_prediction_of_another_width_than_the_data_is_refused():
    loss = build_loss(LossSpec(), DataMeta(outputs=3, task="classification"))
    with pytest.raises(ShapeError, match="2 outputs, the data 3"):
        loss(torch.zeros(4, 2), torch.tensor([0, 1, 0, 1]))


CROSS_ENTROPY = LossSpec.model_validate({"base": {"kind": "cross_entropy"}})


@pytest.mark.parametrize("spec", [LossSpec(), CROSS_ENTROPY], ids=["squared", "cross_entropy"])
@pytest.mark.parametrize("code", [3, -1, -100])
def test_a_class_code_out_of_range_is_a_data_error_that_names_the_row(spec, code):
    with pytest.raises(DataError, match=f"row 2: class code {code} is not in 0 to 2") as caught:
        build_loss(spec)(torch.zeros(4, 3), torch.tensor([0, code, 2, 9]))
    assert caught.value.row == 2


@pytest.mark.parametrize("code", [3, -1])
def test_a_single_class_code_on_either_side_of_the_range_is_refused(code):
    with pytest.raises(DataError, match=f"row 2: class code {code} is not in 0 to 2"):
        build_loss(LossSpec())(torch.zeros(3, 3), torch.tensor([0, code, 2]))


@pytest.mark.parametrize("spec", [LossSpec(), CROSS_ENTROPY], ids=["squared", "cross_entropy"])
@pytest.mark.parametrize(
    ("name", "words"), [("variance", "predicted"), ("second", "two passes"), ("teacher", "teacher")]
)
def test_a_tensor_that_a_loss_would_ignore_is_refused_with_the_kind_that_uses_it(spec, name, words):
    loss = build_loss(spec)
    prediction, codes = torch.zeros(2, 3), torch.tensor([0, 1])
    with pytest.raises(ValueError, match=f"'{name}'.*{words}"):
        loss(prediction, codes, **{name: torch.ones(2, 3)})
    given = loss(prediction, codes, step=3, weight=torch.ones(2), **{name: None})
    assert torch.equal(given.total, loss(prediction, codes).total)


def test_cross_entropy_is_refused_for_regression_with_a_pointer():
    spec = LossSpec.model_validate({"base": {"kind": "cross_entropy"}})
    with pytest.raises(SpecError) as caught:
        build_loss(spec, DataMeta(outputs=1, task="regression"))
    assert [problem.pointer for problem in caught.value.problems] == ["/loss/base/kind"]


def test_cross_entropy_takes_codes_only():
    loss = build_loss(LossSpec.model_validate({"base": {"kind": "cross_entropy"}}))
    with pytest.raises(TypeError):
        loss(torch.zeros(2, 3), torch.zeros(2))
    with pytest.raises(ValueError, match="are needed"):
        loss(torch.zeros(2, 3), torch.tensor([0, 1, 2]))


def test_whole_number_predictions_are_refused():
    with pytest.raises(TypeError):
        build_loss(LossSpec())(torch.zeros(2, 3, dtype=torch.int64), torch.tensor([0, 1]))


def test_logits_of_another_width_than_the_data_are_refused():
    loss = build_loss(CROSS_ENTROPY, DataMeta(outputs=3, task="classification"))
    with pytest.raises(ShapeError, match="2 outputs, the data 3"):
        loss(torch.zeros(4, 2), torch.tensor([0, 1, 0, 1]))


@pytest.mark.parametrize("spec", [LossSpec(), CROSS_ENTROPY], ids=["squared", "cross_entropy"])
def test_weights_of_another_length_than_the_batch_are_refused(spec):
    with pytest.raises(ValueError, match=r"weight has shape \(1,\); \(2,\) is needed"):
        build_loss(spec)(torch.zeros(2, 3), torch.tensor([0, 1]), weight=torch.ones(1))
