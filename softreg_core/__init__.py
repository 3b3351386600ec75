"""The training core: specs, losses, nets, the engine; usable alone in a notebook, with no service around it.

Importing this package never imports torch, so that the API can read job specs without it. `load` is
resolved on first use and needs the `core` extra.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from softreg_core.export.load import load as load

__all__ = ["__version__", "load"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import `load` when it is first asked for (PEP 562)."""
    if name == "load":
        import importlib

        # By name: a static import here would let the linter draw an edge from this torch-free root to torch.
        return importlib.import_module("softreg_core.export.load").load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
