"""What a spec need not say."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from softreg_core.spec import TrainSpec, problems_of


def test_an_optimizer_without_a_kind_is_adam():
    optimizer = TrainSpec.model_validate({"optimizer": {"learning_rate": 0.05}}).optimizer
    assert (optimizer.kind, optimizer.learning_rate) == ("adam", 0.05)


def test_a_base_or_divergence_without_a_kind_is_the_articles():
    loss = TrainSpec.model_validate({"loss": {"base": {}, "divergence": {"variance": {"value": 2.0}}}}).loss
    assert (loss.base.kind, loss.divergence.kind, loss.divergence.variance.value) == (
        "half_squared_error",
        "article",
        2.0,
    )


def test_what_is_wrong_beside_a_missing_kind_is_said():
    document = {"optimizer": {"learnig_rate": 1}}
    with pytest.raises(ValidationError) as caught:
        TrainSpec.model_validate(document)
    (problem,) = problems_of(caught.value, TrainSpec, document)
    assert problem.pointer == "/optimizer/learnig_rate"
    assert "did you mean 'learning_rate'" in problem.message
