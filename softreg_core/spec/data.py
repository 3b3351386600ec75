"""Which columns are learned from which, how rows are divided, how numbers are scaled."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from softreg_core.spec.base import Flag, Int, Name, Number, SpecModel
from softreg_core.spec.task_input import InputSpec
from softreg_core.spec.training import Seed

__all__ = ["ImputeSpec", "PreprocessSpec", "SplitSpec", "TaskSpec"]


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise PydanticCustomError("duplicate_name", "'{name}' is named twice", {"name": name})
        seen.add(name)
    return names


def _is_none(value: Any) -> bool:
    return value is None


Columns = Annotated[tuple[Name, ...], Field(min_length=1, max_length=10_000), AfterValidator(_each_once)]
Share = Annotated[Number, Field(ge=0.0, le=1.0)]


class TaskSpec(SpecModel):
    """What is predicted from what."""

    kind: Literal["auto", "classification", "multilabel", "regression"] = "auto"
    """`multilabel`: each target column is a label, true or false by itself; it has to be asked for."""
    target: Literal["auto"] | Name | Columns = "auto"
    """`auto`: the column `target` (all columns of an array `target`), else the last column."""
    features: Literal["auto"] | Columns = "auto"
    """`auto`: every column of numbers or categories that is not the target; without one, the column of images, texts,
    sounds or sequences."""
    missing: Literal["error", "impute"] = "error"
    """`error`: a missing, odd or non-finite cell in a used column refuses the job and names row and column; `impute`:
    missing cells of features are filled in, as `preprocess.impute` says."""
    # Left out of the canonical text where it is not given: specs from before it existed keep their digest.
    input: Literal["auto"] | InputSpec = Field(default="auto", exclude_if=lambda value: value == "auto")
    """How the feature columns are seen; `auto`: as what they are."""
    weight: Name | None = Field(default=None, exclude_if=_is_none)
    """A column of numbers, not negative: how much a training row weighs in the loss. It is no feature."""


class SplitSpec(SpecModel):
    """Who trains, who validates, who tests: shares of the rows, or K folds, or a column that says it of each row."""

    train: Annotated[Number, Field(gt=0.0, le=1.0)] = 0.8
    validation: Share = 0.2
    test: Share = 0.0
    """The three shares add up to 1."""
    stratify: Literal["auto"] | Flag = "auto"
    """`auto`: for classification each class keeps its share in every part."""
    seed: Seed = 0
    # Left out of the canonical text where they are not used: specs from before they existed keep their digest.
    folds: Annotated[Int, Field(ge=2, le=1000)] | None = Field(default=None, exclude_if=_is_none)
    """K: the rows that are not tested are divided into K folds, of which one validates and the others train.

    Only `test` is given beside it; train and validation follow."""
    fold: Annotated[Int, Field(ge=0)] = Field(default=0, exclude_if=lambda value: value == 0)
    """Which of the K folds validates, from 0; the folds of one seed are the same for every one of them."""
    group: Name | None = Field(default=None, exclude_if=_is_none)
    """A column: rows with the same value stay in one part (all pictures of a patient, all words of a speaker)."""
    column: Name | None = Field(default=None, exclude_if=_is_none)
    """A column that holds `train`, `validation` or `test`, or true for training and false for validation."""

    @model_validator(mode="before")
    @classmethod
    def _folds_give_the_shares(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        folds, test = value.get("folds"), value.get("test", 0.0)
        if type(folds) is not int or folds < 2 or type(test) not in (int, float):
            return value
        if "train" in value or "validation" in value:
            return value
        validation = (1.0 - test) / folds
        return {**value, "validation": validation, "train": 1.0 - test - validation}

    @model_validator(mode="after")
    def _shares_are_whole(self) -> SplitSpec:
        total = self.train + self.validation + self.test
        if abs(total - 1.0) > 1e-9:
            raise PydanticCustomError(
                "split_shares", "train, validation and test add up to {total}, not to 1", {"total": round(total, 12)}
            )
        return self

    @model_validator(mode="after")
    def _ways_fit(self) -> SplitSpec:
        reason = None
        if self.folds is None:
            if self.fold:
                reason = "fold says which of the folds validates: say in folds how many there are"
        elif self.fold >= self.folds:
            reason = f"fold counts from 0: there is no fold {self.fold} of {self.folds}"
        elif abs(self.validation - (1.0 - self.test) / self.folds) > 1e-9:
            reason = "with folds, train and validation follow from folds and test: leave them out"
        if self.column is not None:
            if self.folds is not None or self.group is not None:
                reason = "column says where each row goes: leave folds and group out"
            elif self.stratify is True:
                reason = "column says where each row goes: there is nothing to stratify"
        if reason is not None:
            raise PydanticCustomError("split_ways", "{reason}", {"reason": reason})
        return self


class ImputeSpec(SpecModel):
    """What stands for missing cells: of a column of numbers a number, of categories a category of their own."""

    numbers: Literal["median", "mean"] = "median"
    """Of the training rows."""
    indicator: Flag = True
    """A further column for each column of numbers with missing cells: 1 where one is missing, 0 elsewhere."""


class PreprocessSpec(SpecModel):
    """Scaling by training-split statistics, stored with the model; metrics are in the user's units."""

    features: Literal["standardize", "none"] = "standardize"
    target: Literal["auto", "standardize", "none"] = "auto"
    """`auto`: standardise for regression."""
    # Left out of the canonical text where they are not used: specs from before they existed keep their digest.
    unknown: Literal["auto", "error", "other"] = Field(default="auto", exclude_if=lambda value: value == "auto")
    """A category that no training row has is refused, or read as 'other'; `auto`: `other` when some category is so rare
    that the training rows may miss it, below 10 rows."""
    impute: ImputeSpec | None = Field(default=None, exclude_if=_is_none)
