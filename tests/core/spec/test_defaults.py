"""What a spec need not say."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from softreg_core.spec import TrainSpec, problems_of


def test_an_optimizer_without_a_kind_is_adam():
    optimizer = TrainSpec.model_validate({"optimizer": {"learning_rate": 0.05}}).optimizer
    assert (optimizer.kind, optimizer.learning_rate) == ("adam", 0.05)


def test_what_is_wrong_beside_a_missing_kind_is_said():
    document = {"optimizer": {"learnig_rate": 1}}
    with pytest.raises(ValidationError) as caught:
        TrainSpec.model_validate(document)
    (problem,) = problems_of(caught.value, TrainSpec, document)
    assert problem.pointer == "/optimizer/learnig_rate"
    assert "did you mean 'learning_rate'" in problem.message
