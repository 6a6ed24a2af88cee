"""PyTorch Lightning, by either of its names (`lightning`, `pytorch_lightning`).

    trainer = Trainer(…, callbacks=[AsyncflowCallback(every="10m")])
    trainer.fit(model, data, ckpt_path=saved_checkpoint(ctx))

A checkpoint is written every so often, at the end of each epoch, and when the task should stop.
Lightning goes on with the step behind it; its loader begins the epoch anew unless it is one that
keeps its place (`state_dict`).
"""

# The library need not be there when types are checked.
# mypy: disable-error-code="import-not-found,import-untyped,misc,no-any-unimported,unused-ignore"
# pyright: basic, reportMissingImports=false, reportMissingModuleSource=false
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Optional

from asyncflow.integrations.checkpoints import Keeper, saved_checkpoint
from asyncflow.task.context import Context, current
from asyncflow.task.duration import Span

if TYPE_CHECKING:
    from pytorch_lightning import Callback
elif "pytorch_lightning" in sys.modules and "lightning" not in sys.modules:
    from pytorch_lightning import Callback
else:
    try:
        from lightning.pytorch import Callback
    except ImportError:
        from pytorch_lightning import Callback

__all__ = ["AsyncflowCallback", "saved_checkpoint"]


class AsyncflowCallback(Callback):
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
        self._ctx = ctx or current()
        self._keeper = Keeper(self._ctx, directory, every, every_n_steps)

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.is_global_zero:
            self._tell(trainer)
        # Lightning catches the signal itself while it trains, and would leave without saving.
        if getattr(trainer, "received_sigterm", False):
            self._ctx.stop_flag.set()
        stops = self._ctx.should_stop
        is_due = self._keeper.is_due(trainer.global_step)
        if trainer.world_size > 1:
            # All processes of a distributed training save and leave at the same step.
            stops = bool(trainer.strategy.reduce_boolean_decision(stops, all=False))
            is_due = bool(trainer.strategy.broadcast(is_due))
        if is_due or stops:
            self._save(trainer)
        if stops:
            self._ctx.stop_flag.set()
            self._ctx.raise_if_stopped()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        # Again, if that step was saved: only now its epoch counts as done.
        self._save(trainer)

    def _save(self, trainer: Any) -> None:
        step = int(trainer.global_step)
        if trainer.world_size > 1:
            path = self._keeper.path(step, ".ckpt")
            trainer.save_checkpoint(path)
            if trainer.is_global_zero:
                self._keeper.name(step, path, epoch=trainer.current_epoch)
            # Who leaves before the context is saved may end them all.
            trainer.strategy.barrier()
        else:
            self._keeper.write(
                step, ".ckpt", trainer.save_checkpoint, epoch=trainer.current_epoch
            )
        if trainer.is_global_zero:
            self._keeper.clean()

    def _tell(self, trainer: Any) -> None:
        total = trainer.estimated_stepping_batches
        step = trainer.global_step
        if total and total != float("inf"):
            self._ctx.progress(
                100.0 * step / total, f"epoch {trainer.current_epoch}, step {step}/{int(total)}"
            )
        else:
            self._ctx.progress(None, f"epoch {trainer.current_epoch}, step {step}")
        if trainer.callback_metrics:
            self._ctx.metrics(dict(trainer.callback_metrics))
