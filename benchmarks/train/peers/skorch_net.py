"""skorch: NeuralNetClassifier with its own callbacks (timer, both losses, validation accuracy), nothing printed."""

from __future__ import annotations

import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from skorch.dataset import Dataset
from skorch.helper import predefined_split
from torch import Tensor, nn

from benchmarks.train.harness import BATCH_SIZE, EPSILON, LEARNING_RATE, Clock, Job, Weights, main
from benchmarks.train.peers.plain import make_net, soft_loss, weights_of

__all__ = ["train"]


class SoftLoss(nn.Module):
    """The criterion, of class codes."""

    def forward(self, outputs: Tensor, codes: Tensor) -> Tensor:
        """The batch's mean."""
        return soft_loss(outputs, nn.functional.one_hot(codes, 10).float())


class Timed(Callback):
    """Tells the clock."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_epoch_end(self, *_: object, **__: object) -> None:
        """Validation ran before it."""
        self.clock.epoch_ended()


def train(job: Job, clock: Clock) -> Weights:
    """`fit`."""
    net = NeuralNetClassifier(
        make_net(job),
        criterion=SoftLoss,
        optimizer=torch.optim.Adam,
        lr=LEARNING_RATE,
        optimizer__eps=EPSILON,
        batch_size=BATCH_SIZE,
        max_epochs=job.epochs,
        iterator_train__shuffle=True,
        train_split=predefined_split(Dataset(job.x_validation, job.y_validation)),
        callbacks=[("timed", Timed(clock))],
        verbose=0,
    )
    net.fit(job.x, job.y)
    return weights_of(net.module_)


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    main(train)
