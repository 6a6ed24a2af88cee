"""TLS, tokens, and processes that fork."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from asyncflow import Client, errors

from . import stack

TOKENS = "alice:client:secret-of-alice-0123456789\nroot:admin:secret-of-root-0123456789\n"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who signs the broker's certificate."""
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its certificate."""
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(scope="module")
def secure(
    authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[stack.Server]:
    """A broker that speaks TLS and asks who is there."""
    folder = tmp_path_factory.mktemp("secure")
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(str(folder / "cert.pem"), append=True)
    tokens = folder / "tokens"
    tokens.write_text(TOKENS)
    tokens.chmod(0o600)
    (folder / "key.pem").chmod(0o600)
    settings = {
        "listen__tls__cert_file": str(folder / "cert.pem"),
        "listen__tls__key_file": str(folder / "key.pem"),
        "listen__auth__tokens_file": str(tokens),
    }
    with stack.broker(folder, **settings) as server:
        server.address = server.address.replace("http://", "https://")
        yield server


def test_arguments(secure: stack.Server, ca_file: Path, tmp_path: Path) -> None:
    with Client(secure.address, token="secret-of-root-0123456789", ca_file=ca_file) as admin:
        admin.create_type("work")
    (tmp_path / "token").write_text("secret-of-alice-0123456789\n")
    localhost = secure.address.replace("127.0.0.1", "localhost")
    with Client(localhost, token_file=tmp_path / "token", ca_file=ca_file) as client:
        assert client.create("work").user == "alice"
        with pytest.raises(errors.PermissionDenied):
            client.create_type("other")


def test_environment(secure: stack.Server, ca_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASYNCFLOW_BROKER", secure.address)
    monkeypatch.setenv("ASYNCFLOW_TOKEN", "secret-of-root-0123456789")
    monkeypatch.setenv("ASYNCFLOW_CA_FILE", str(ca_file))
    with Client() as client:
        client.ensure_type("work")


def test_file(
    secure: stack.Server, ca_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "asyncflow").mkdir()
    (tmp_path / "asyncflow" / "config.toml").write_text(
        f'broker = "{secure.address}"\ntoken = "secret-of-root-0123456789"\nca_file = "{ca_file}"\n'
    )
    with Client() as client:
        client.ensure_type("work")


@pytest.mark.parametrize("token", [None, "wrong"])
def test_without_a_valid_token(secure: stack.Server, ca_file: Path, token: str) -> None:
    with Client(secure.address, token=token, ca_file=ca_file) as client:
        with pytest.raises(errors.Unauthenticated, match="ASYNCFLOW_TOKEN"):
            client.count()


def test_a_strangers_certificate_is_refused_at_once(secure: stack.Server) -> None:
    with Client(secure.address, token="secret-of-root-0123456789", timeout=20) as client:
        with pytest.raises(errors.Unavailable, match="ASYNCFLOW_CA_FILE"):
            client.with_options(timeout=5).count()


def test_tls_to_a_broker_without(broker: stack.Server) -> None:
    address = broker.address.replace("http://", "https://")
    with Client(address, timeout=1) as client, pytest.raises(errors.Unavailable) as caught:
        client.count()
    assert "does it want http://" in str(caught.value), str(caught.value)


FORK = """
import os, sys
from asyncflow import Client

def child(what, call):
    pid = os.fork()
    if pid == 0:
        try:
            print(what, type(call()).__name__, flush=True)
        except RuntimeError as error:
            print(what, "RuntimeError", "after the fork" in str(error), flush=True)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0

client = Client(sys.argv[1])
child("unused", client.count)
client.count()
child("used", client.count)
child("another", lambda: Client(sys.argv[1]).count())
print("parent", type(client.count()).__name__)
"""


def test_a_forked_child_works_before_the_first_call_and_is_told_after_it(
    broker: stack.Server,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK, broker.address],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.splitlines() == [
        "unused Counts",
        "used RuntimeError True",
        "another RuntimeError True",
        "parent Counts",
    ], done.stderr
