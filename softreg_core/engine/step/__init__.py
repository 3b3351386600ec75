"""One optimiser step: a `Stepper` has a network, its loss and its optimiser.

`objective` says what is minimised, by a `forward` pass over rows that may be perturbed (`perturb`) or compared with
another model's (`beside`); `terms` is what that gives. `gradient` finds the gradients, by autograd (`backward`) or by a
loss's closed form, and `optimizer` takes them, by torch's kernels (`fused`); `average` follows the weights.
"""
