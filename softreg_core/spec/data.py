"""Which columns are learned from which, how rows are divided, how numbers are scaled."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from softreg_core.spec.base import Flag, Name, Number, SpecModel
from softreg_core.spec.training import Seed

__all__ = ["PreprocessSpec", "SplitSpec", "TaskSpec"]


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise PydanticCustomError("duplicate_name", "'{name}' is named twice", {"name": name})
        seen.add(name)
    return names


Columns = Annotated[tuple[Name, ...], Field(min_length=1, max_length=10_000), AfterValidator(_each_once)]
Share = Annotated[Number, Field(ge=0.0, le=1.0)]


class TaskSpec(SpecModel):
    """What is predicted from what."""

    kind: Literal["auto", "classification", "regression"] = "auto"
    target: Literal["auto"] | Name | Columns = "auto"
    """`auto`: the column `target` (all columns of an array `target`), else the last column."""
    features: Literal["auto"] | Columns = "auto"
    """`auto`: every numeric column that is not the target."""
    missing: Literal["error"] = "error"
    """A missing, odd or non-finite cell in a used column refuses the job and names row and column."""


class SplitSpec(SpecModel):
    """Shares of the rows for training, validation and test; they add up to 1."""

    train: Annotated[Number, Field(gt=0.0, le=1.0)] = 0.8
    validation: Share = 0.2
    test: Share = 0.0
    stratify: Literal["auto"] | Flag = "auto"
    """`auto`: for classification each class keeps its share in every part."""
    seed: Seed = 0

    @model_validator(mode="after")
    def _shares_are_whole(self) -> SplitSpec:
        total = self.train + self.validation + self.test
        if abs(total - 1.0) > 1e-9:
            raise PydanticCustomError(
                "split_shares", "train, validation and test add up to {total}, not to 1", {"total": round(total, 12)}
            )
        return self


class PreprocessSpec(SpecModel):
    """Scaling by training-split statistics, stored with the model; metrics are in the user's units."""

    features: Literal["standardize", "none"] = "standardize"
    target: Literal["auto", "standardize", "none"] = "auto"
    """`auto`: standardise for regression."""
