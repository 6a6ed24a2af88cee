"""The callbacks with the real libraries: what is skipped says which one is not installed.

`sdk/python/test-integrations.sh` makes an environment that has them all.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable

import pytest

from ..fake_worker import FakeWorker

HERE = Path(__file__).parent
SOURCES = HERE.parent.parent.parent / "src"
STEPS, EPOCHS = 20, 3
NEEDED = {
    "transformers": ("torch", "transformers", "accelerate"),
    "lightning": ("torch", "pytorch_lightning"),
    "keras": ("torch", "keras"),
    "tqdm": ("tqdm",),
}
TRAININGS = ["transformers", "lightning", "keras"]


def need(library: str) -> None:
    missing = [name for name in NEEDED[library] if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed here")


def start(fake: FakeWorker, library: str, attempt: int, pace: float) -> subprocess.Popen[str]:
    saves = fake.told("saveContext")
    context = fake.json_of(saves[-1]["context"]) if saves else {}
    (fake.folder / "context").write_text(json.dumps(context))
    (fake.folder / "payload").write_text(json.dumps({"pace": pace}))
    environment = {
        **{name: value for name, value in os.environ.items() if "ASYNCFLOW" not in name},
        **fake.environment(ASYNCFLOW_TASK_TYPE=library, ASYNCFLOW_ATTEMPT=str(attempt)),
        "ASYNCFLOW_CHECKPOINTS": str(fake.folder / "checkpoints"),
        "PYTHONPATH": f"{SOURCES}:{HERE}",
        "CUDA_VISIBLE_DEVICES": "",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "asyncflow.task", "run", "trainings"],
        env=environment,
        cwd=fake.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def until(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 180
    while not reached():
        if process.poll() is not None:
            raise AssertionError(f"it ended: {process.communicate()[0][-3000:]}")
        assert time.monotonic() < deadline
        time.sleep(0.01)


def ended(process: subprocess.Popen[str], code: int) -> str:
    output = process.communicate(timeout=180)[0]
    assert process.returncode == code, output[-3000:]
    return output


def saved_step(fake: FakeWorker) -> int:
    contexts = fake.contexts()
    return int(contexts[-1]["step"]) if contexts else 0


def result(fake: FakeWorker) -> Any:
    return fake.json_of(fake.told("setResult")[-1]["result"])


@pytest.mark.parametrize("library", TRAININGS)
def test_killed_in_mid_epoch_it_goes_on_with_the_saved_step(
    fake: FakeWorker, library: str
) -> None:
    need(library)
    process = start(fake, library, 1, pace=0.1)
    until(process, lambda: STEPS < saved_step(fake) < 2 * STEPS - 4)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    step = saved_step(fake)
    assert step % STEPS != 0, "it was killed in mid-epoch"

    ended(start(fake, library, 2, pace=0.0), 0)
    found = result(fake)
    assert found["begun"] == step
    assert found["attempt"] == 2
    # Keras begins the epoch's data anew, with the step that was saved.
    expected = STEPS * EPOCHS + (step % STEPS if library == "keras" else 0)
    assert found["step"] == expected
    assert fake.told("reportProgress")[-1]["progress"]["percent"] == pytest.approx(100)
    assert "loss" in fake.told("reportProgress")[-1]["progress"]["metrics"]
    assert len(os.listdir(next((fake.folder / "checkpoints").iterdir()))) <= 3


@pytest.mark.parametrize("library", TRAININGS)
def test_told_to_stop_in_mid_epoch_it_saves_that_step(fake: FakeWorker, library: str) -> None:
    need(library)
    process = start(fake, library, 1, pace=0.1)
    until(process, lambda: saved_step(fake) >= 5)
    time.sleep(0.25)
    process.send_signal(signal.SIGTERM)
    output = ended(process, 85)
    step = saved_step(fake)
    assert 5 < step < STEPS, output
    ended(start(fake, library, 2, pace=0.0), 0)
    assert result(fake)["begun"] == step


def test_bars_of_tqdm_are_progress(fake: FakeWorker) -> None:
    need("tqdm")
    output = ended(start(fake, "tqdm", 1, pace=0.02), 0)
    assert output == "", "bars do not fill the log"
    last = fake.told("reportProgress")[-1]["progress"]
    assert (last["percent"], last["message"]) == (100, "fit 3/3")
    assert last["metrics"] == {"loss": pytest.approx(1 / 3)}
