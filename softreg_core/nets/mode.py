"""Training or evaluation, for a network that changes between them every epoch."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from torch import nn

__all__ = ["set_mode"]

# A network's modules are what they were when it was built; walking over them takes longer than a small layer.
_FOUND: WeakKeyDictionary[nn.Module, tuple[nn.Module, ...]] = WeakKeyDictionary()


def set_mode(module: nn.Module, *, is_training: bool) -> None:
    """What `module.train(is_training)` does, without asking each module for its children anew."""
    if module not in _FOUND:
        _FOUND[module] = tuple(part for part in module.modules() if part is not module)
    # Past `nn.Module.__setattr__`, which looks whether a flag may be a parameter.
    vars(module)["training"] = is_training
    for part in _FOUND[module]:
        vars(part)["training"] = is_training
