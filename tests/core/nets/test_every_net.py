"""What holds for every kind of network with every kind of data."""

from __future__ import annotations

import pytest
import torch

from softreg_core.nets import build_net
from softreg_core.nets.noise import has_noise, set_noise
from softreg_core.spec.estimate import parameter_count
from softreg_core.spec.net_fit import has_dropout, misfit_of_net
from tests.core.nets.catalog import CASES, FIRST, SHAPES, STEPPED, batch, net_of

every = pytest.mark.parametrize(("spec", "shape"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
of_steps = pytest.mark.parametrize(("spec", "shape"), [c[1:] for c in STEPPED], ids=[c[0] for c in STEPPED])
first = pytest.mark.parametrize(("spec", "shape"), [case[1:] for case in FIRST], ids=[case[0] for case in FIRST])


def scores(net, inputs):
    with torch.no_grad():
        return net.eval()(*inputs)


@every
@pytest.mark.parametrize("outputs", [1, 3])
def test_the_promised_number_of_parameters_is_built_and_the_answer_has_its_shape(spec, shape, outputs):
    net = build_net(spec, shape, outputs, seed=0)
    assert sum(p.numel() for p in net.parameters()) == parameter_count(spec, shape, outputs)
    answer = scores(net, batch(shape))
    assert answer.shape == (4, outputs)
    assert answer.dtype == torch.float32


@every
def test_the_seed_and_nothing_else_decides_the_weights(spec, shape):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one, same, other = (build_net(spec, shape, 2, seed=seed).state_dict() for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["output.weight"], other["output.weight"])
    assert one["output.weight"].abs().min() > 0.0
    assert all(tensor.isfinite().all() for tensor in one.values())


@every
def test_passes_in_training_differ_where_the_spec_says_so(spec, shape):
    assert has_noise(build_net(spec, shape, 2, seed=0)) == has_dropout(spec)


@every
def test_evaluating_twice_gives_the_same_bits_and_changes_nothing(spec, shape):
    net, inputs = build_net(spec, shape, 2, seed=0), batch(shape)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert torch.equal(scores(net, inputs), scores(net, inputs))
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


@every
def test_a_row_s_answer_does_not_depend_on_the_rows_beside_it(spec, shape):
    net, inputs = build_net(spec, shape, 2, seed=0), batch(shape, rows=6)
    whole = scores(net, inputs)
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    torch.testing.assert_close(scores(net, [part[order] for part in inputs]), whole[order], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(scores(net, [part[2:3] for part in inputs]), whole[2:3], atol=1e-6, rtol=1e-5)


@of_steps
@pytest.mark.parametrize("lengths", [[12, 1, 5], [1, 1, 1], [7, 7, 7]], ids=["mixed", "ones", "equal"])
def test_padding_does_not_change_the_answer(spec, shape, lengths):
    step = 25 if shape.kind == "sound" else 1
    lengths = [length * step - (step > 1) for length in lengths]
    net = build_net(spec, shape, 2, seed=0)
    values, counts = batch(shape, longest=max(lengths), lengths=lengths)
    whole = scores(net, (values, counts))
    for more in (1, 2, 5, 16, 77):
        padding = torch.zeros(3, more, *values.shape[2:], dtype=values.dtype)
        torch.testing.assert_close(scores(net, (torch.cat([values, padding], 1), counts)), whole, atol=1e-6, rtol=1e-5)


@of_steps
def test_whatever_stands_in_the_padding_is_not_read(spec, shape):
    net = build_net(spec, shape, 2, seed=0)
    values, counts = batch(shape)
    outside = torch.arange(values.shape[1]) >= counts.unsqueeze(1)
    changed = values.clone()
    changed[outside] = 1
    torch.testing.assert_close(scores(net, (changed, counts)), scores(net, (values, counts)), atol=1e-6, rtol=1e-5)


@of_steps
def test_padding_does_not_change_a_training_step(spec, shape):
    spec = spec.model_copy(update={"dropout": 0.0}) if hasattr(spec, "dropout") else spec
    values, counts = batch(shape)
    gradients = []
    for more in (0, 9):
        net = build_net(spec, shape, 2, seed=0).train()
        padding = torch.zeros(4, more, *values.shape[2:], dtype=values.dtype)
        net(torch.cat([values, padding], 1), counts).square().sum().backward()
        gradients.append({name: parameter.grad for name, parameter in net.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(
            gradients[1][name], gradient, atol=1e-5, rtol=1e-3, msg=lambda m, n=name: f"{n}: {m}"
        )


@of_steps
def test_an_empty_row_has_a_finite_answer(spec, shape):
    values, counts = batch(shape)
    values[1], counts[1] = 0, 0
    assert scores(build_net(spec, shape, 2, seed=0), (values, counts)).isfinite().all()


@every
def test_every_parameter_has_a_part_in_the_answer(spec, shape):
    net = build_net(spec, shape, 2, seed=0).train()
    set_noise(net, 0, 0)
    net(*batch(shape, rows=40)).sin().sum().backward()
    without = [name for name, parameter in net.named_parameters() if parameter.grad is None]
    assert without == []


@first
def test_what_it_does_not_take_is_refused_with_what_does(spec, shape):
    for other in SHAPES.values():
        reason = misfit_of_net(spec, other)
        if reason is None:
            continue
        assert f"not {other.kind}: choose " in reason
        with pytest.raises(ValueError, match=f"net '{spec.kind}' takes"):
            build_net(spec, other, 2, seed=0)
        with pytest.raises(ValueError, match=f"net '{spec.kind}' takes"):
            parameter_count(spec, other, 2)


@first
def test_bfloat16_does_not_break_the_fronts(spec, shape):
    net, inputs = build_net(spec, shape, 2, seed=0), batch(shape)
    exact = scores(net, inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = scores(net, inputs)
    torch.testing.assert_close(rough.float(), exact, atol=0.1, rtol=0.05)


def test_no_network_has_a_kind_that_is_not_tried_here():
    from softreg_core.nets.registry import NETS

    assert {spec.kind for _, spec, _ in CASES} == set(NETS)
    assert net_of("mlp", hidden=[3]).hidden == (3,)
