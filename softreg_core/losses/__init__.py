"""Losses: pure functions per example, one family per file, and `build_loss` from a spec.

Nothing here reduces over the batch: a loss returns one value per example and the trainer takes the mean, once.
"""

from softreg_core.losses.article import article, inflation
from softreg_core.losses.bases import cross_entropy, half_squared_error
from softreg_core.losses.cauchy import cauchy
from softreg_core.losses.gaussian import gaussian
from softreg_core.losses.parts import DataMeta, LossParts
from softreg_core.losses.registry import build_loss
from softreg_core.losses.sample_program import sample_program

__all__ = [
    "DataMeta",
    "LossParts",
    "article",
    "build_loss",
    "cauchy",
    "cross_entropy",
    "gaussian",
    "half_squared_error",
    "inflation",
    "sample_program",
]
