"""What the tests of the client share: brokers that run for the whole session, fresh task types."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from asyncflow import Client

from . import stack


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever runs the tests has settings of his own."""
    for name in ("BROKER", "TOKEN", "TOKEN_FILE", "CA_FILE"):
        monkeypatch.delenv(f"ASYNCFLOW_{name}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-config"))


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stack.Server]:
    """A broker without workers: what is created stays where it is."""
    with stack.broker(tmp_path_factory.mktemp("broker")) as server:
        yield server


@pytest.fixture(scope="session")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stack.Server]:
    """A broker with a worker that executes commands."""
    folder = tmp_path_factory.mktemp("dev")
    with stack.everything(folder, "worker.slots=4") as server:
        yield server


@pytest.fixture
def client(broker: stack.Server) -> Iterator[Client]:
    """A client of the broker without workers."""
    with Client(broker.address) as client:
        yield client


@pytest.fixture
def work(client: Client) -> str:
    """A fresh task type at the broker without workers."""
    name = f"work_{uuid.uuid4().hex[:8]}"
    client.create_type(name, max_retries=2)
    return name
