"""Runs a task in this process, and tells its worker how it ended: by exit codes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any, Coroutine, Generator, Mapping, Sequence, Union, cast

from asyncflow.task import errors
from asyncflow.task.context import Context, Entered, current_or_none, say
from asyncflow.task.definition import Outcome, Task
from asyncflow.task.discover import NotFound, load
from asyncflow.task.stop import CatchTerm
from asyncflow.task.surroundings import Surroundings

if TYPE_CHECKING:
    AnyTask = Task[..., Any, Any]


class BadPayload(Exception):
    """The payload does not fit the task; for people."""


def main(modules: Sequence[str]) -> int:
    """Runs the task of this process's environment; its exit code."""
    found = Surroundings.read()
    if not found.in_worker or not found.task_type:
        say("ASYNCFLOW_TASK_TYPE and ASYNCFLOW_EVENTS are not set: a worker starts this")
        return errors.BAD_SETUP
    try:
        tasks = load(modules)
    except NotFound as error:
        # Perhaps on this host only: tried again, as any failure.
        say(str(error))
        return errors.FAILED
    task = tasks.get(found.task_type)
    if task is None:
        there = ", ".join(sorted(tasks))
        say(f"no task {found.task_type!r} in {', '.join(modules)}; there are {there}")
        return errors.BAD_SETUP
    return run_in_worker(task, found)


def run_in_worker(task: AnyTask, found: Surroundings) -> int:
    """Runs one attempt; its exit code. The payload is read from where `found` says."""
    ctx = Context.in_worker_of(found)
    found.take()
    try:
        args, kwargs = arguments(task, ctx.payload)
    except BadPayload as error:
        say(str(error))
        ctx.explain(str(error))
        return errors.BAD_DATA
    with Entered(ctx), CatchTerm(ctx.stop_flag):
        return _exit_code(lambda: _worked(task, ctx, args, kwargs), ctx)


