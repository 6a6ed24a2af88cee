"""Tiny trainings through each callback, as tasks. A step takes `pace` seconds at least."""

# mypy: ignore-errors
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import os
import time

from asyncflow import Context, task

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

EPOCHS, STEPS, BATCH = 3, 20, 4


@task("transformers")
def with_transformers(ctx: Context, pace: float = 0.0) -> dict:
    import torch
    from asyncflow.integrations.transformers import AsyncflowCallback, saved_checkpoint
    from transformers import Trainer, TrainingArguments

    class Rows(torch.utils.data.Dataset):
        def __len__(self):
            return STEPS * BATCH

        def __getitem__(self, index):
            return {"x": torch.tensor([index / 100.0]), "labels": torch.tensor([index / 50.0])}

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def forward(self, x, labels):
            time.sleep(pace)
            return {"loss": torch.nn.functional.mse_loss(self.layer(x), labels)}

    arguments = TrainingArguments(
        output_dir=ctx.checkpoint_dir,
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=BATCH,
        save_strategy="steps",
        save_steps=5,
        save_total_limit=2,
        logging_steps=1,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    begun = []
    trainer = Trainer(Model(), arguments, train_dataset=Rows(), callbacks=[AsyncflowCallback()])
    from transformers import TrainerCallback

    class Begin(TrainerCallback):
        def on_step_begin(self, args, state, control, **_):
            if not begun:
                begun.append(state.global_step)

    trainer.add_callback(Begin())
    trainer.train(resume_from_checkpoint=saved_checkpoint(ctx))
    return {"begun": begun[0], "step": trainer.state.global_step, "attempt": ctx.attempt}


@task("lightning")
def with_lightning(ctx: Context, pace: float = 0.0) -> dict:
    import torch

    try:
        import lightning.pytorch as pl
    except ImportError:
        import pytorch_lightning as pl

    from asyncflow.integrations.lightning import AsyncflowCallback, saved_checkpoint

    begun = []

    class Model(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def training_step(self, batch, index):
            if not begun:
                begun.append(self.trainer.global_step)
            time.sleep(pace)
            loss = torch.nn.functional.mse_loss(self.layer(batch), 2 * batch)
            self.log("loss", loss)
            return loss

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.01)

    rows = torch.arange(STEPS * BATCH, dtype=torch.float32).reshape(-1, 1) / 100
    loader = torch.utils.data.DataLoader(rows, batch_size=BATCH)
    trainer = pl.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[AsyncflowCallback(every_n_steps=5)],
    )
    trainer.fit(Model(), loader, ckpt_path=saved_checkpoint(ctx))
    return {"begun": begun[0], "step": trainer.global_step, "attempt": ctx.attempt}


@task("keras")
def with_keras(ctx: Context, pace: float = 0.0) -> dict:
    import keras
    import numpy as np
    from asyncflow.integrations.keras import AsyncflowCallback, restored

    def made():
        model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.01), "mse")
        return model

    model, epoch = restored(ctx) or (made(), 0)
    begun = int(model.optimizer.iterations)
    slow = keras.callbacks.LambdaCallback(on_train_batch_begin=lambda *_, **__: time.sleep(pace))
    rows = np.arange(STEPS * BATCH, dtype="float32").reshape(-1, 1) / 100
    model.fit(
        rows,
        2 * rows,
        batch_size=BATCH,
        epochs=EPOCHS,
        initial_epoch=epoch,
        verbose=0,
        callbacks=[slow, AsyncflowCallback(every_n_steps=5)],
    )
    return {"begun": begun, "step": int(model.optimizer.iterations), "attempt": ctx.attempt}


@task("tqdm")
def with_tqdm(ctx: Context, pace: float = 0.0) -> dict:
    from asyncflow.integrations.tqdm import tqdm, trange

    total = 0
    with tqdm(range(EPOCHS), desc="fit") as bar:
        for epoch in bar:
            for step in trange(STEPS, desc="steps"):
                time.sleep(pace)
                total += step
            bar.set_postfix(loss=1.0 / (epoch + 1), note="text")
    return {"total": total}
