"""Which specs and data one program can compute, and why the others cannot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from softreg_core.data.part import Part
from softreg_core.data.tabular import PreparedData
from softreg_core.engine.program import structure_of
from softreg_core.errors import DataError, Problem, SpecError
from softreg_core.spec.alpha import largest_alpha
from softreg_core.spec.engine import problem_of_program
from softreg_core.spec.estimate import rows_of_batch, steps_per_epoch
from softreg_core.spec.train import TrainSpec

__all__ = ["PACKED_NETS", "check_pack", "template_of"]

PACKED_NETS = ("linear", "mlp", "cnn")

# Where a part of `structure_of` stands in a spec, when that is elsewhere.
_PLACES = {"/task": "/task/kind", "/include_biases": "/penalties/include_biases"}
# Given to each member: penalties that others have count 0 for it, and weights of classes are weights of its rows.
_FREE = ("/numbers", "/training/has_class_weights")
# What a member at alpha 0 never computes.
_OF_DIVERGENCE = ("/loss/divergence", "/loss/combine", "/loss/alpha_units")


def check_pack(specs: Sequence[TrainSpec], data: Sequence[PreparedData]) -> None:
    """Look at everything that can be known before anything is built.

    Raises:
        SpecError: a spec cannot be packed, or two differ in more than a number; the field is named.
        DataError: the data of the members do not go together.
    """
    if not specs:
        raise SpecError("a pack needs one member or more", [Problem("", "no spec was given")])
    if len(specs) != len(data):
        raise ValueError(f"{len(specs)} specs and {len(data)} prepared data: one for each, or one for all")
    for member, spec in enumerate(specs):
        _check_alone(member, spec)
    first = template_of(specs)
    wanted = _flat(specs[first])
    for member, spec in enumerate(specs):
        found = _flat(spec)
        differing = [name for name in wanted.keys() | found.keys() if found.get(name) != wanted.get(name)]
        if not _counts(spec):
            differing = [name for name in differing if not name.startswith(_OF_DIVERGENCE)]
        if differing:  # another kind has other fields: it is the kind that differs
            pointer = min(differing, key=lambda name: (not name.endswith("/kind"), name))
            raise _differ(pointer, (member, found.get(pointer)), (first, wanted.get(pointer)))
    _check_data(specs, data, first)


def template_of(specs: Sequence[TrainSpec]) -> int:
    """The first member whose divergence counts at some step, else the first: its loss has all that any of them has."""
    return next((member for member, spec in enumerate(specs) if _counts(spec)), 0)


def _counts(spec: TrainSpec) -> bool:
    return spec.loss.divergence is not None and largest_alpha(spec.loss.alpha) > 0.0


def _check_alone(member: int, spec: TrainSpec) -> None:
    problem = problem_of_program(spec)
    if spec.net.kind not in PACKED_NETS:
        problem = Problem(
            "/net/kind", f"net '{spec.net.kind}' is trained alone; {', '.join(PACKED_NETS)} go into a pack"
        )
    if problem is not None:
        message = f"member {member} cannot be packed: {problem.message}"
        raise SpecError(message, [Problem(problem.pointer, message)])


def _flat(spec: TrainSpec) -> dict[str, Any]:
    """The structure by pointers into the spec."""
    found = dict(_leaves("", structure_of(spec)))
    return {_PLACES.get(pointer, pointer): value for pointer, value in found.items() if not pointer.startswith(_FREE)}


def _leaves(pointer: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _leaves(f"{pointer}/{name}", item)
    else:
        yield pointer, value


def _differ(pointer: str, one: tuple[int, Any], other: tuple[int, Any]) -> SpecError:
    (member, mine), (first, others) = one, other
    message = (
        f"{pointer} is {mine!r} in member {member} and {others!r} in member {first}: one program computes one of them"
    )
    return SpecError(message, [Problem(pointer, message)])


def _check_data(specs: Sequence[TrainSpec], data: Sequence[PreparedData], first: int) -> None:
    model = data[first]
    sizes: dict[int, tuple[int, int]] = {}
    for member, (spec, given) in enumerate(zip(specs, data, strict=True)):
        if not isinstance(given, PreparedData):
            raise TypeError(
                f"a pack takes prepared data, not a {type(given).__name__}: call prepare(spec, table) first"
            )
        if not all(isinstance(part, Part) for part in (given.train, given.validation, given.test)):
            raise DataError(f"the rows of member {member} lie on disk, and a pack keeps all rows in memory", "streamed")
        form, other = _form(given), _form(model)
        if form != other:
            raise DataError(f"the data of member {member} are {form}, of member {first} {other}", "other_data")
        batch = rows_of_batch(spec.training.batch_size, given.train.rows)
        sizes[member] = (batch, steps_per_epoch(given.train.rows, batch))
    for member, (batch, steps) in sizes.items():
        mine, others = (specs[index].training.batch_size for index in (member, first))
        if mine != others and batch != sizes[first][0]:
            raise _differ("/training/batch_size", (member, mine), (first, others))
        if steps != sizes[first][1]:
            message = f"member {member} has {steps} steps an epoch, member {first} {sizes[first][1]}"
            raise DataError(f"{message}: all members of a pack step together", "other_data")
    if getattr(specs[first].net, "norm", "none") == "batch" and len({given.train.rows for given in data}) > 1:
        message = (
            "norm 'batch' takes statistics over batches, and members with fewer rows have their last one filled up"
        )
        raise SpecError(message, [Problem("/net/norm", message)])


def _form(data: PreparedData) -> str:
    """What a program is made for, in words."""
    assert isinstance(data.train, Part)  # noqa: S101  for mypy; the caller has looked
    shapes = [f"{tensor.dtype} {tuple(tensor.shape[1:])}" for tensor in (*data.train.inputs, data.train.target)]
    return f"{data.preprocessing.task} of {data.preprocessing.outputs} outputs, {', '.join(shapes)}"
