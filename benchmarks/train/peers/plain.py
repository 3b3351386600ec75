"""The bare torch loop: resident tensors, one permutation an epoch, slices, fused Adam; no metrics, no validation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.train.harness import ALPHA, BATCH_SIZE, EPSILON, LEARNING_RATE, Clock, Job, Weights, main

__all__ = ["make_net", "soft_loss", "train", "weights_of"]


def soft_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """The article's section 4: half squared error + alpha K, the variance taken of the batch's predictions."""
    squared = (target - prediction).square().sum(dim=1)
    variance = prediction.square().mean()
    return (squared / 2 + ALPHA * 0.5 * (variance.log() + squared / variance - 1)).mean()


def make_net(job: Job) -> nn.Sequential:
    """Dense 64 relu, Dense 10, from the job's weights."""
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    with torch.no_grad():
        for parameter, given in zip(net.parameters(), job.weights, strict=True):
            parameter.copy_(torch.from_numpy(given))
    return net


def weights_of(net: nn.Module) -> Weights:
    """As arrays."""
    hidden, hidden_bias, output, output_bias = (parameter.detach().numpy() for parameter in net.parameters())
    return hidden, hidden_bias, output, output_bias


def train(job: Job, clock: Clock) -> Weights:
    """The loop."""
    net = make_net(job)
    optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE, eps=EPSILON, fused=True)
    x = torch.from_numpy(job.x)
    y = nn.functional.one_hot(torch.from_numpy(job.y), 10).float()
    for order in torch.from_numpy(job.order):
        x_shuffled, y_shuffled = x[order], y[order]
        for start in range(0, len(x), BATCH_SIZE):
            batch = slice(start, start + BATCH_SIZE)
            loss = soft_loss(net(x_shuffled[batch]), y_shuffled[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        clock.epoch_ended()
    return weights_of(net)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(train)
