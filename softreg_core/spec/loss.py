"""The loss: a base, and alpha times a divergence."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from softreg_core.spec.alpha import AlphaSpec, largest_alpha
from softreg_core.spec.base import Number, SpecModel
from softreg_core.spec.bases import BaseSpec, HalfSquaredErrorSpec
from softreg_core.spec.divergences import ArticleSpec, DivergenceSpec, TeacherSpec, TwinSpec, VarianceSpec
from softreg_core.spec.fit import misfit_of_divergence

__all__ = ["AlphaSpec", "BaseSpec", "DivergenceSpec", "LossSpec", "variance_of"]


class LossSpec(SpecModel):
    """Per example: base + alpha * divergence, or the convex sum of the two. Without a divergence, alpha is 0."""

    base: BaseSpec = HalfSquaredErrorSpec()
    alpha: Annotated[Number, Field(ge=0.0, le=1e9)] | AlphaSpec = 0.01
    """Weight of the divergence, a number or a schedule; carries the base's units over the divergence's (none)."""
    # Left out of the canonical text when it is `add`: specs from before it existed keep their text and digest.
    combine: Annotated[Literal["add", "convex"], Field(exclude_if=lambda value: value == "add")] = "add"
    """`add`: base + alpha * divergence; `convex`: (1 - alpha) * base + alpha * divergence, alpha below 1."""
    alpha_units: Annotated[Literal["none", "sigma2"] | None, Field(exclude_if=lambda value: value is None)] = None
    """`sigma2`: alpha times the sigma2 of the batch weighs the divergence, so that alpha itself is the ratio that the
    article's bounds speak of. Not given: `sigma2` for a sum with variance `residual`, whose sigma2 shrinks in mid-run,
    else `none`."""
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
        if filled.get("combine") != "convex" and _variance_kind(filled.get("divergence")) == "residual":
            filled.setdefault("alpha_units", "sigma2")
        return filled

    @model_validator(mode="after")
    def _parts_fit(self) -> LossSpec:
        if self.divergence is not None:
            reason = misfit_of_divergence(self.base, self.divergence)
            if reason is not None:
                raise PydanticCustomError("loss_parts", "{reason}", {"reason": reason})
        elif largest_alpha(self.alpha) != 0.0:
            raise PydanticCustomError(
                "loss_parts", "alpha weighs a divergence, and there is none: set alpha to 0 or choose a divergence"
            )
        if self.combine == "convex" and largest_alpha(self.alpha) >= 1.0:
            raise PydanticCustomError(
                "loss_parts", "combine convex keeps 1 - alpha of the base: choose alpha below 1, or combine add"
            )
        if self.alpha_units == "sigma2":
            self._check_units()
        return self

    def _check_units(self) -> None:
        if self.combine == "convex":
            raise PydanticCustomError(
                "loss_parts", "combine convex needs an alpha below 1, and alpha_units sigma2 does not bound it"
            )
        if variance_of(self.divergence) is None or isinstance(self.divergence, TeacherSpec | TwinSpec):
            raise PydanticCustomError(
                "loss_parts", "alpha_units sigma2 needs a divergence with a variance of residuals"
            )


def variance_of(divergence: DivergenceSpec | None) -> VarianceSpec | None:
    """Where a divergence's sigma2 comes from; None for one that has none."""
    return getattr(divergence, "variance", None)


def _variance_kind(divergence: Any) -> str | None:
    """Of a divergence that may be a document or a spec."""
    variance = divergence.get("variance") if isinstance(divergence, dict) else getattr(divergence, "variance", None)
    return variance.get("kind") if isinstance(variance, dict) else getattr(variance, "kind", None)
