"""Python values to JSON and back: payloads, contexts and results."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
from typing import Any, Callable, cast

from asyncflow.task.errors import Refused


def dumps(value: Any, what: str) -> str:
    """`value` as compact JSON. `what` names it in errors, e.g. "the result".

    Understood besides JSON's own: paths, dataclasses, and numbers of numpy, torch and their like.
    NaN and infinities, which JSON lacks, become null, with a warning: no training is lost for them.

    Raises Refused, with the place of what cannot be written.
    """
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False, default=_plain)
    except (TypeError, ValueError, RecursionError):
        pass  # Slowly, and with names.
    found: list[str] = []
    try:
        cleaned = _cleaned(value, what, found)
    except RecursionError:
        raise Refused(f"{what} contains itself, or is nested too deeply") from None
    print(
        f"asyncflow: {', '.join(found[:5])}: not finite, which JSON cannot say; null is written",
        file=sys.stderr,
        flush=True,
    )
    return json.dumps(cleaned, separators=(",", ":"), allow_nan=False)


def normalised(value: Any, what: str) -> Any:
    """What comes back when `value` is saved and read: a tuple becomes a list, a path a text."""
    return json.loads(dumps(value, what))


def _plain(value: Any) -> Any:
    """One step towards JSON."""
    if isinstance(value, os.PathLike):
        return os.fspath(cast("os.PathLike[str]", value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(cast(Any, value))]
        return {name: getattr(cast(Any, value), name) for name in names}
    # Numbers of numpy, torch and jax; not their arrays, which would be large.
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "ndim", 0) == 0:
        return cast("Callable[[], Any]", item)()
    raise TypeError(f"{type(value).__name__} is not JSON")


def _cleaned(value: Any, where: str, found: list[str]) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        found.append(where)
        return None
    if isinstance(value, dict):
        pairs = dict[Any, Any](cast(Any, value))
        for key in pairs:
            # As json itself: a number as a key becomes a text.
            is_plain = key is None or isinstance(key, (str, int))
            if not is_plain and not (isinstance(key, float) and math.isfinite(key)):
                raise Refused(f"{where}: the key {key!r} is no text")
        return {key: _cleaned(item, f"{where}[{key!r}]", found) for key, item in pairs.items()}
    if isinstance(value, (list, tuple)):
        items = list[Any](cast(Any, value))
        return [_cleaned(item, f"{where}[{i}]", found) for i, item in enumerate(items)]
    try:
        plain = _plain(value)
    except TypeError:
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise Refused(
            f"{where} is a {kind}, which is not JSON: write it to a file and give its path"
        ) from None
    return _cleaned(plain, where, found)
