"""Puts the plot of each divergence, and what was measured of it, into its method card.

    make cards

The plots are of l(d) and its gradient for three settings, drawn from softreg_core.curves; what was measured comes from
docs/methods/measured.json (`make bench-methods`). Everything between the two comment lines of a card is written anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

from benchmarks.methods import RIVALS
from softreg_core.curves import Curve, curve_over_probability, curve_over_residual
from softreg_core.spec import LossSpec

CARDS = Path(__file__).parents[1] / "docs" / "methods"
BEGIN, END = "<!-- made by `make cards` -->", "<!-- end -->"
_NAMES = {"l2": "for comparison: l2", "dropout": "for comparison: dropout"}
SQUARED = {"kind": "half_squared_error"}
ENTROPY = {"kind": "cross_entropy"}
Draw = Callable[[Any], Curve]
_RESIDUAL, _PROBABILITY = "residual r, sigma2 = 1", "probability p of the true class, 10 classes"


def over_residual(loss: dict[str, Any], sigma2: float | None = None) -> Draw:
    """A curve of a spec over the residual."""
    return lambda r: curve_over_residual(LossSpec.model_validate(loss), r, sigma2=sigma2)


def over_probability(loss: dict[str, Any]) -> Draw:
    """A curve of a spec over the probability of the true class."""
    return lambda p: curve_over_probability(LossSpec.model_validate(loss), p, 10)


def beside(other: float, alpha: float, *, is_symmetric: bool) -> Draw:
    """Cross-entropy beside another distribution that gives the true class `other`; the rest is shared equally."""

    def draw(p: Any) -> Curve:
        there = other * np.log(other / p) + (1.0 - other) * np.log((1.0 - other) / (1.0 - p))
        back = p * np.log(p / other) + (1.0 - p) * np.log((1.0 - p) / (1.0 - other))
        total = -np.log(p) + alpha * (0.5 * (there + back) if is_symmetric else there)
        return Curve(total, np.gradient(total, p))

    return draw


ALONE = {
    _RESIDUAL: over_residual({"base": SQUARED, "divergence": None, "alpha": 0.0}),
    _PROBABILITY: over_probability({"base": ENTROPY, "divergence": None, "alpha": 0.0}),
}
SETTINGS: dict[str, tuple[str, list[tuple[str, Draw]]]] = {
    kind: (
        _RESIDUAL,
        [
            (f"alpha = {alpha:g}", over_residual({"base": SQUARED, "divergence": {"kind": kind}, "alpha": alpha}))
            for alpha in alphas
        ],
    )
    for kind, alphas in {
        "article": (1.0, 2.638, 6.0),
        "inflation": (1.0, 4.0, 12.0),
        "gaussian": (0.5, 1.0, 2.0),
        "cauchy": (1.0, 4.0, 12.0),
        "geman_mcclure": (1.0, 4.0, 12.0),
        "welsch": (1.0, 4.0, 12.0),
    }.items()
} | {
    "sample_program": (
        "residual r, alpha = 1",
        [
            (
                f"mean of yhat^2 = {s:g}",
                over_residual({"base": SQUARED, "divergence": {"kind": "sample_program"}, "alpha": 1.0}, s),
            )
            for s in (0.25, 1.0, 4.0)
        ],
    ),
    "categorical": (
        _PROBABILITY,
        [
            (
                direction,
                over_probability(
                    {"base": ENTROPY, "divergence": {"kind": "categorical", "direction": direction}, "alpha": 1.0}
                ),
            )
            for direction in ("prediction_to_target", "target_to_prediction", "jensen_shannon")
        ],
    ),
    "uniform": (
        _PROBABILITY,
        [
            (
                f"alpha = {alpha:g}",
                over_probability({"base": ENTROPY, "divergence": {"kind": "uniform"}, "alpha": alpha}),
            )
            for alpha in (0.1, 0.5, 2.0)
        ],
    ),
    "teacher": (
        _PROBABILITY,
        [(f"teacher says {other:g}, alpha = 1", beside(other, 1.0, is_symmetric=False)) for other in (0.2, 0.6, 0.95)],
    ),
    "twin": (
        _PROBABILITY,
        [
            (f"other pass says {other:g}, alpha = 2", beside(other, 2.0, is_symmetric=True))
            for other in (0.2, 0.6, 0.95)
        ],
    ),
}


def plot(kind: str) -> None:
    """L and its gradient over the residual, or over the probability of the true class, beside the base alone."""
    over, settings = SETTINGS[kind]
    is_residual = over.startswith("residual")
    x = np.linspace(-6.0, 6.0, 601) if is_residual else np.linspace(0.005, 0.995, 400)
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    base = axes[0].plot(x, ALONE[_RESIDUAL if is_residual else _PROBABILITY](x).loss, color="0.6", linestyle="--")[0]
    base.set_label("base alone")
    axes[1].plot(x, ALONE[_RESIDUAL if is_residual else _PROBABILITY](x).gradient, color="0.6", linestyle="--")
    for label, draw in settings:
        curve = draw(x)
        axes[0].plot(x, curve.loss, label=label)
        axes[1].plot(x, curve.gradient)
    for axis, name in zip(axes, ("loss", "gradient"), strict=True):
        axis.set_xlabel(over)
        axis.set_title(name)
        axis.grid(alpha=0.3)
    if is_residual:
        axes[0].set_ylim(-3.0, 20.0)
        axes[1].set_ylim(-8.0, 8.0)
    else:
        axes[0].set_ylim(-1.0, 6.0)
        axes[1].set_ylim(-12.0, 6.0)
    axes[0].legend(fontsize=8)
    # No date in the file: the same curves give the same bytes.
    figure.savefig(CARDS / f"{kind}.svg", metadata={"Date": None})
    plt.close(figure)


def measured(kind: str) -> str:
    """What was measured, as a table and a sentence."""
    facts = json.loads((CARDS / "measured.json").read_text())
    rows = [row for row in facts["rows"] if row["method"] == kind]
    if not rows:
        return ""
    tasks = {row["task"] for row in rows}
    rivals = [row for row in facts["rows"] if row["method"] in RIVALS and row["task"] in tasks]
    lines = [
        f"**Measured** ({facts['date']}, `make bench-methods`; {rows[0]['seeds']} seeds, 200 training rows of the "
        f"digits and 155 of diabetes, 64 hidden units, {facts['epochs']} epochs; alpha chosen on validation rows, the "
        "gain over the base alone on clean test rows with its 95 % interval; of the "
        f"{len(facts['rows'])} comparisons in these cards, two or three would leave their interval by chance; epochs, "
        "seeds, alphas and the noise on diabetes were set anew after a first look at test figures of `article`):",
        "",
        "| method | base | task | metric | base alone | gain | taken (median) | verdict |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in [*rows, *rivals]:
        tried = ", ".join(f"{alpha:g}" for alpha in row["alphas_tried"])
        low, high = row["gain"] - row["half_interval"], row["gain"] + row["half_interval"]
        verdict = "helped" if low > 0 else "hurt" if high < 0 else "no difference shown"
        lines.append(
            f"| {_NAMES.get(row['method'], kind)} | {row['base']} | {facts['tasks'][row['task']]} | {row['metric']} "
            f"| {row['base_alone']:.3f} | {row['gain']:+.4f} "
            f"[{low:+.4f}, {high:+.4f}] | {row['alpha_median']:g} of {tried} "
            f"| {verdict} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Write plots and cards."""
    mpl.use("svg")
    plt.rcParams["svg.hashsalt"] = "softreg"
    found = {row["method"] for row in json.loads((CARDS / "measured.json").read_text())["rows"]}
    kinds = found - RIVALS.keys()
    for kind in sorted(kinds | SETTINGS.keys()):
        parts = [BEGIN]
        if kind in SETTINGS:
            plot(kind)
            parts.append(f"![loss and gradient of {kind}]({kind}.svg)")
        parts.append(measured(kind))
        text = "\n\n".join(part for part in (*parts, END) if part)
        card = CARDS / f"{kind}.md"
        old = card.read_text()
        if BEGIN in old:
            before, _, rest = old.partition(BEGIN)
            card.write_text(before + text + rest.partition(END)[2])
        else:
            before, source, rest = old.partition("**Source.**")
            card.write_text(f"{before}{text}\n\n{source}{rest}")


if __name__ == "__main__":
    main()