def _worked(task: AnyTask, ctx: Context, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    result = work(task, ctx, args, kwargs, is_outermost=True)
    if task.is_async:
        result = asyncio.run(cast("Coroutine[Any, Any, Any]", result))
    if result is not None:
        ctx.set_result(result)


def _exit_code(run: Any, ctx: Context) -> int:
    try:
        run()
    except errors.Preempted as left:
        say(str(left))
        return errors.RUN_AGAIN
    except errors.Retry as error:
        say(f"to be tried again: {error}")
        ctx.explain(str(error), error.after_s)
        return errors.RETRY_LATER
    except errors.Fail as error:
        if error.__cause__ is not None:
            traceback.print_exc()
        say(f"failed{' for good' if error.permanent else ''}: {error}")
        ctx.explain(str(error))
        return errors.BAD_DATA if error.permanent else errors.FAILED
    except errors.Refused as error:
        # The same would be refused the next time.
        traceback.print_exc()
        say(f"failed for good: {error}")
        ctx.explain(str(error))
        return errors.BAD_DATA
    except SystemExit as left:
        return _code_of(left)
    except KeyboardInterrupt:
        return errors.RUN_AGAIN if ctx.should_stop else 130
    except BaseException as error:
        traceback.print_exc()
        ctx.explain("".join(traceback.format_exception_only(type(error), error)).strip())
        return errors.FAILED
    return errors.SUCCEEDED


def _code_of(left: SystemExit) -> int:
    """As Python itself reads it."""
    if left.code is None:
        return errors.SUCCEEDED
    if isinstance(left.code, int):
        return left.code & 0xFF
    print(left.code, file=sys.stderr, flush=True)
    return errors.FAILED


# --- arguments -----------------------------------------------------------------------------------


def arguments(task: AnyTask, payload: bytes) -> tuple[list[Any], dict[str, Any]]:
    """The arguments that a payload holds, checked against the task's signature.

    `{"args": […], "kwargs": {…}}` is what `submit` makes. Any other JSON object gives arguments by
    name, and any other JSON value is the only argument, so that a task can be created by hand, and
    can go on with the result of another one in a workflow. Raises BadPayload.
    """
    args, kwargs = _read(task, payload)
    try:
        task.signature.bind(*args, **kwargs)
    except TypeError as error:
        shown = payload[:200].decode("utf-8", "replace")
        name = f"{task.target.__qualname__}{task.signature}"
        raise BadPayload(f"the payload does not fit {name}: {error}; it is {shown}") from None
    return args, kwargs


def _read(task: AnyTask, payload: bytes) -> tuple[list[Any], dict[str, Any]]:
    if not payload.strip():
        return [], {}
    try:
        found: Any = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise BadPayload(f"the payload of a task {task.type!r} must be JSON: {error}") from None
    if not isinstance(found, dict):
        return [found], {}
    named = cast("dict[str, Any]", found)
    args: Any = named.get("args", [])
    kwargs: Any = named.get("kwargs", {})
    is_ours = isinstance(args, list) and isinstance(kwargs, dict) and bool(named)
    if is_ours and set(named) <= {"args", "kwargs"}:
        return cast("tuple[list[Any], dict[str, Any]]", (args, kwargs))
    return [], named


# --- the work ------------------------------------------------------------------------------------


def work(
    task: AnyTask,
    ctx: Context,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    is_outermost: bool = False,
) -> Any:
    """What the function or class makes of the arguments; of an async one a coroutine.

    The outermost one's result is handed in, so `finish` hears whether it can be.
    """
    if not task.is_class:
        given = [ctx, *args] if task.takes_context else list(args)
        return task.target(*given, **kwargs)
    worker = task.target(*args, **kwargs)
    if task.is_async:
        return _work_async(worker, ctx, is_outermost)
    try:
        _load(worker, ctx)
        result = worker.process(ctx)
        _check_result(ctx, result, is_outermost)
    except (errors.Fail, errors.Refused) as error:
        if _is_permanent(error):
            _finish(worker, ctx, Outcome(error=error))
        raise
    _finish(worker, ctx, Outcome(result=result))
    return result


async def _work_async(worker: Any, ctx: Context, is_outermost: bool) -> Any:
    async def settled(value: Any) -> Any:
        return await value if asyncio.iscoroutine(value) else value

    try:
        await settled(_load(worker, ctx))
        result = await worker.process(ctx)
        _check_result(ctx, result, is_outermost)
    except (errors.Fail, errors.Refused) as error:
        if _is_permanent(error):
            await settled(_finish(worker, ctx, Outcome(error=error)))
        raise
    await settled(_finish(worker, ctx, Outcome(result=result)))
    return result


def _check_result(ctx: Context, result: Any, is_outermost: bool) -> None:
    if is_outermost and ctx.in_worker and result is not None:
        ctx.result_text(result)


def _is_permanent(error: Union[errors.Fail, errors.Refused]) -> bool:
    return isinstance(error, errors.Refused) or error.permanent


def _load(worker: Any, ctx: Context) -> Any:
    load_context = getattr(worker, "load_context", None)
    return load_context(ctx) if load_context is not None else None


def _finish(worker: Any, ctx: Context, outcome: Outcome) -> Any:
    finish = getattr(worker, "finish", None)
    return finish(ctx, outcome) if finish is not None else None


# --- by hand -------------------------------------------------------------------------------------


def call_here(task: AnyTask, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What `train(lr=…)` does: the work, here and now.

    In a task that runs already it is a plain call with that task's context. In a script that a
    worker has started (`asyncflow run -- python train.py`) it is that task's work, once; in a
    process that the task has spawned it reads the same context, and says nothing. By hand it is
    none of these, and nothing hears of it.
    """
    try:
        task.signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{task.target.__qualname__}{task.signature}: {error}") from None
    ctx = current_or_none()
    if ctx is not None:
        return work(task, ctx, args, kwargs)
    found = Surroundings.read()
    ctx = _taken_over(found) if found.in_worker else Context.local(task.type)
    if task.is_async:
        return _call_async(task, ctx, args, kwargs)
    with Entered(ctx), _leaving(ctx):
        result = work(task, ctx, args, kwargs, is_outermost=True)
        _hand_in(ctx, result)
        return result


def _taken_over(found: Surroundings) -> Context:
    """The context of a script's task. A process that the task has spawned is not the task."""
    taken_by = found.taken_by()
    if taken_by is None:
        found.take()
        return Context.in_worker_of(found)
    if taken_by != os.getpid():
        return Context.in_child_of(found)
    raise RuntimeError(
        "a worker runs this program as one task, which was called already: a second one would "
        "replace its context and its result. Call other tasks inside of it"
    )


async def _call_async(
    task: AnyTask, ctx: Context, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    with Entered(ctx), _leaving(ctx):
        result = await work(task, ctx, args, kwargs, is_outermost=True)
        _hand_in(ctx, result)
        return result


def _hand_in(ctx: Context, result: Any) -> None:
    # By hand anything may be returned.
    if not ctx.in_worker:
        ctx.forget()
    elif result is not None:
        ctx.set_result(result)


@contextlib.contextmanager
def _leaving(ctx: Context) -> Generator[None, None, None]:
    """In a script of a worker, what asks for an exit code leaves with it; by hand it is raised."""
    if not ctx.in_worker:
        yield
        return
    try:
        with CatchTerm(ctx.stop_flag):
            yield
    except (errors.Retry, errors.Fail, errors.Refused) as error:
        failed = error

        def again() -> None:
            raise failed

        raise SystemExit(_exit_code(again, ctx)) from error

