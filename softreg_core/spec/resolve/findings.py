"""What a look at spec and report brings up: problems that refuse the job, and advice that goes with it."""

from __future__ import annotations

from collections.abc import Iterable

from softreg_core.errors import Problem, SpecError
from softreg_core.spec.advice import Advice

__all__ = ["Findings"]


class Findings:
    """Problems and advice, in the order in which they were found."""

    def __init__(self, advice: Iterable[Advice] = ()) -> None:
        self.problems: list[Problem] = []
        self.advice: list[Advice] = list(advice)

    def refuse(self, pointer: str, message: str) -> None:
        """Note a reason to refuse the job; the search goes on."""
        self.problems.append(Problem(pointer, message))

    def advise(self, code: str, pointer: str, message: str) -> None:
        """Note what is legal and may surprise."""
        self.advice.append(Advice(code, pointer, message))

    def refusal(self) -> SpecError:
        """All problems as one error."""
        count = len(self.problems)
        return SpecError(f"the job does not fit its dataset: {count} problem{'s' * (count > 1)}", self.problems)
