#!/usr/bin/env python3
"""Train a small convolutional network with PyTorch Lightning; whatever kills it, it goes on.

By hand:          python train.py --epochs 3
By a worker:      asyncflow run --gpus 1 -- python train.py --epochs 3
The data are images of ten made-up classes, so nothing has to be downloaded.
"""

import argparse
import time

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from asyncflow import task
from asyncflow.integrations.lightning import AsyncflowCallback, saved_checkpoint

CLASSES, SIDE = 10, 16


def images(count, seed):
    """Noisy pictures of ten patterns, the same for every seed."""
    patterns = torch.rand(CLASSES, SIDE, SIDE, generator=torch.Generator().manual_seed(7))
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (count,), generator=random)
    noise = torch.randn(count, SIDE, SIDE, generator=random)
    return TensorDataset((patterns[labels] + 0.6 * noise).unsqueeze(1), labels)


class Network(pl.LightningModule):
    def __init__(self, lr, pace):
        super().__init__()
        self.save_hyperparameters()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(16 * (SIDE // 2) ** 2, CLASSES),
        )

    def training_step(self, batch, _index):
        time.sleep(self.hparams.pace)
        loss = nn.functional.cross_entropy(self.layers(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def on_train_start(self):
        print("begins at step %d" % self.global_step, flush=True)

    def validation_step(self, batch, _index):
        right = self.layers(batch[0]).argmax(1) == batch[1]
        self.log("accuracy", right.float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)


@task("lightning", max_retries=3)
def train(ctx, epochs=3, lr=1e-3, pace=0.0):
    trainer = pl.Trainer(
        max_epochs=epochs, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        callbacks=[AsyncflowCallback(every="1m", every_n_steps=10)],
    )
    data = DataLoader(images(2048, seed=1), batch_size=64), DataLoader(images(512, seed=2), 64)
    trainer.fit(Network(lr, pace), *data, ckpt_path=saved_checkpoint(ctx))
    return {"accuracy": trainer.callback_metrics["accuracy"], "steps": trainer.global_step}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--pace", type=float, default=0.0, help="seconds of rest in each step")
    print(train(**vars(parser.parse_args())))
