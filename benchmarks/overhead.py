"""What a soft loss costs: a training step with each divergence against the same step with the base alone.

    make bench-overhead
    python -m benchmarks.overhead [--rounds 25] [--tiers eager compiled] [--widths 64 1024] [--kinds article ...]

The article's job, and the same with a hidden layer of 1024. All losses of one base are trained in turn in one process,
an epoch each and many rounds, by processor time. An epoch's steps with all that they do unasked are timed: what is
logged, the term ledger, which needs a divergence, and the order of the rows; not validation and the best state, which
follow them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.report import RESULTS, asked, median, write
from softreg_core.data.sample import load_sample
from softreg_core.data.tabular import prepare
from softreg_core.engine.run import Run
from softreg_core.engine.tiers.choose import choose
from softreg_core.errors import SpecError
from softreg_core.spec import TrainSpec, resolve

ALPHA = 0.01
SQUARED, ENTROPY = "half_squared_error", "cross_entropy"


class Kind(NamedTuple):
    """How a divergence is measured."""

    base: str
    options: Mapping[str, Any] = {}
    dropout: float = 0.0


KINDS: dict[str, Kind] = {
    "article": Kind(SQUARED),
    "inflation": Kind(SQUARED),
    "sample_program": Kind(SQUARED),
    "gaussian": Kind(SQUARED),
    "cauchy": Kind(SQUARED),
    "geman_mcclure": Kind(SQUARED),
    "welsch": Kind(SQUARED),
    "categorical": Kind(ENTROPY),
    "uniform": Kind(ENTROPY),
    "twin": Kind(ENTROPY, dropout=0.1),  # without it two passes are the same
    "teacher": Kind(ENTROPY, {"source": {"kind": "ema"}}),
}
"""Each divergence, and the base that it is measured beside."""
UNBOUNDED = ("twin", "teacher")
"""They take a second pass through a network: no bound was asked."""
BOUNDS = {
    ("eager", 64): "<= 1.15",
    ("eager", 1024): "<= 1.03",
    ("compiled", 64): "<= 1.03",
    ("compiled", 1024): "<= 1.03",
}
_WARM_UP = 2
# An epoch of a compiled program is over in a millisecond.
_EPOCHS = {"eager": 1, "compiled": 10}
_FOREVER = 100_000


@dataclass
class Side:
    """A run, and the microseconds of a step that each round found."""

    run: Run
    epochs: int
    step_us: list[float] = field(default_factory=list)

    def take_round(self) -> None:
        """Some epochs; what follows the steps of one is not timed."""
        taken = 0.0
        for _ in range(self.epochs):
            started = time.process_time()
            for _ in self.run.train_epoch(_never):
                pass
            taken += time.process_time() - started
            self.run.end_epoch(keep_step_losses=False)
        self.step_us.append(taken / (self.epochs * self.run.steps_per_epoch) * 1e6)


def side(tier: str, width: int, dropout: float, loss: dict[str, Any], *, has_ledger: bool = True) -> Side:
    """A run of the article's job that is about to begin.

    Raises:
        RuntimeError: the tier cannot run it here.
        SpecError: it cannot run it anywhere.
    """
    digits = load_sample("digits")
    training = {"epochs": _FOREVER, "batch_size": 32, "engine": tier}
    document = {
        "net": {"kind": "mlp", "hidden": [width], "dropout": dropout},
        "optimizer": {"kind": "adam"},
        "training": training if has_ledger else training | {"gradient_terms": "none"},
        "loss": loss,
    }
    spec = resolve(TrainSpec.model_validate(document), digits.report).spec
    run = Run(spec, prepare(spec, digits), torch.device("cpu"))
    run.chosen = choose(run.job)
    if run.chosen.tier != tier:
        raise RuntimeError(run.chosen.reason)
    return Side(run, _EPOCHS[tier])


def measured(tier: str, width: int, kinds: Sequence[str], rounds: int) -> Iterator[dict[str, Any]]:
    """A row for each divergence that the tier can run; all are trained in turn."""
    pairs = dict.fromkeys((KINDS[kind].base, KINDS[kind].dropout) for kind in kinds)
    alone = {
        (base, dropout): side(tier, width, dropout, {"base": {"kind": base}, "divergence": None})
        for base, dropout in pairs
    }
    soft: dict[str, Side] = {}
    without: dict[str, Side] = {}
    for kind in kinds:
        base, options, dropout = KINDS[kind]
        loss = {"base": {"kind": base}, "alpha": ALPHA, "divergence": {"kind": kind, **options}}
        try:
            soft[kind] = side(tier, width, dropout, loss)
        except (RuntimeError, SpecError) as error:
            print(f"{tier}, {kind}: {error}", file=sys.stderr)
            continue
        if tier == "eager":
            without[kind] = side(tier, width, dropout, loss, has_ledger=False)
    for _ in range(_WARM_UP + rounds):
        for one in (*alone.values(), *soft.values(), *without.values()):
            one.take_round()
    for kind, one in soft.items():
        base, _, dropout = KINDS[kind]
        plain = alone[base, dropout]
        yield {
            "tier": tier,
            "width": width,
            "base": base,
            "base_alone_us": median(plain.step_us[_WARM_UP:]),
            "divergence": kind,
            "step_us": median(one.step_us[_WARM_UP:]),
            "ratio": _ratio(one, plain),
            "ratio_without_ledger": _ratio(without[kind], plain) if kind in without else None,
        }


def _ratio(one: Side, other: Side) -> float:
    """Taken within each round, which the same neighbours on the machine disturb."""
    pairs = zip(one.step_us[_WARM_UP:], other.step_us[_WARM_UP:], strict=True)
    return median(mine / theirs for mine, theirs in pairs)


def bounds(rows: Sequence[dict[str, Any]], tiers: Sequence[str], widths: Sequence[int]) -> Iterator[dict[str, Any]]:
    """The dearest divergence of each tier and width against what was asked."""
    for tier in tiers:
        for width in widths:
            bound = BOUNDS.get((tier, width))
            group = [row for row in rows if (row["tier"], row["width"]) == (tier, width)]
            group = [row for row in group if row["divergence"] not in UNBOUNDED]
            if bound is None:
                continue
            worst = max(group, key=lambda row: float(row["ratio"]), default=None)
            what = f"{tier}, width {width}: a soft step over a plain one, dearest of {len(group)}"
            named = what if worst is None else f"{what} ({worst['divergence']})"
            yield asked(named, bound, None if worst is None else worst["ratio"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=25, help="epochs of each loss, in turn")
    parser.add_argument("--tiers", nargs="+", default=["eager", "compiled"], choices=["eager", "compiled"])
    parser.add_argument("--widths", nargs="+", type=int, default=[64, 1024], help="of the hidden layer")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS), help="divergences")
    parser.add_argument("--folder", type=Path, default=None, help="for the results")
    options = parser.parse_args(arguments)
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # as `train` does for steps of this size
    try:
        rows = [
            row
            for tier in options.tiers
            for width in options.widths
            for row in measured(tier, width, options.kinds, options.rounds)
        ]
    finally:
        torch.set_num_threads(before)
    is_whole = options.kinds == list(KINDS) and len(options.tiers) == len(options.widths) == 2
    write(
        "overhead",
        [*rows, *bounds(rows, options.tiers, options.widths)],
        command="make bench-overhead",
        notes=[
            f"Medians over {options.rounds} rounds in turn, one thread, microseconds of processor time; ratios are "
            "taken within a round.",
            "A step with all that is done unasked: what is logged, the rows' order, and once an epoch of 45 steps the "
            "term ledger, two backward passes more that only a loss with a divergence has.",
            "twin takes two passes through the network and the teacher is a second network: no bound was asked.",
        ],
        folder=options.folder or (RESULTS if is_whole else RESULTS / "partial"),
    )


def _never() -> None:
    return None


if __name__ == "__main__":
    main()
