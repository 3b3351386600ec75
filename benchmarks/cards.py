"""Puts the plot of each divergence, and what was measured of it, into its method card.

    make cards

The plots are of l(d) and its gradient for three settings, drawn from softreg_core.curves; what was measured comes from
docs/methods/measured.json (`make bench-methods`). Everything between the two comment lines of a card is written anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

from softreg_core.curves import curve_over_probability, curve_over_residual
from softreg_core.spec import LossSpec

CARDS = Path(__file__).parents[1] / "docs" / "methods"
BEGIN, END = "<!-- made by `make cards` -->", "<!-- end -->"
SQUARED = {"kind": "half_squared_error"}
ENTROPY = {"kind": "cross_entropy"}
SETTINGS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    kind: [(f"alpha = {alpha:g}", {"base": SQUARED, "divergence": {"kind": kind}, "alpha": alpha}) for alpha in alphas]
    for kind, alphas in {
        "article": (1.0, 2.638, 6.0),
        "inflation": (1.0, 4.0, 12.0),
        "gaussian": (0.5, 1.0, 2.0),
        "cauchy": (1.0, 4.0, 12.0),
        "geman_mcclure": (1.0, 4.0, 12.0),
        "welsch": (1.0, 4.0, 12.0),
    }.items()
} | {
    "categorical": [
        (direction, {"base": ENTROPY, "divergence": {"kind": "categorical", "direction": direction}, "alpha": 1.0})
        for direction in ("prediction_to_target", "target_to_prediction", "jensen_shannon")
    ],
    "uniform": [
        (f"alpha = {alpha:g}", {"base": ENTROPY, "divergence": {"kind": "uniform"}, "alpha": alpha})
        for alpha in (0.1, 0.5, 2.0)
    ],
}


def plot(kind: str) -> None:
    """L and dl/dr over the residual, or over the probability of the true class, beside the base alone."""
    settings = SETTINGS[kind]
    is_residual = settings[0][1]["base"] is SQUARED
    x = np.linspace(-6.0, 6.0, 601) if is_residual else np.linspace(0.005, 0.995, 400)
    alone = ("base alone", {"base": settings[0][1]["base"], "divergence": None, "alpha": 0.0})
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    for label, loss in (alone, *settings):
        spec = LossSpec.model_validate(loss)
        curve = curve_over_residual(spec, x) if is_residual else curve_over_probability(spec, x, 10)
        style: dict[str, Any] = {"color": "0.6", "linestyle": "--"} if label == alone[0] else {}
        axes[0].plot(x, curve.loss, label=label, **style)
        axes[1].plot(x, curve.gradient, **style)
    over = "residual r, sigma2 = 1" if is_residual else "probability p of the true class, 10 classes"
    for axis, name in zip(axes, ("loss", "gradient"), strict=True):
        axis.set_xlabel(over)
        axis.set_title(name)
        axis.grid(alpha=0.3)
    if not is_residual:
        axes[1].set_ylim(-12.0, 4.0)
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
    lines = [
        f"**Measured** ({facts['date']}, `make bench-methods`; {rows[0]['seeds']} seeds, 200 training rows, 64 hidden "
        f"units, {facts['epochs']} epochs; alpha chosen on validation rows, the gain on clean test rows with its 95 % "
        "interval):",
        "",
        "| task | metric | base alone | gain | alpha taken (median) | verdict |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        tried = ", ".join(f"{alpha:g}" for alpha in row["alphas_tried"])
        low, high = row["gain"] - row["half_interval"], row["gain"] + row["half_interval"]
        verdict = "helped" if low > 0 else "hurt" if high < 0 else "no difference shown"
        lines.append(
            f"| {facts['tasks'][row['task']]} | {row['metric']} | {row['base_alone']:.3f} | {row['gain']:+.4f} "
            f"[{low:+.4f}, {high:+.4f}] | {row['alpha_median']:g} of {tried} "
            f"| {verdict} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Write plots and cards."""
    mpl.use("svg")
    plt.rcParams["svg.hashsalt"] = "softreg"
    kinds = {row["method"] for row in json.loads((CARDS / "measured.json").read_text())["rows"]}
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
