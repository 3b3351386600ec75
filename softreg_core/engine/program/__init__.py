"""A training step as a function of tensors and nothing else, so that it can be traced, batched and compiled.

`PureStep` runs the objective of the eager engine with other tensors in place of its parameters; `updates` are the
optimisers as formulas; `traced` is a step as a flat list of operations, without Python and without autograd.
"""

from softreg_core.engine.program.numbers import number_names, numbers_at, structure_of
from softreg_core.engine.program.step import PureStep, Standing, name_in_objective, standing_of, take_over, traced
from softreg_core.engine.program.updates import UPDATES

__all__ = [
    "UPDATES",
    "PureStep",
    "Standing",
    "name_in_objective",
    "number_names",
    "numbers_at",
    "standing_of",
    "structure_of",
    "take_over",
    "traced",
]
