"""Keras 3, on any of its backends.

    model, initial_epoch = restored(ctx) or (make_model(), 0)
    model.fit(…, initial_epoch=initial_epoch, callbacks=[AsyncflowCallback(every="10m")])

The whole model is saved, with its optimizer, every so often, at the end of each epoch, and when the
task should stop. Keras cannot begin in the middle of an epoch: a later attempt goes on with the
weights and the step that were saved, and begins that epoch's data anew.
"""

# The library need not be there when types are checked.
# mypy: disable-error-code="import-not-found,import-untyped,misc,no-any-unimported,unused-ignore"
# pyright: basic, reportMissingImports=false, reportMissingModuleSource=false
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false

from __future__ import annotations

from typing import Any, Optional

import keras

from asyncflow.integrations.checkpoints import Keeper, saved_checkpoint
from asyncflow.task.context import Context, current
from asyncflow.task.duration import Span

__all__ = ["AsyncflowCallback", "restored", "saved_checkpoint"]


def restored(
    ctx: Optional[Context] = None, **options: Any
) -> Optional[tuple[keras.Model, int]]:
    """The model that was saved last and the epoch to go on with; None at the first attempt.

    `options` are those of `keras.saving.load_model`, e.g. `custom_objects`.
    """
    ctx = ctx or current()
    path = saved_checkpoint(ctx)
    if path is None:
        return None
    return keras.saving.load_model(path, **options), int(ctx.saved["epoch"])


class AsyncflowCallback(keras.callbacks.Callback):
    """Progress and metrics, checkpoints with their contexts, and the stop."""

    def __init__(
        self,
        ctx: Optional[Context] = None,
        *,
        every: Span = "10m",
        every_n_steps: Optional[int] = None,
        directory: Optional[str] = None,
    ) -> None:
        """Saves when `every` has passed since the last time, and at each multiple of a step."""
        super().__init__()
        self._ctx = ctx or current()
        self._keeper = Keeper(self._ctx, directory, every, every_n_steps)
        self._epoch = 0
        self._is_leaving = False

    def on_epoch_begin(self, epoch: int, logs: Optional[dict[str, Any]] = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Optional[dict[str, Any]] = None) -> None:
        params = self.params or {}
        steps, epochs = params.get("steps"), params.get("epochs")
        of = f"/{steps}" if steps else ""
        percent = None
        if steps and epochs:
            percent = 100.0 * (self._epoch + (batch + 1) / steps) / epochs
        self._ctx.progress(percent, f"epoch {self._epoch + 1}/{epochs}, step {batch + 1}{of}")
        self._ctx.metrics(logs or {})
        is_last = batch + 1 == steps
        if self._keeper.is_due(self._step()) and not is_last:
            self._save(self._epoch)
        if self._ctx.should_stop and not is_last:
            self._leave()

    def on_epoch_end(self, epoch: int, logs: Optional[dict[str, Any]] = None) -> None:
        self._ctx.metrics(logs or {})
        if not self._is_leaving:
            self._save(epoch + 1)
            if self._ctx.should_stop:
                self._leave()

    def on_train_end(self, logs: Optional[dict[str, Any]] = None) -> None:
        epochs = (self.params or {}).get("epochs")
        if self._is_leaving and self._ctx.saved.get("epoch") != epochs:
            self._ctx.raise_if_stopped()

    def _leave(self) -> None:
        self._is_leaving = True
        self.model.stop_training = True

    def _step(self) -> int:
        return int(self.model.optimizer.iterations)

    def _save(self, next_epoch: int) -> None:
        self._keeper.write(self._step(), ".keras", self.model.save, epoch=next_epoch)
        self._keeper.clean()
