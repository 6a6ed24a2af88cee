from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asyncflow.task.context import Context
from asyncflow.task.surroundings import Surroundings

from .fake_worker import FakeWorker


@pytest.fixture
def fake() -> Iterator[FakeWorker]:
    # Not pytest's own folder: the path of a Unix socket is short.
    folder = tempfile.mkdtemp(prefix="af-")
    worker = FakeWorker(Path(folder))
    worker.start()
    yield worker
    worker.stop()
    # A reporter that a test has left behind may still write there.
    shutil.rmtree(folder, ignore_errors=True)


def attempt(fake: FakeWorker, **changed: Any) -> Context:
    """A context of the fake's attempt, whose saves do not wait for long."""
    return Context.in_worker_of(Surroundings.read(fake.environment(**changed)), save_wait=1)


def next_attempt(fake: FakeWorker) -> Context:
    """The next attempt, going on from what was saved last."""
    saves = fake.told("saveContext")
    context = fake.json_of(saves[-1]["context"]) if saves else {}
    stages = [body["stage"] for body in saves if "stage" in body]
    (fake.folder / "context").write_text(json.dumps(context))
    return attempt(fake, ASYNCFLOW_STAGE=stages[-1] if stages else "", ASYNCFLOW_ATTEMPT="2")
