"""Where the broker is and who the caller is: arguments, environment, a file, in this order."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional, Union
from urllib.parse import urlsplit

from asyncflow.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT_ADDRESS = "http://127.0.0.1:7070"

_KEYS = ("broker", "token", "token_file", "ca_file")

StrPath = Union[str, "os.PathLike[str]"]


@dataclass(frozen=True)
class Settings:
    """How a broker is reached."""

    address: str = DEFAULT_ADDRESS
    """`http://host:port`, or `https://host:port` for TLS."""
    token: Optional[str] = field(default=None, repr=False)
    """Sent as `authorization: Bearer …`."""
    ca_file: Optional[Path] = None
    """PEM file of the authority that signed the broker's certificate; None = the well-known."""

    @property
    def is_tls(self) -> bool:
        """Whether the address begins with https."""
        return urlsplit(self.address).scheme == "https"

    @property
    def target(self) -> str:
        """Host and port, as gRPC wants them."""
        return urlsplit(self.address).netloc

    def root_certificates(self) -> Optional[bytes]:
        """What is in the CA file. Errors: ConfigError when it cannot be read."""
        if self.ca_file is None:
            return None
        return _read(self.ca_file, "CA file").encode()


def resolve(
    address: Optional[str] = None,
    token: Optional[str] = None,
    token_file: Optional[StrPath] = None,
    ca_file: Optional[StrPath] = None,
    *,
    environment: Optional[dict[str, str]] = None,
) -> Settings:
    """What is given, else ASYNCFLOW_BROKER, ASYNCFLOW_TOKEN, ASYNCFLOW_TOKEN_FILE and
    ASYNCFLOW_CA_FILE, else what `~/.config/asyncflow/config.toml` says, else a broker on this
    machine.

    The file's token and CA are those of the file's broker: they are not used for another one.
    Errors: ConfigError that says what is unusable, and where it came from.
    """
    variables = dict(os.environ) if environment is None else environment
    stored = _stored(variables)
    address = address or variables.get("ASYNCFLOW_BROKER")
    if address and address.rstrip("/") != stored.get("broker", DEFAULT_ADDRESS).rstrip("/"):
        stored = {}
    address = _checked(address or stored.get("broker", DEFAULT_ADDRESS))
    if token is None and token_file is None:
        token = variables.get("ASYNCFLOW_TOKEN") or None
        token_file = variables.get("ASYNCFLOW_TOKEN_FILE") or None
        if token is None and token_file is None:
            token, token_file = stored.get("token"), stored.get("token_file")
    if token is None and token_file is not None:
        token = _read(Path(token_file).expanduser(), "token file")
    ca = ca_file or variables.get("ASYNCFLOW_CA_FILE") or stored.get("ca_file")
    return Settings(
        address=address,
        token=_sendable(token) if token else None,
        ca_file=Path(ca).expanduser() if ca else None,
    )


def config_file(variables: dict[str, str]) -> Path:
    """Where the file is looked for: $XDG_CONFIG_HOME/asyncflow/config.toml, else in ~/.config."""
    base = variables.get("XDG_CONFIG_HOME")
    home = variables.get("HOME") or os.path.expanduser("~")
    folder = Path(base) if base else Path(home) / ".config"
    return folder / "asyncflow" / "config.toml"


def _stored(variables: dict[str, str]) -> dict[str, str]:
    path = config_file(variables)
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        # A home that is not there, or not ours (a service, `sudo -u`), holds no settings for us.
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from error
    problems = [
        f"{key}: there is no such key; there are {', '.join(_KEYS)}"
        for key in values
        if key not in _KEYS
    ]
    problems += [
        f"{key} = {value!r}: it must be a text"
        for key, value in values.items()
        if key in _KEYS and not isinstance(value, str)
    ]
    if problems:
        raise ConfigError(f"{path}: " + "; ".join(problems))
    return {key: value for key, value in values.items() if value}


def _checked(address: str) -> str:
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"address {address!r}: {error}") from error
    if parts.scheme not in ("http", "https"):
        raise ConfigError(f"address {address!r}: it must begin with http:// or https://")
    if not parts.hostname or parts.username or parts.path.strip("/") or parts.query:
        raise ConfigError(
            f"address {address!r}: write it as {parts.scheme}://host:port, e.g. {DEFAULT_ADDRESS}"
        )
    if port is None:
        return f"{parts.scheme}://{parts.netloc}:{443 if parts.scheme == 'https' else 80}"
    return f"{parts.scheme}://{parts.netloc}"


def _read(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{what} {path}: {error}") from error


def _sendable(token: str) -> str:
    token = token.strip()
    if not token or not all("!" <= character <= "~" for character in token):
        raise ConfigError("the token is empty or has characters that cannot be sent in a header")
    return token
