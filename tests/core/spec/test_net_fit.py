"""Which network goes with which data and batches."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from softreg_core.spec import MlpSpec, TrainSpec
from softreg_core.spec.estimate import parameter_count
from softreg_core.spec.inputs import ImageShape, SoundShape, TableShape, TextShape
from softreg_core.spec.net import CnnSpec, ResnetSpec, RnnSpec, TransformerSpec
from softreg_core.spec.net_fit import misfit_of_batches, misfit_of_net

_NORMED = MlpSpec(norm="batch")


@pytest.mark.parametrize(("rows", "batch"), [(64, 32), (66, 32), (2, 32), (31, 32), (3, 2_000)])
def test_batches_of_two_rows_or_more_can_be_normed(rows, batch):
    assert misfit_of_batches(_NORMED, rows, batch) is None


@pytest.mark.parametrize(("rows", "batch", "size"), [(65, 32, 31), (33, 32, 31), (10, 1, 2), (3, 2, 3), (1, 8, None)])
def test_a_batch_of_one_row_cannot_be_normed_and_the_refusal_names_a_size_that_can(rows, batch, size):
    reason = misfit_of_batches(_NORMED, rows, batch)
    assert f"{rows} training rows" in reason
    if size is None:
        assert "batch_size" not in reason
    else:
        assert f"choose batch_size {size} or" in reason
        assert misfit_of_batches(_NORMED, rows, size) is None


@pytest.mark.parametrize("norm", ["none", "layer"])
def test_other_norms_take_any_batch(norm):
    assert misfit_of_batches(MlpSpec(norm=norm), 65, 32) is None


@pytest.mark.parametrize(
    ("net", "shape", "words"),
    [
        (CnnSpec(), TextShape(vocabulary=9, longest=9), "net 'cnn' takes inputs of kind image or sound, not text"),
        (RnnSpec(), TableShape(numbers=3), "not table: choose linear or mlp or transformer"),
        (TransformerSpec(), TextShape(vocabulary=9, longest=8193), "these have up to 8193"),
        (TransformerSpec(), TableShape(numbers=8192), "8193: cut them off earlier"),
        (MlpSpec(), SoundShape(rate=8000, longest=99, window=20, hop=10, mels=12), "12 mel bands"),
    ],
)
def test_a_misfit_says_why_and_what_to_do(net, shape, words):
    assert words in misfit_of_net(net, shape)


@pytest.mark.parametrize(
    ("net", "shape"),
    [
        (TransformerSpec(), TableShape(numbers=8191)),
        (RnnSpec(), TextShape(vocabulary=9, longest=100_000)),
        (MlpSpec(), SoundShape(rate=8000, longest=99, window=20, hop=10, mels=11)),
    ],
)
def test_what_fits_by_a_hair_is_let_through(net, shape):
    assert misfit_of_net(net, shape) is None


@pytest.mark.parametrize(
    "net",
    [
        {"kind": "transformer", "width": 9, "heads": 3},
        {"kind": "transformer", "width": 10, "heads": 4},
        {"kind": "resnet", "depth": 21},
        {"kind": "cnn", "channels": []},
        {"kind": "rnn", "dropout": 1.0},
        {"kind": "linear", "hidden": [3]},
    ],
)
def test_sizes_that_make_no_network_are_refused(net):
    with pytest.raises(ValidationError):
        TrainSpec.model_validate({"net": net})


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66)])
def test_a_resnet_has_the_size_that_its_paper_says(depth, millions):
    count = parameter_count(ResnetSpec(depth=depth), ImageShape(channels=3, height=32, width=32), 10)
    assert round(count / 1e6, 2) == millions
