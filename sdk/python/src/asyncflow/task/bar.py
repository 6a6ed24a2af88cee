"""A line that shows how far a loop is, for people: on a terminal as tqdm draws it."""

from __future__ import annotations

import sys
import time
from typing import Mapping, Optional, TextIO

_WIDTH = 20
_PARTS = " ▏▎▍▌▋▊▉"
_REDRAW_S = 0.1
_LINE_EVERY_S = 10.0


class Bar:
    """Draws itself at most ten times a second; without a terminal a line every ten seconds."""

    def __init__(self, stream: Optional[TextIO] = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._is_terminal = self._stream.isatty()
        self._due_at = time.monotonic() + (0.0 if self._is_terminal else _LINE_EVERY_S)
        self._drawn = 0

    def is_due(self, now: float) -> bool:
        """Whether it would draw itself."""
        return now >= self._due_at

    def draw(self, text: str, now: float) -> None:
        """Shows this line instead of the one before."""
        self._due_at = now + (_REDRAW_S if self._is_terminal else _LINE_EVERY_S)
        if self._is_terminal:
            self._stream.write("\r" + text + " " * (self._drawn - len(text)))
            self._drawn = len(text)
        else:
            self._stream.write(text + "\n")
        self._stream.flush()

    def end(self, text: str) -> None:
        """The last line stays."""
        self.draw(text, time.monotonic())
        if self._is_terminal:
            self._stream.write("\n")
            self._stream.flush()
            self._drawn = 0


def line(
    name: str, done: int, total: int, run: int, elapsed_s: float, numbers: Mapping[str, float]
) -> str:
    """E.g. `fit:  37%|███████▍            | 37/100 [00:12<00:20, 3.05it/s, loss=0.31]`.

    `run` of `done` iterations were done in this attempt, in `elapsed_s`.
    """
    part = done / total if total else 1.0
    eighths = int(part * _WIDTH * 8)
    full, rest = divmod(eighths, 8)
    bar = "█" * full + (_PARTS[rest] if full < _WIDTH else "")
    rate = run / elapsed_s if elapsed_s > 0 else 0.0
    left = _clock((total - done) / rate) if rate > 0 else "?"
    if rate >= 1 or rate == 0:
        speed = f"{rate:.2f}it/s"
    else:
        speed = f"{1 / rate:.2f}s/it"
    tail = as_postfix(numbers)
    head = f"{name}: {part:4.0%}|{bar:<{_WIDTH}}| {done}/{total}"
    return f"{head} [{_clock(elapsed_s)}<{left}, {speed}{tail}]"


def as_postfix(numbers: Mapping[str, float]) -> str:
    """The first of them, e.g. `, loss=0.31`."""
    return "".join(f", {key}={value:.4g}" for key, value in list(numbers.items())[:6])


def _clock(span_s: float) -> str:
    minutes, seconds = divmod(int(span_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes:02}:{seconds:02}"
