"""The loss: a base, and alpha times a divergence."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from softreg_core.spec.base import Number, SpecModel
from softreg_core.spec.bases import BaseSpec, HalfSquaredErrorSpec
from softreg_core.spec.divergences import ArticleSpec, DivergenceSpec
from softreg_core.spec.fit import misfit_of_divergence

__all__ = ["BaseSpec", "DivergenceSpec", "LossSpec"]


class LossSpec(SpecModel):
    """Per example: base + alpha * divergence. Without a divergence, alpha is 0."""

    base: BaseSpec = HalfSquaredErrorSpec()
    alpha: Annotated[Number, Field(ge=0.0, le=1e9)] = 0.01
    """Weight of the divergence; carries the base's units over the divergence's (which has none)."""
    divergence: DivergenceSpec | None = ArticleSpec()

    @model_validator(mode="before")
    @classmethod
    def _defaults_follow_the_base(cls, value: Any) -> Any:
        """The default divergence is the article's, and goes with the article's base only; alpha follows it."""
        if not isinstance(value, dict):
            return value
        base = value.get("base", {})
        kind = base.get("kind") if isinstance(base, dict) else getattr(base, "kind", None)
        filled = dict(value)
        if kind not in (None, "half_squared_error"):
            filled.setdefault("divergence", None)
        if filled.get("divergence", ...) is None:
            filled.setdefault("alpha", 0.0)
        return filled

    @model_validator(mode="after")
    def _parts_fit(self) -> LossSpec:
        if self.divergence is not None:
            reason = misfit_of_divergence(self.base, self.divergence)
            if reason is not None:
                raise PydanticCustomError("loss_parts", "{reason}", {"reason": reason})
        elif self.alpha != 0.0:
            raise PydanticCustomError(
                "loss_parts", "alpha weighs a divergence, and there is none: set alpha to 0 or choose a divergence"
            )
        return self
