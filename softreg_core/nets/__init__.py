"""Networks, built from a spec with initial weights that only the seed decides."""

from softreg_core.nets.mode import set_mode
from softreg_core.nets.registry import build_net

__all__ = ["build_net", "set_mode"]
