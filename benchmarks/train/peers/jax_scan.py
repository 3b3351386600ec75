"""JAX: one epoch as one `lax.scan` over its full batches and a last step for the rest, optax's Adam, compiled whole.

Validation runs on the device after each epoch; nothing is waited for before the epoch's numbers are there.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import optax
from jax import numpy as jnp

from benchmarks.train.harness import ALPHA, BATCH_SIZE, EPSILON, LEARNING_RATE, Clock, Job, Weights, main

__all__ = ["train"]

_OPTIMIZER = optax.adam(LEARNING_RATE, eps=EPSILON)


def forward(weights: Any, x: jax.Array) -> jax.Array:
    """Raw outputs."""
    hidden, hidden_bias, output, output_bias = weights
    return jax.nn.relu(x @ hidden.T + hidden_bias) @ output.T + output_bias


def soft_loss(weights: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    """The article's section 4."""
    prediction = forward(weights, x)
    squared = jnp.square(y - prediction).sum(axis=1)
    variance = jnp.square(prediction).mean()
    return (squared / 2 + ALPHA * 0.5 * (jnp.log(variance) + squared / variance - 1)).mean()


def step(state: Any, batch: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
    """One batch."""
    weights, moments = state
    loss, gradient = jax.value_and_grad(soft_loss)(weights, *batch)
    updates, moments = _OPTIMIZER.update(gradient, moments, weights)
    return (optax.apply_updates(weights, updates), moments), loss


@jax.jit
def epoch(state: Any, x: jax.Array, y: jax.Array, order: jax.Array) -> tuple[Any, jax.Array]:
    """All batches of one order; the mean loss."""
    x, y = x[order], y[order]
    full = len(x) // BATCH_SIZE
    batches = tuple(part[: full * BATCH_SIZE].reshape(full, BATCH_SIZE, -1) for part in (x, y))
    state, losses = jax.lax.scan(step, state, batches)
    total = losses.sum() * BATCH_SIZE
    rest = len(x) - full * BATCH_SIZE
    if rest:
        state, last = step(state, (x[-rest:], y[-rest:]))
        total = total + last * rest
    return state, total / len(x)


@jax.jit
def validate(weights: Any, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Loss and accuracy."""
    return soft_loss(weights, x, y), (forward(weights, x).argmax(axis=1) == y.argmax(axis=1)).mean()


def train(job: Job, clock: Clock) -> Weights:
    """Epoch after epoch, with their metrics on the host."""
    classes = np.eye(10, dtype=np.float32)
    x, y = jnp.asarray(job.x), jnp.asarray(classes[job.y])
    x_validation, y_validation = jnp.asarray(job.x_validation), jnp.asarray(classes[job.y_validation])
    weights = tuple(jnp.asarray(given) for given in job.weights)
    state = (weights, _OPTIMIZER.init(weights))
    history = []
    for order in job.order:
        state, loss = epoch(state, x, y, jnp.asarray(order))
        history.append([float(value) for value in (loss, *validate(state[0], x_validation, y_validation))])
        clock.epoch_ended()
    hidden, hidden_bias, output, output_bias = (np.asarray(part) for part in state[0])
    return hidden, hidden_bias, output, output_bias


if __name__ == "__main__":
    main(train)
