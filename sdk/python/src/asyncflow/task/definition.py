"""`@task`: a function or class that workers run."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import json
import re
import sys
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Coroutine,
    Generic,
    Mapping,
    Optional,
    Protocol,
    Sequence,
    TypeVar,
    cast,
    overload,
)

from asyncflow.task.context import Context, current_or_none
from asyncflow.task.duration import Span, proto_json, seconds
from asyncflow.task.values import dumps

if TYPE_CHECKING:
    from typing_extensions import Concatenate, ParamSpec

    from asyncflow.task.handle import Handle

    P = ParamSpec("P")
else:
    P = TypeVar("P")
# What a call gives, and what the task returns: for an async function these differ.
C = TypeVar("C")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

_TYPE = re.compile(r"[a-z][a-z0-9_]{0,39}")


class Process(Protocol[R_co]):
    """What a class must have to be a task: `process`. `load_context` and `finish` may be there."""

    def process(self, ctx: Context, /) -> R_co:
        """Does the work, and returns the result."""
        ...


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What `finish` is told: how the task has ended."""

    result: Any = None
    # The exception, if it has failed for good.
    error: Optional[BaseException] = None

    @property
    def succeeded(self) -> bool:
        """Whether `process` has returned."""
        return self.error is None


@dataclasses.dataclass(frozen=True)
class Options:
    """What a task needs, and how often it is tried. What is None comes from its task type."""

    gpus: Optional[int] = None
    gpu_memory: Optional[int] = None
    cpus: Optional[float] = None
    memory: Optional[int] = None
    max_retries: Optional[int] = None
    retry_interval: Optional[Span] = None
    max_time: Optional[Span] = None
    priority: Optional[int] = None
    preemptible: Optional[bool] = None
    warm: bool = False
    # Of one task only, see `Task.options`.
    name: Optional[str] = None
    labels: Optional[Mapping[str, str]] = None
    request_id: Optional[str] = None
    client: Any = dataclasses.field(default=None, compare=False)

    def __post_init__(self) -> None:
        for name in ("max_time", "retry_interval"):
            span = getattr(self, name)
            if span is not None and seconds(span) <= 0:
                raise ValueError(f"{name}={span!r} is too short")
        for name, most in (("gpus", 64), ("max_retries", 1000)):
            count = getattr(self, name)
            if count is not None and not isinstance(count, int):
                raise TypeError(f"{name}={count!r} is no whole number")
            if count is not None and not 0 <= count <= most:
                raise ValueError(f"{name}={count!r} is out of range; 0 to {most}")

    def defaults(self) -> dict[str, Any]:
        """The fields of them that TaskSpec and TaskType have both, as JSON of the protocol."""
        resources = {
            "gpus": self.gpus,
            "gpu_memory_bytes": self.gpu_memory,
            "cpus": self.cpus,
            "memory_bytes": self.memory,
            "preemptible": self.preemptible,
        }
        interval = None if self.retry_interval is None else proto_json(self.retry_interval)
        found = {
            "priority": self.priority,
            "retry": _given({"max_retries": self.max_retries, "interval": interval}) or None,
            "max_running_time": None if self.max_time is None else proto_json(self.max_time),
            "resources": _given(resources) or None,
        }
        return _given(found)


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


