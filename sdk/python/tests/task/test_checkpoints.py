"""Which checkpoints stay, over outages and attempts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from asyncflow.integrations.checkpoints import Keeper
from asyncflow.task import link as links
from asyncflow.task.context import Context

from .conftest import attempt
from .fake_worker import FakeWorker


@pytest.fixture(autouse=True)
def checkpoints(fake: FakeWorker, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the fake's attempts have them; nobody waits for long when it is away."""
    monkeypatch.setattr(links, "DEGRADED_WAIT_S", 0.1)
    monkeypatch.setenv("ASYNCFLOW_CHECKPOINTS", str(fake.folder / "checkpoints"))
    return fake.folder / "checkpoints" / fake.environment()["ASYNCFLOW_TASK_ID"]


def kept(ctx: Context, **options: Any) -> Keeper:
    """A keeper that saves when it is told to."""
    return Keeper(ctx, options.get("directory"), "1h", None)


def write(keeper: Keeper, *steps: int) -> None:
    """Checkpoints of these steps."""
    for step in steps:
        keeper.write(step, ".ckpt", lambda path: Path(path).write_text("weights"))
        keeper.clean()


def steps_in(folder: Path) -> list[str]:
    """The steps and attempts of what is there, e.g. `3-a1`."""
    names = [name.removeprefix("step-").lstrip("0") for name in os.listdir(folder)]
    return sorted(name.removesuffix(".ckpt") for name in names)


def test_what_the_brokers_context_names_outlives_an_outage(
    fake: FakeWorker, checkpoints: Path
) -> None:
    keeper = kept(attempt(fake))
    write(keeper, 1, 2, 3)
    assert steps_in(checkpoints) == ["2-a1", "3-a1"]
    fake.stop()
    write(keeper, 4, 5, 6)
    assert fake.contexts()[-1]["step"] == 3
    assert steps_in(checkpoints) == ["3-a1", "4-a1", "5-a1", "6-a1"]
    fake.start()
    write(keeper, 7)
    assert steps_in(checkpoints) == ["6-a1", "7-a1"]


def test_what_an_attempt_began_with_stays_until_a_broker_has_another(
    fake: FakeWorker, checkpoints: Path
) -> None:
    write(kept(attempt(fake)), 1)
    (fake.folder / "context").write_text(f'{{"checkpoint": "{checkpoints}/step-00000001-a1.ckpt"}}')
    fake.stop()
    keeper = kept(attempt(fake, ASYNCFLOW_ATTEMPT="2"))
    write(keeper, 2, 3, 4)
    assert steps_in(checkpoints) == ["1-a1", "2-a2", "3-a2", "4-a2"]


def test_two_attempts_do_not_write_the_same_file(fake: FakeWorker, checkpoints: Path) -> None:
    lost, later = kept(attempt(fake)), kept(attempt(fake, ASYNCFLOW_ATTEMPT="2"))
    assert lost.path(7, ".ckpt") != later.path(7, ".ckpt")


def test_what_former_attempts_have_left_is_removed(fake: FakeWorker, checkpoints: Path) -> None:
    write(kept(attempt(fake)), 1, 2, 3)
    (checkpoints / "step-00000004-a1.11.22.tmp.ckpt").write_text("half")
    (checkpoints / "step-of-mine.ckpt").write_text("of the task itself")
    (checkpoints / "step-00000009-a4.ckpt").write_text("of a later attempt")
    (fake.folder / "context").write_text(f'{{"checkpoint": "{checkpoints}/step-00000002-a1.ckpt"}}')
    keeper = kept(attempt(fake, ASYNCFLOW_ATTEMPT="3"))
    keeper.clean()
    assert "2-a1" in steps_in(checkpoints), "the context names it"
    write(keeper, 5)
    assert steps_in(checkpoints) == ["2-a1", "5-a3", "9-a4", "of-mine"]


def test_a_directory_that_was_given_may_be_shared(fake: FakeWorker, tmp_path: Path) -> None:
    (tmp_path / "step-00000001-a1.ckpt").write_text("of another task")
    keeper = kept(attempt(fake, ASYNCFLOW_ATTEMPT="2"), directory=str(tmp_path))
    write(keeper, 2, 3, 4)
    assert steps_in(tmp_path) == ["1-a1", "3-a2", "4-a2"]


def test_by_hand_the_newest_two_stay(tmp_path: Path) -> None:
    write(kept(Context.local("work", str(tmp_path))), 1, 2, 3)
    assert steps_in(tmp_path / "work") == ["2-a0", "3-a0"]
