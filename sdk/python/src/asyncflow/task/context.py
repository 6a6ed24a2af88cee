"""What a running task has in hand: its place, and somebody who listens."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import threading
import time
import types
import weakref
from typing import (
    TYPE_CHECKING,
    Any,
    Awaitable,
    Callable,
    Generator,
    Mapping,
    NoReturn,
    Optional,
    Sequence,
    TypeVar,
    overload,
)

from asyncflow.task.bar import Bar
from asyncflow.task.children import Child
from asyncflow.task.current import Entered, current, current_or_none, say
from asyncflow.task.duration import Span, seconds
from asyncflow.task.errors import HandedOver, Preempted, Refused, Waiting
from asyncflow.task.link import SAVE_WAIT_S, Link, LocalLink, WorkerLink
from asyncflow.task.loop import Loop, around, described, told
from asyncflow.task.place import Place, check_stage
from asyncflow.task.reporter import MESSAGE_BYTES_MAX, Reporter, cut
from asyncflow.task.stop import StopFlag
from asyncflow.task.surroundings import Surroundings
from asyncflow.task.values import dumps, normalised

if TYPE_CHECKING:
    from typing_extensions import ParamSpec

    P = ParamSpec("P")
T = TypeVar("T")

RESULT_BYTES_MAX = 64 * 1024


class Context:
    """One attempt at a task. Its methods may be called from any thread.

    Outside of a worker it does no harm: progress is shown, nothing is sent, and what is saved goes
    to the file below `$ASYNCFLOW_LOCAL` if that is set, else nowhere.
    """

    def __init__(
        self,
        found: Surroundings,
        link: Link,
        stop: StopFlag,
        *,
        context: bytes = b"",
        local_directory: str = "",
        bar: Optional[Bar] = None,
    ) -> None:
        self._found = found
        self._link = link
        self._stop = stop
        self._place = Place.read(context, found.stage)
        self._local_directory = local_directory
        # All that are open, wherever, in the order in which they began.
        self._open: list[Loop] = []
        self._used: set[str] = set()
        self._saved_at = time.monotonic()
        self._is_leaving = False
        # What is saved later must not be overtaken by what was saved before.
        self._saving = threading.RLock()
        _contexts.add(self)
        self._reporter = Reporter(link, is_heard=found.in_worker)
        self.bar = bar

    @classmethod
    def in_worker_of(cls, found: Surroundings, save_wait: Span = SAVE_WAIT_S) -> Context:
        """The context of the attempt that a worker has described."""
        stop = StopFlag(found.stop_path)
        link = WorkerLink(found, stop.peek, seconds(save_wait))
        return cls(found, link, stop, context=found.context())

    @classmethod
    def in_child_of(cls, found: Surroundings) -> Context:
        """One for a process that the task has started: it finds what was saved and whether it
        should stop, and nothing of what it says reaches the worker."""
        return cls(found, LocalLink(), StopFlag(found.stop_path), context=found.context())

    @classmethod
    def local(cls, task_type: str, directory: Optional[str] = None) -> Context:
        """One for a run by hand. With a directory, or `$ASYNCFLOW_LOCAL`, it goes on from there."""
        directory = os.environ.get("ASYNCFLOW_LOCAL", "") if directory is None else directory
        path = os.path.join(directory, f"{task_type}.json") if directory else ""
        context = b""
        if path and os.path.exists(path):
            with open(path, "rb") as file:
                context = file.read()
        return cls(
            Surroundings(task_type=task_type),
            LocalLink(path),
            StopFlag(),
            context=context,
            local_directory=directory,
            bar=Bar(),
        )

    # --- what it is ------------------------------------------------------------------------------

    @property
    def in_worker(self) -> bool:
        """Whether a worker runs it."""
        return self._found.in_worker

    @property
    def task_id(self) -> str:
        """The task's id; empty outside of a worker."""
        return self._found.task_id

    @property
    def task_type(self) -> str:
        """The task's type."""
        return self._found.task_type

    @property
    def attempt(self) -> int:
        """1 for the first attempt; grows with each; 0 outside of a worker."""
        return self._found.attempt

    @functools.cached_property
    def payload(self) -> bytes:
        """What the task was created with, as it came."""
        return self._found.payload()

    @functools.cached_property
    def signals(self) -> Mapping[str, Any]:
        """What came with each signal before this attempt began, by name."""
        return types.MappingProxyType(self._found.signals())

    @property
    def saved(self) -> Mapping[str, Any]:
        """The values that were saved last, by this attempt or an earlier one."""
        return types.MappingProxyType(self._place.values)

    @property
    def checkpoint_dir(self) -> str:
        """A directory of the task's own, the same for all its attempts; made when it is missing.

        It is `$ASYNCFLOW_CHECKPOINTS/<task id>`, else `~/.local/share/asyncflow/checkpoints/<task
        id>`: a place that all hosts see which may run the task. It is never removed. Outside of a
        worker `$ASYNCFLOW_LOCAL/<type>`, else `checkpoints/<type>` in the current directory.
        """
        if self.in_worker:
            top = os.environ.get("ASYNCFLOW_CHECKPOINTS", "")
            top = top or os.path.expanduser("~/.local/share/asyncflow/checkpoints")
            path = os.path.join(top, self.task_id)
        else:
            path = os.path.join(self._local_directory or "checkpoints", self.task_type or "task")
        os.makedirs(path, exist_ok=True)
        return os.path.abspath(path)

    # --- how far it is ---------------------------------------------------------------------------

    @overload
    def stage(self, name: str) -> Callable[[Callable[[], T]], T]: ...
    @overload
    def stage(
        self, name: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    def stage(
        self, name: str, function: Optional[Callable[..., Any]] = None, *args: Any, **kwargs: Any
    ) -> Any:
        """Calls `function` once, saves what it returns, and returns that.

        In a later attempt, when the stage is done, it is not called: what it had returned is read
        from the context. So it must return JSON, and little of it: the path of a file, a few
        numbers, None. It comes back as JSON gives it, at the first time too: tuples as lists.

        As a decorator, `@ctx.stage("prepare")` does it for a function without arguments, whose name
        then means what it returned. With an async function the answer is awaited.

        Raises Refused for what is not JSON, and Preempted if the task was told to stop before.
        """
        if function is None:
            return functools.partial(self.stage, name)
        loops = around(self)
        if loops:
            raise RuntimeError(
                f"stage {name!r} inside of the loop {loops[-1].name!r}: from the second "
                "time on it would be skipped"
            )
        self._use(name)
        is_async = inspect.iscoroutinefunction(function)
        if name in self._place.done:
            value = self._place.done[name]
            return _ready(value) if is_async else value
        if self._stop.peek():
            self.raise_if_stopped()
        self._reporter.say(None, name)
        value = function(*args, **kwargs)
        if is_async:
            return self._end_when_ready(name, value)
        if inspect.iscoroutine(value):
            value.close()
            raise TypeError(f"stage {name!r}: give it the async function itself, not one around it")
        return self.end_stage(name, value)

    async def _end_when_ready(self, name: str, value: Awaitable[Any]) -> Any:
        import asyncio  # It is large, and most tasks do without.

        found = await value
        # Saving may wait for a broker; what else the loop of events has to do shall not.
        return await asyncio.to_thread(self.end_stage, name, found)

    def end_stage(self, name: str, value: Any = None) -> Any:
        """The stage is done, saved together with what it returned.

        `stage` and `range` call it by themselves; a loop that is left by `break` for good needs it.
        """
        found = normalised(value, f"what the stage {name!r} returned")
        check_stage(name)
        with self._changing():
            self._place.end(name, found)
            self._save(name)
        return found

    def is_done(self, stage: str) -> bool:
        """Whether the stage has ended, in this attempt or an earlier one."""
        return stage in self._place.done

    def range(
        self, start: int, stop: Optional[int] = None, step: int = 1, *, stage: str = "loop"
    ) -> Loop:
        """As `range`, beginning behind the last iteration in which `save` was called.

        `save` in the body says that this iteration is done: make it the last thing there. Loops may
        be nested; then it is the innermost one's iteration. When an outermost loop has run to its
        end its stage is done and saved, and a later attempt skips it. Loops in several threads, or
        tasks of asyncio, are beside each other: each has its own stage and its own position.

        Between two iterations it raises Preempted when the task was told to stop; save before that:
        `if ctx.should_stop: ctx.save(…)`. It tells how far it is, and draws that on a terminal.
        """
        numbers = range(start) if stop is None else range(start, stop, step)
        return Loop(self, check_stage(stage), numbers)

    def save(self, values: Optional[Mapping[str, Any]] = None, /, **named: Any) -> bool:
        """Saves the values, and where the loops around it are. What was saved under other names
        stays, and so does where the loops of other threads were when those saved.

        Write files first, then save their paths (`atomic_file`, `sync_tree`). True: a broker has
        it, and it is durable. False: no broker could be reached within a minute, and it is safe in
        the events file of this host, from which the worker passes it on later; or, outside of a
        worker, nothing keeps it.

        It may take as long as that: in async code, `await asyncio.to_thread(ctx.save, …)`.

        Raises Refused when it is no JSON or too large, and then nothing has changed; and LeaseLost
        when the task is not this process's any more.
        """
        with self._changing():
            self._place.add({**(values or {}), **named})
            self._note_positions()
            return self._save(None)

    def save_due(self, every: Span) -> bool:
        """Whether it is time to save: so long since the last time, or the task should stop."""
        return bool(self._stop) or time.monotonic() - self._saved_at >= seconds(every)

    def _save(self, stage: Optional[str]) -> bool:
        saved = self._link.save(self._place.text(), stage)
        self._saved_at = time.monotonic()
        return saved

    @contextlib.contextmanager
    def _changing(self) -> Generator[None, None, None]:
        """The place is as before when what is saved meanwhile is refused."""
        with self._saving:
            before = self._place.copy()
            try:
                yield
            except Refused:
                self._place.restore(before)
                raise

    def _note_positions(self) -> None:
        """As if the iteration of the innermost loop was done."""
        loops = around(self)
        for loop in loops:
            self._place.at[loop.name] = loop.done
        if loops:
            self._place.at[loops[-1].name] += 1

    def _use(self, name: str) -> None:
        check_stage(name)
        if name in self._used:
            raise RuntimeError(
                f"a stage {name!r} was there already in this attempt: give each its own name"
            )
        self._used.add(name)

    # --- for loops -------------------------------------------------------------------------------

    def enter_loop(self, loop: Loop) -> Optional[int]:
        """Where it begins; None = it is done. Called by the loop itself, as the next three."""
        outer = around(self)
        if any(loop.name == other.name for other in outer):
            raise RuntimeError(f"a loop {loop.name!r} inside of itself: give each its own stage")
        if not outer:
            self._use(loop.name)
            if loop.name in self._place.done:
                return None
        loop.open(outer)
        self._open.append(loop)
        if self._open == [loop]:
            self._reporter.follow(lambda: described(told(self._open)))
        return self._place.at.get(loop.name, 0)

    def between_iterations(self) -> None:
        """Raises Preempted if the task was told to stop."""
        self._reporter.touch()
        if self._stop:
            for loop in around(self):
                self._place.at[loop.name] = loop.done
            self._is_leaving = True
            self.raise_if_stopped()

    def loop_ended(self, loop: Loop) -> None:
        """It has run to its end."""
        if loop.root is loop:
            if self._open == [loop]:
                self._reporter.say(*described([loop]))
            self.end_stage(loop.name)

    def leave_loop(self, loop: Loop) -> None:
        """It is over, or was left."""
        loop.close()
        if loop in self._open:
            self._open.remove(loop)
        if loop.root is not loop and not self._is_leaving:
            # It begins anew in the next iteration of the outer one.
            self._place.at.pop(loop.name, None)
        if not self._open:
            self._reporter.follow(None)

    def shown(self) -> str:
        """The loops as one line for people."""
        loops = around(self)
        outer = [f"{loop.name} {loop.done + 1}/{loop.total}" for loop in loops[:-1]]
        prefix = " · ".join([*outer, ""])
        return loops[-1].shown(prefix, self._reporter.numbers())

    # --- what it says ----------------------------------------------------------------------------

    def metrics(self, values: Optional[Mapping[str, Any]] = None, /, **named: Any) -> None:
        """The latest values of named numbers, at most 32. Cheap: call it in each iteration.

        They are sent about once a second, from another thread, which also reads the number of a
        tensor; nothing waits, and nothing is raised.
        """
        if values:
            named = {**values, **named}
        self._reporter.metrics(named)

    def progress(self, percent: Optional[float] = None, message: str = "") -> None:
        """How far it is, 0 to 100, and in words; what is left out stays as it was. As `metrics`."""
        self._reporter.say(percent, message)

    @property
    def should_stop(self) -> bool:
        """Whether the task was told to stop: save what it needs, and leave. Costs nothing."""
        return bool(self._stop)

    @property
    def stop_reason(self) -> str:
        """Why it was told to stop, for people."""
        return self._stop.reason() if self._stop else ""

    @property
    def stop_flag(self) -> StopFlag:
        """What is behind `should_stop`."""
        return self._stop

    def raise_if_stopped(self) -> None:
        """Raises Preempted if the task was told to stop."""
        if self._stop:
            reason = self._stop.reason()
            raise Preempted(f"told to stop: {reason}" if reason else "told to stop")

    # --- others ----------------------------------------------------------------------------------

    def create_children(
        self, key: str, tasks: Sequence[Mapping[str, Any]], *, max_parallel: int = 0
    ) -> None:
        """Makes tasks as children of this one: `[part.spec(i=i) for i in range(10)]`.

        The same key makes them once, however often this is called. `max_parallel` of them run at
        once; 0 = any number. Raises Refused.
        """
        self._link.create_children(key, tasks, max_parallel)

    def children(self, key: str) -> list[Child]:
        """What was made under the key, in its order, with results."""
        return [Child.read(child) for child in self._link.list_children(key)]

    def gather(
        self, key: str, tasks: Sequence[Mapping[str, Any]], *, max_parallel: int = 0
    ) -> list[Child]:
        """The same tasks when all of them have ended, however.

        Until then the task gives its slot back, by raising Waiting, and begins again when they are
        done: put it first, or behind stages that are skipped then.
        """
        self.create_children(key, tasks, max_parallel=max_parallel)
        children = self.children(key)
        if len(children) < len(tasks) or not all(child.ended for child in children):
            self.wait(children=True)
        return children

    def wait(self, *signals: str, children: bool = False) -> Mapping[str, Any]:
        """What came with the signals, by name, once all of them have come.

        Until then, and until the children have ended if it is asked for those, the task gives its
        slot back, by raising Waiting, and begins again, behind its saved stages. An attempt that
        waits must have come further than the one before: see docs/guide/waiting.md.
        """
        if not signals and not children:
            raise ValueError("it needs signals or children to wait for")
        if not children and all(name in self.signals for name in signals):
            return self.signals
        self._link.set_wait(children, signals)
        raise Waiting("waits for " + ", ".join([*signals, *(["its children"] if children else [])]))

    def hand_over(self, message: str = "", /, **values: Any) -> NoReturn:
        """Gives the task away: another host goes on, from these values. Raises HandedOver."""
        with self._changing():
            self._place.add(values)
            self._link.hand_over(self._place.text(), message)
        raise HandedOver(message or "handed over")

    # --- its end ---------------------------------------------------------------------------------

    def set_result(self, value: Any) -> None:
        """What the task returns, as JSON of at most 64 KiB; the runner calls it. Raises Refused."""
        self._link.set_result(self.result_text(value))

    @staticmethod
    def result_text(value: Any) -> str:
        """A result as `set_result` hands it in. Raises Refused."""
        text = dumps(value, "the result")
        size = len(text.encode("utf-8"))
        if size > RESULT_BYTES_MAX:
            raise Refused(
                f"the result is {size:,} bytes, {RESULT_BYTES_MAX:,} at most: write it to a file "
                "and return its path"
            )
        return text

    def explain(self, message: str, retry_after_s: Optional[float] = None) -> None:
        """Why the task fails, for people; the runner calls it."""
        self._link.explain(cut(message, MESSAGE_BYTES_MAX), retry_after_s)

    def forget(self) -> None:
        """A run by hand has ended well: the next one begins anew."""
        if isinstance(self._link, LocalLink):
            self._link.forget()

    def close(self) -> None:
        """Sends what was not sent."""
        self._reporter.close()

    def after_fork(self) -> None:
        """In a child: a thread that is not there any more may hold the lock."""
        self._saving = threading.RLock()


_contexts: weakref.WeakSet[Context] = weakref.WeakSet()


def _after_fork() -> None:
    for ctx in list(_contexts):
        ctx.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


async def _ready(value: Any) -> Any:
    return value


__all__ = ["Context", "Entered", "current", "current_or_none", "say"]
