"""Who is compared, and what is asked of whom."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ASKED", "SIDES", "Asked", "Side"]

_PEERS = "benchmarks.train.peers"


@dataclass(frozen=True)
class Side:
    """A module that is run with the job, and how its outcome is judged."""

    title: str
    module: tuple[str, ...]
    """Its name, and arguments before the job's."""
    is_peer: bool
    """Runs in the peers' environment."""
    has_same_order: bool
    """Sees the rows in the job's own order; the others shuffle by themselves."""
    repeats: int = 1
    """Whole runs in one process, of which the median is taken; more where one is short."""


SIDES = {
    "eager": Side("softreg, eager", ("benchmarks.train.ours", "eager"), False, True, 2),
    "compiled": Side("softreg, compiled", ("benchmarks.train.ours", "compiled"), False, True, 5),
    "auto": Side("softreg, auto", ("benchmarks.train.ours", "auto"), False, True, 2),
    "pack_alphas": Side("softreg, 64 alphas packed, eager", ("benchmarks.train.packs", "alphas"), False, True),
    "pack_learning_rates": Side(
        "softreg, 64 learning rates packed, eager", ("benchmarks.train.packs", "learning_rates"), False, True
    ),
    "pack_folds": Side("softreg, 5 folds x 13 seeds packed, eager", ("benchmarks.train.packs", "folds"), False, True),
    "pack_seeds": Side("softreg, 64 seeds packed, eager", ("benchmarks.train.packs", "seeds"), False, True),
    "pack_dropout": Side(
        "softreg, 64 seeds with dropout packed, eager", ("benchmarks.train.packs", "dropout"), False, True
    ),
    "plain": Side("bare torch loop, fused Adam, no metrics", (f"{_PEERS}.plain",), False, True, 2),
    "keras": Side("Keras on TensorFlow", (f"{_PEERS}.keras_fit",), True, False),
    "lightning": Side("Lightning", (f"{_PEERS}.lightning_trainer",), True, False),
    "skorch": Side("skorch", (f"{_PEERS}.skorch_net",), True, False),
    "jax": Side("JAX, an epoch as a scan", (f"{_PEERS}.jax_scan",), True, True, 5),
}


@dataclass(frozen=True)
class Asked:
    """A line of the table of what is to be reached."""

    ours: str
    theirs: str
    wanted: str
    is_whole: bool = False
    """Whether whole runs are compared, from the call to the end of the last epoch, the first of a process."""

    @property
    def what(self) -> str:
        """In words."""
        of = ", whole runs" if self.is_whole else ""
        return f"{SIDES[self.ours].title} / {SIDES[self.theirs].title}{of}"


ASKED = (
    Asked("eager", "keras", ">= 5"),
    Asked("eager", "lightning", ">= 2"),
    Asked("eager", "skorch", ">= 2.5"),
    Asked("eager", "plain", ">= 0.9"),
    Asked("compiled", "keras", ">= 40"),
    Asked("compiled", "lightning", ">= 20"),
    Asked("compiled", "jax", ">= 0.6"),
    Asked("pack_alphas", "plain", ">= 11"),
    Asked("pack_alphas", "keras", ">= 60"),
    Asked("pack_learning_rates", "plain", ">= 6"),
    Asked("pack_folds", "plain", ">= 6"),
    Asked("pack_seeds", "plain", ">= 6"),
    Asked("pack_dropout", "plain", ">= 6"),
    Asked("auto", "eager", ">= 0.95", is_whole=True),
)
