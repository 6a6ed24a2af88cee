"""Hugging Face Trainer.

    trainer = Trainer(…, callbacks=[AsyncflowCallback()])
    trainer.train(resume_from_checkpoint=saved_checkpoint(ctx))

The trainer writes its checkpoints as `TrainingArguments` say (`save_strategy`, `save_steps`,
`save_total_limit`), and one more when the task should stop. Each is on the disk before the context
names it. Put `output_dir` below `ctx.checkpoint_dir`. `save_total_limit=1` is refused: the trainer
would remove the only checkpoint that the context names before the context names the new one. While
no broker can be reached, the same happens with any limit once so many were written; 3 or more leave
room for a short outage.
"""

# The library need not be there when types are checked.
# mypy: disable-error-code="import-not-found,import-untyped,misc,no-any-unimported,unused-ignore"
# pyright: basic, reportMissingImports=false, reportMissingModuleSource=false
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false

from __future__ import annotations

import os
from typing import Any, Optional

import torch
import torch.distributed
from transformers import TrainerCallback

from asyncflow.integrations.checkpoints import Keeper, saved_checkpoint
from asyncflow.task.context import Context, current

__all__ = ["AsyncflowCallback", "saved_checkpoint"]


class AsyncflowCallback(TrainerCallback):
    """Progress and metrics, the context at each checkpoint, and the stop."""

    def __init__(self, ctx: Optional[Context] = None) -> None:
        self._ctx = ctx or current()
        # It only names what the trainer writes, and the trainer removes by `save_total_limit`.
        self._keeper = Keeper(self._ctx, None, float("1e9"), None)
        self._is_leaving = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if args.save_total_limit == 1:
            raise ValueError(
                "save_total_limit=1: the trainer would remove the checkpoint that the task has "
                "saved before the next one is saved; let it be 2 or more"
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        if state.is_world_process_zero and state.max_steps > 0:
            percent = 100.0 * state.global_step / state.max_steps
            self._ctx.progress(percent, f"step {state.global_step}/{state.max_steps}")
        if _any_process(self._ctx.should_stop, args):
            # They all save and leave at the same step, else some would wait for the others.
            self._ctx.stop_flag.set()
            self._is_leaving = True
            control.should_save = True
            control.should_training_stop = True
        return control

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Optional[dict[str, Any]] = None, **_: Any
    ) -> None:
        if state.is_world_process_zero and logs:
            self._ctx.metrics(
                {name: value for name, value in logs.items() if isinstance(value, (int, float))}
            )

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        path = os.path.join(args.output_dir, f"checkpoint-{state.global_step}")
        if state.is_world_process_zero and os.path.isdir(path):
            self._keeper.name(state.global_step, os.path.abspath(path), epoch=state.epoch)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._is_leaving and state.global_step < state.max_steps:
            if _is_distributed():
                # Who leaves before the context is saved may end them all.
                torch.distributed.barrier()
            self._ctx.raise_if_stopped()


def _is_distributed() -> bool:
    distributed = torch.distributed
    return bool(distributed.is_available() and distributed.is_initialized())


def _any_process(flag: bool, args: Any) -> bool:
    """Whether it is so in any process of the training. All of them must ask at the same step."""
    if not _is_distributed():
        return flag
    flags = torch.tensor(int(flag), device=args.device)
    torch.distributed.all_reduce(flags, op=torch.distributed.ReduceOp.MAX)
    return bool(flags.item())