class Task(Generic[P, C, R]):
    """A function or class made a task by `@task`.

    Called, it does its work here and now, as if it had not been decorated; submitted, a worker does
    it. In both cases it gets the same arguments; the first parameter, if it is called `ctx`, is
    filled in.
    """

    def __init__(self, type_name: str, target: Callable[..., Any], options: Options) -> None:
        if not _TYPE.fullmatch(type_name):
            raise ValueError(
                f"{type_name!r} is no task type: a lower-case letter, then up to 39 of a-z, 0-9, _"
            )
        self.type = type_name
        self.target = target
        self.default = options
        self._base: Optional[Task[P, C, R]] = None
        self.is_class = inspect.isclass(target)
        work = cast(Any, target).process if self.is_class else target
        self.is_async = inspect.iscoroutinefunction(work)
        functools.update_wrapper(self, target, updated=())

    def __repr__(self) -> str:
        return f"<task {self.type!r}: {self.target.__module__}.{self.target.__qualname__}>"

    def __reduce__(self) -> Any:
        """By its name, as the function would be: for processes that are spawned."""
        if self._base is not None:
            return _with_options, (self._base, self.default)
        name = self.target.__qualname__
        if getattr(sys.modules.get(self.target.__module__), name, None) is self:
            return name
        return Task, (self.type, self.target, self.default)

    @functools.cached_property
    def takes_context(self) -> bool:
        """Whether the function's first parameter is the context."""
        if self.is_class:
            return False
        first = next(iter(inspect.signature(self.target).parameters.values()), None)
        if first is None or first.kind not in (first.POSITIONAL_ONLY, first.POSITIONAL_OR_KEYWORD):
            return False
        return first.name == "ctx" or first.annotation in (Context, "Context", "asyncflow.Context")

    @functools.cached_property
    def signature(self) -> inspect.Signature:
        """Of its arguments, without the context."""
        signature = inspect.signature(self.target)
        skipped = 1 if self.takes_context else 0
        parameters = list(signature.parameters.values())[skipped:]
        return signature.replace(parameters=parameters)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> C:
        from asyncflow.task.run import call_here

        return cast(C, call_here(self, args, kwargs))

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Creates a task of it for the workers. Raises the errors of the client."""
        from asyncflow.task.handle import submit

        return submit(self, self._spec(), self._arguments(args, kwargs))

    def spec(self, *args: P.args, **kwargs: P.kwargs) -> dict[str, Any]:
        """The same as a message TaskSpec in JSON: for children, workflows and batches.

        Raises TypeError if the arguments do not fit the function, and Refused if they are not JSON.
        """
        return {**self._spec(), "payload": {"json": json.loads(self._arguments(args, kwargs))}}

    def _arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        """The payload, as JSON."""
        try:
            self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.type}{self.signature}: {error}") from None
        payload = {"args": list(args), "kwargs": dict(kwargs)}
        return dumps(payload, f"the arguments of {self.type}")

    def _spec(self) -> dict[str, Any]:
        """All but the payload."""
        own = self.default
        found = {
            "task_type": self.type,
            "name": own.name,
            "labels": None if own.labels is None else dict(own.labels),
        }
        return {**_given(found), **own.defaults()}

    def options(self, **changed: Any) -> Task[P, C, R]:
        """The same task with other options, e.g. `train.options(gpus=2, name="try").submit(…)`.

        They are those of `task`, and `name`, `labels`, `request_id`, `client`. Raises TypeError.
        """
        names = [field.name for field in dataclasses.fields(Options)]
        unknown = sorted(set(changed) - set(names))
        if unknown:
            raise TypeError(
                f"no option is called {', '.join(unknown)}; there are {', '.join(names)}"
            )
        return self.with_options(dataclasses.replace(self.default, **changed))

    def with_options(self, options: Options) -> Task[P, C, R]:
        """The same task with exactly these options."""
        other = copy.copy(self)
        other._base, other.default = self._base or self, options
        return other

    def __copy__(self) -> Task[P, C, R]:
        other: Task[P, C, R] = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def described(self) -> dict[str, Any]:
        """For those who run it: a line of `python -m asyncflow.task list`."""
        text = inspect.getdoc(self.target) or ""
        description = text.strip().splitlines()[0][:1024] if text.strip() else ""
        fields = {"name": self.type, "description": description or None, **self.default.defaults()}
        own = self.default
        span = None if own.max_time is None else seconds(own.max_time)
        return {
            "type": self.type,
            "function": f"{self.target.__module__}.{self.target.__qualname__}",
            "signature": str(self.signature),
            "gpus": own.gpus,
            "max_retries": own.max_retries,
            "max_time_s": span,
            "warm": own.warm,
            "task_type": _given(fields),
        }

    def context(self, local_directory: Optional[str] = None) -> Context:
        """The context that runs here already, else a fresh one for a run by hand."""
        return current_or_none() or Context.local(self.type, local_directory)


def _with_options(base: Task[..., Any, Any], options: Options) -> Task[..., Any, Any]:
    return base.with_options(options)


class Decorator(Protocol):
    """What `@task(…)` gives, for type checkers."""

    @overload
    def __call__(
        self, target: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /
    ) -> Task[P, Coroutine[Any, Any, R], R]: ...
    @overload
    def __call__(
        self, target: Callable[P, Process[Coroutine[Any, Any, R]]], /
    ) -> Task[P, Coroutine[Any, Any, R], R]: ...
    @overload
    def __call__(self, target: Callable[P, Process[R]], /) -> Task[P, R, R]: ...
    @overload
    def __call__(self, target: Callable[Concatenate[Context, P], R], /) -> Task[P, R, R]: ...
    @overload
    def __call__(
        self, target: Callable[P, Coroutine[Any, Any, R]], /
    ) -> Task[P, Coroutine[Any, Any, R], R]: ...
    @overload
    def __call__(self, target: Callable[P, R], /) -> Task[P, R, R]: ...
    def __call__(self, target: Any, /) -> Any:
        """Makes it a task."""
        ...


def task(
    type_name: str,
    *,
    gpus: Optional[int] = None,
    gpu_memory: Optional[int] = None,
    cpus: Optional[float] = None,
    memory: Optional[int] = None,
    max_retries: Optional[int] = None,
    retry_interval: Optional[Span] = None,
    max_time: Optional[Span] = None,
    priority: Optional[int] = None,
    preemptible: Optional[bool] = None,
    warm: bool = False,
) -> Decorator:
    """Makes a function, or a class with `process(ctx)`, a task of this type.

        @task("train", gpus=1, max_retries=3, max_time="12h")
        def train(ctx, lr, epochs=10): ...

    `gpu_memory` and `memory` are bytes; `max_time` limits one attempt; `warm` lets a worker run it
    in a process that has imported everything already. What is left out comes from the task type.
    Raises ValueError and TypeError.
    """
    if not isinstance(type_name, str):
        raise TypeError('@task needs the name of a type: write @task("name")')
    options = Options(
        gpus=gpus,
        gpu_memory=gpu_memory,
        cpus=cpus,
        memory=memory,
        max_retries=max_retries,
        retry_interval=retry_interval,
        max_time=max_time,
        priority=priority,
        preemptible=preemptible,
        warm=warm,
    )

    def decorate(target: Any, /) -> Any:
        if not callable(target):
            raise TypeError(f"@task is for functions and classes, not {target!r}")
        if inspect.isclass(target) and not callable(getattr(target, "process", None)):
            raise TypeError(f"the class {target.__qualname__} has no method process(self, ctx)")
        made: Task[..., Any, Any] = Task(type_name, target, options)
        return made

    return cast(Decorator, decorate)
