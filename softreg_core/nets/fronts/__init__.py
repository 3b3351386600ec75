"""From the tensors of a batch to what the body of a network takes: flat rows, steps with a mask, or a map."""

from softreg_core.nets.fronts.kinds import flat_front, map_front, step_front

__all__ = ["flat_front", "map_front", "step_front"]
