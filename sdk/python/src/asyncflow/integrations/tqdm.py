"""A tqdm whose bars are the task's progress.

    from asyncflow.integrations.tqdm import tqdm
    for batch in tqdm(loader, desc="fit"): …

It is tqdm, with all that tqdm can do, on a terminal as everywhere. In a task of a worker the
outermost bar is reported to the broker instead of being drawn into the log, and the numbers of
`set_postfix` are reported as metrics. It reports only: to go on after a kill, use `ctx.range`.
"""

# The library need not be there when types are checked.
# mypy: disable-error-code="import-not-found,import-untyped,misc,no-any-unimported,unused-ignore"
# pyright: basic, reportMissingImports=false, reportMissingModuleSource=false
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false

from __future__ import annotations

import io
from typing import Any, Optional

from tqdm.std import tqdm as _tqdm

from asyncflow.task.context import Context, current_or_none

__all__ = ["tqdm", "trange"]


class tqdm(_tqdm):  # type: ignore[type-arg,unused-ignore]
    """See the module."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._ctx: Optional[Context] = current_or_none()
        if self._ctx is not None and self._ctx.in_worker and kwargs.get("file") is None:
            kwargs["file"] = io.StringIO()
        super().__init__(*args, **kwargs)

    def update(self, n: Any = 1) -> Any:
        drawn = super().update(n)
        self._tell()
        return drawn

    def set_postfix(
        self, ordered_dict: Optional[Any] = None, refresh: Optional[bool] = True, **kwargs: Any
    ) -> None:
        super().set_postfix(ordered_dict, refresh, **kwargs)
        if self._ctx is not None:
            found = {**dict(ordered_dict or {}), **kwargs}
            numbers = {
                name: value for name, value in found.items() if not isinstance(value, (str, bytes))
            }
            self._ctx.metrics(numbers)

    def close(self) -> None:
        self._tell()
        super().close()

    def _tell(self) -> None:
        # One that is disabled has neither a file nor a position.
        if self._ctx is None or self.disable or getattr(self, "pos", 0) != 0:
            return
        if isinstance(self.fp, io.StringIO):
            self.fp.seek(0)
            self.fp.truncate()
        percent = min(100.0 * self.n / self.total, 100.0) if self.total else None
        of = f"/{self.total}" if self.total else ""
        self._ctx.progress(percent, f"{self.desc.rstrip(': ') or 'step'} {self.n}{of}")


def trange(*args: Any, **kwargs: Any) -> tqdm:
    """`tqdm(range(*args), **kwargs)`."""
    return tqdm(range(*args), **kwargs)
