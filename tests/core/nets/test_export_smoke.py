"""Networks can be exported with any number of rows and steps; the export's own tests look closer."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import onnxruntime
import pytest
import torch
from torch.export import Dim

from softreg_core.nets import build_net
from tests.core.nets.catalog import CASES, batch

_QUICK = (
    *("linear-0-text", "linear-0-both", "mlp-1-both", "cnn-0-sound", "resnet-0-image", "rnn-0-text", "rnn-1-sequence"),
    "transformer-0-both",
    "transformer-0-sound",
)


def exported(net, shape):
    rows = {0: Dim.DYNAMIC}
    steps = rows | {1: Dim.DYNAMIC}
    dynamic = {"table": (rows,) * len(shape.names), "image": (rows,)}.get(shape.kind, (steps, rows))
    has_one_name = "inputs" in inspect.signature(net.forward).parameters
    with torch.no_grad():
        return torch.export.export(
            net, batch(shape, rows=3), dynamic_shapes={"inputs": dynamic} if has_one_name else dynamic
        )


def other_batches(shape):
    per_step = 30 if shape.kind == "sound" else 1
    yield batch(shape, rows=1, longest=per_step, seed=1)
    yield batch(shape, rows=5, longest=30 * per_step, seed=5)


def cases(names=None):
    return pytest.mark.parametrize(
        ("spec", "shape"),
        [case[1:] for case in CASES if names is None or case[0] in names],
        ids=[case[0] for case in CASES if names is None or case[0] in names],
    )


@cases(_QUICK)
def test_a_program_of_torch_export_takes_other_numbers_of_rows_and_steps(spec, shape):
    net = build_net(spec, shape, 3, seed=0).eval()
    program = exported(net, shape).module()
    with torch.no_grad():
        for inputs in other_batches(shape):
            torch.testing.assert_close(program(*inputs), net(*inputs), atol=1e-5, rtol=1e-4)


@pytest.mark.long
@cases()
def test_onnxruntime_gives_what_the_network_gives(spec, shape, tmp_path):
    net = build_net(spec, shape, 3, seed=0).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(exported(net, shape), dynamo=True, verbose=False)
    program.save(tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    for inputs in other_batches(shape):
        given = {place.name: tensor.numpy() for place, tensor in zip(session.get_inputs(), inputs, strict=True)}
        with torch.no_grad():
            wanted = net(*inputs).numpy()
        np.testing.assert_allclose(session.run(None, given)[0], wanted, atol=1e-4, rtol=1e-3)
