"""The article's two programs by name."""

from __future__ import annotations

from softreg_core.spec.divergences import ArticleSpec, SampleProgramSpec
from softreg_core.spec.loss import LossSpec
from softreg_core.spec.net import MlpSpec
from softreg_core.spec.optimizer import AdamSpec
from softreg_core.spec.train import TrainSpec

__all__ = ["article_section_3_3", "article_section_4"]


def article_section_3_3() -> TrainSpec:
    """The closed formula as printed, alpha 0.01, sigma2 1."""
    return TrainSpec(loss=LossSpec(alpha=0.01, divergence=ArticleSpec()))


def article_section_4() -> TrainSpec:
    """The sample program, with what Keras does unasked: Glorot initialisation and Adam's epsilon of 1e-7.

    The program uses an alpha that it never defines; 0.01 is the article's setting for its section 3.3.
    """
    return TrainSpec(
        net=MlpSpec(initialization="glorot_uniform"),
        loss=LossSpec(alpha=0.01, divergence=SampleProgramSpec()),
        optimizer=AdamSpec(epsilon=1e-7),
    )
