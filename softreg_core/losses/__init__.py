"""Losses: pure functions per example, one family per file, and `build_loss` from a spec.

Nothing here reduces over the batch: a loss returns one value per example and the trainer takes the mean, once.
"""

from softreg_core.losses.agreement import between_passes, between_passes_values, from_teacher, from_teacher_values
from softreg_core.losses.article import article, inflation
from softreg_core.losses.bases import absolute_error, barron, half_squared_error, huber, poisson, quantile, student_t
from softreg_core.losses.categorical import categorical, uniform
from softreg_core.losses.cauchy import cauchy
from softreg_core.losses.class_bases import (
    brier,
    cross_entropy,
    focal,
    generalized_cross_entropy,
    symmetric_cross_entropy,
)
from softreg_core.losses.gaussian import gaussian, gaussian_nll, gaussian_of_two
from softreg_core.losses.labels import Labels, binary_cross_entropy, labels
from softreg_core.losses.logits import Classes, classes
from softreg_core.losses.parts import DataMeta, LossParts
from softreg_core.losses.redescending import geman_mcclure, welsch
from softreg_core.losses.registry import build_loss
from softreg_core.losses.residual import Residual, residual
from softreg_core.losses.sample_program import sample_program
from softreg_core.losses.soft import Loss
from softreg_core.losses.variance import target_variance

__all__ = [
    "Classes",
    "DataMeta",
    "Labels",
    "Loss",
    "LossParts",
    "Residual",
    "absolute_error",
    "article",
    "barron",
    "between_passes",
    "between_passes_values",
    "binary_cross_entropy",
    "brier",
    "build_loss",
    "categorical",
    "cauchy",
    "classes",
    "cross_entropy",
    "focal",
    "from_teacher",
    "from_teacher_values",
    "gaussian",
    "gaussian_nll",
    "gaussian_of_two",
    "geman_mcclure",
    "generalized_cross_entropy",
    "half_squared_error",
    "huber",
    "inflation",
    "labels",
    "poisson",
    "quantile",
    "residual",
    "sample_program",
    "student_t",
    "symmetric_cross_entropy",
    "target_variance",
    "uniform",
    "welsch",
]
