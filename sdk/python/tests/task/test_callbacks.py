"""What the callbacks do in a training of several processes, with stand-ins for the libraries.

integrations/test_integrations.py runs them with the real ones, which are large.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any, Iterator

import pytest
from asyncflow.task import Preempted
from asyncflow.task.context import Entered

from .conftest import attempt
from .fake_worker import FakeWorker


class Process:
    """One process of a distributed training, and what it does together with the others."""

    def __init__(self, rank: int, told: bool) -> None:
        self.rank = rank
        # Whether another process was told to stop.
        self.others_told = told
        self.did: list[str] = []

    def barrier(self) -> None:
        self.did.append("barrier")

    def reduced(self, flag: bool) -> bool:
        self.did.append("reduce")
        return flag or self.others_told


def module(name: str, **contents: Any) -> types.ModuleType:
    """A module of these contents."""
    made = types.ModuleType(name)
    made.__dict__.update(contents)
    return made


class Flag:
    """A tensor of one number."""

    def __init__(self, value: int, device: object) -> None:
        self.value = value

    def item(self) -> int:
        return self.value


def torch_of(process: Process) -> dict[str, types.ModuleType]:
    """PyTorch as that process sees it."""

    def all_reduce(flag: Flag, op: str) -> None:
        assert op == "MAX"
        flag.value = int(process.reduced(bool(flag.value)))

    distributed = module(
        "torch.distributed",
        is_available=lambda: True,
        is_initialized=lambda: True,
        all_reduce=all_reduce,
        barrier=process.barrier,
        ReduceOp=types.SimpleNamespace(MAX="MAX"),
    )
    torch = module("torch", distributed=distributed, tensor=Flag)
    return {"torch": torch, "torch.distributed": distributed}


@pytest.fixture
def callbacks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Imports a module of callbacks with these modules in place."""

    def load(name: str, modules: dict[str, types.ModuleType]) -> Any:
        for module_name, made in modules.items():
            monkeypatch.setitem(sys.modules, module_name, made)
        monkeypatch.delitem(sys.modules, f"asyncflow.integrations.{name}", raising=False)
        return importlib.import_module(f"asyncflow.integrations.{name}")

    yield load
    for name in ("transformers", "lightning"):
        sys.modules.pop(f"asyncflow.integrations.{name}", None)


def trainer_state(rank: int) -> tuple[Any, Any]:
    """The state and control of Transformers' trainer in mid-training."""
    state = types.SimpleNamespace(
        is_world_process_zero=rank == 0, global_step=5, max_steps=10, epoch=0.5
    )
    return state, types.SimpleNamespace(should_save=False, should_training_stop=False)


def test_a_stop_of_one_process_stops_the_trainers_of_all(fake: FakeWorker, callbacks: Any) -> None:
    process = Process(rank=1, told=True)
    modules = torch_of(process)
    modules["transformers"] = module("transformers", TrainerCallback=object)
    arguments = types.SimpleNamespace(device="cpu", save_total_limit=2)
    with Entered(attempt(fake)):
        callback = callbacks("transformers", modules).AsyncflowCallback()
        state, control = trainer_state(rank=1)
        callback.on_train_begin(arguments, state, control)
        callback.on_step_end(arguments, state, control)
        assert control.should_save and control.should_training_stop
        with pytest.raises(Preempted):
            callback.on_train_end(arguments, state, control)
    assert process.did == ["reduce", "barrier"], "it leaves after the others have saved"


def test_a_trainer_that_keeps_one_checkpoint_is_refused(fake: FakeWorker, callbacks: Any) -> None:
    modules = torch_of(Process(rank=0, told=False))
    modules["transformers"] = module("transformers", TrainerCallback=object)
    arguments = types.SimpleNamespace(device="cpu", save_total_limit=1)
    with Entered(attempt(fake)):
        callback = callbacks("transformers", modules).AsyncflowCallback()
        with pytest.raises(ValueError, match="save_total_limit=1"):
            callback.on_train_begin(arguments, *trainer_state(rank=0))


def test_no_process_of_lightning_leaves_before_the_context_is_saved(
    fake: FakeWorker, callbacks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASYNCFLOW_CHECKPOINTS", str(fake.folder / "checkpoints"))
    process = Process(rank=1, told=True)
    pytorch = module("lightning.pytorch", Callback=object)
    modules = {"lightning": module("lightning", pytorch=pytorch), "lightning.pytorch": pytorch}
    trainer = types.SimpleNamespace(
        is_global_zero=False,
        world_size=2,
        global_step=5,
        current_epoch=0,
        save_checkpoint=lambda path: process.did.append("save"),
        strategy=types.SimpleNamespace(
            barrier=process.barrier,
            broadcast=lambda value: value,
            reduce_boolean_decision=lambda flag, all: process.reduced(flag),
        ),
    )
    with Entered(attempt(fake)):
        callback = callbacks("lightning", modules).AsyncflowCallback()
        with pytest.raises(Preempted):
            callback.on_train_batch_end(trainer, None, None, None, 0)
    assert process.did == ["reduce", "save", "barrier"]


def test_a_bar_that_is_disabled_does_no_harm(fake: FakeWorker, callbacks: Any) -> None:
    class Bar:
        """tqdm's own, as far as a disabled one goes."""

        def __init__(self, total: int, disable: bool, **_: Any) -> None:
            self.disable, self.n, self.total = disable, 0, total

        def update(self, n: int) -> None:
            pass

        def close(self) -> None:
            pass

    modules = {"tqdm": module("tqdm"), "tqdm.std": module("tqdm.std", tqdm=Bar)}
    with Entered(attempt(fake)):
        bar = callbacks("tqdm", modules).tqdm(total=3, disable=True)
        bar.update(1)
        bar.close()
    sys.modules.pop("asyncflow.integrations.tqdm", None)
