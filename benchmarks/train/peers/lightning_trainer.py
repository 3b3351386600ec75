"""Lightning: a LightningModule that logs loss and accuracy of both parts each epoch, DataLoaders, and a Trainer.

Progress bar, summary, checkpoints and the logger's file are off: all that Lightning does between two steps then is what
it cannot leave out.
"""

from __future__ import annotations

import logging
import warnings

import lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.train.harness import BATCH_SIZE, EPSILON, LEARNING_RATE, Clock, Job, Weights, main
from benchmarks.train.peers.plain import make_net, soft_loss, weights_of

__all__ = ["train"]


class SoftRegularized(lightning.LightningModule):
    """Network, loss, optimiser and metrics."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Raw outputs."""
        return self.net(x)

    def _step(self, batch: list[Tensor], part: str) -> Tensor:
        x, y = batch
        outputs = self(x)
        loss = soft_loss(outputs, nn.functional.one_hot(y, 10).float())
        self.log(f"{part}_loss", loss, on_step=False, on_epoch=True)
        self.log(f"{part}_accuracy", (outputs.argmax(dim=1) == y).float().mean(), on_step=False, on_epoch=True)
        return loss

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        """One batch."""
        return self._step(batch, "train")

    def validation_step(self, batch: list[Tensor], _: int) -> None:
        """One batch."""
        self._step(batch, "val")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam as torch gives it."""
        return torch.optim.Adam(self.parameters(), lr=LEARNING_RATE, eps=EPSILON)


class Timed(lightning.Callback):
    """Tells the clock after training and validation of an epoch."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def on_train_epoch_end(self, *_: object) -> None:
        """Validation ran before it."""
        self._clock.epoch_ended()


def loader(x: object, y: object, *, is_shuffled: bool) -> DataLoader[tuple[Tensor, ...]]:
    """Of arrays."""
    return DataLoader(TensorDataset(torch.from_numpy(x), torch.from_numpy(y)), BATCH_SIZE, shuffle=is_shuffled)


def train(job: Job, clock: Clock) -> Weights:
    """`Trainer.fit`."""
    module = SoftRegularized(make_net(job))
    trainer = lightning.Trainer(
        max_epochs=job.epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[Timed(clock)],
    )
    trainer.fit(
        module,
        loader(job.x, job.y, is_shuffled=True),
        loader(job.x_validation, job.y_validation, is_shuffled=False),
    )
    return weights_of(module.net)


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")  # of few workers in a DataLoader: none is faster here
    main(train)
