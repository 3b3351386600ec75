"""What is added to the loss, or done to a batch, so that a network does not learn its rows by heart.

One family per file; `softreg_core.spec.penalties` says which are on.
"""

from softreg_core.penalties.mixing import Mixing, mixing_of
from softreg_core.penalties.noise import noisy
from softreg_core.penalties.smoothing import SMOOTHED_BASES, smoothing
from softreg_core.penalties.weights import l1, l2

__all__ = ["SMOOTHED_BASES", "Mixing", "l1", "l2", "mixing_of", "noisy", "smoothing"]
