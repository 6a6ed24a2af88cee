"""What a caller says about a task, a change of it, or a task type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Optional, TypedDict, Union

from asyncflow.client import values
from asyncflow.client.task import Task
from asyncflow.client.values import Moment, Span
from asyncflow.v1 import task_pb2

TaskRef = Union[str, Task]
"""A task, or its id."""


def task_id(task: TaskRef) -> str:
    """The id of a task."""
    return task.id if isinstance(task, Task) else task


@dataclass(frozen=True)
class Command:
    """A program to execute. There is no shell: the first word is executed with the others."""

    words: Sequence[str]
    """Program and arguments."""
    working_directory: str = ""
    """Absolute; empty = a fresh directory of the attempt."""
    environment: Optional[Mapping[str, str]] = None
    """Added to the worker's clean environment."""
    python_environment: str = ""
    """A virtual environment's absolute path, or the name of a conda environment."""
    container_image: str = ""
    """Executed in this image; empty = in no container."""
    container_volumes: Sequence[str] = ()
    """`HOST_PATH:CONTAINER_PATH[:ro]`."""

    def to_proto(self) -> task_pb2.Command:
        """As the protocol has it. Errors: ValueError without a program."""
        if isinstance(self.words, str) or not self.words:
            raise ValueError(
                f"command {self.words!r}: give a list of words, e.g. ['python', 'train.py']; for a "
                "shell: ['sh', '-c', '…']"
            )
        message = task_pb2.Command(
            program=str(self.words[0]),
            args=[str(word) for word in self.words[1:]],
            working_directory=self.working_directory,
            environment=self.environment or {},
            python_environment=self.python_environment,
        )
        if self.container_image:
            message.container.image = self.container_image
            message.container.volumes.extend(self.container_volumes)
        return message


class TaskOptions(TypedDict, total=False):
    """What may be said about a new task besides its type and payload. See `TaskSpec`."""

    command: Union[Sequence[str], Command]
    name: str
    user: str
    priority: int
    labels: Mapping[str, str]
    context: object
    max_retries: int
    retry_interval: Span
    retry_max_interval: Span
    max_running_time: Span
    not_before: Moment
    success_if: str
    after: Sequence[TaskRef]
    after_any_end: Sequence[TaskRef]
    signals: Sequence[str]
    on_success: Sequence[TaskSpec]
    on_error: Sequence[TaskSpec]
    on_cancel: Sequence[TaskSpec]
    gpus: int
    gpu_memory: Union[int, str]
    gpu_model: str
    cpus: float
    memory: Union[int, str]
    host: str
    preemptible: bool
    resources: task_pb2.Resources


@dataclass(frozen=True)
class TaskSpec:
    """A task to be created. What is left out comes from the task type."""

    task_type: str
    """`[a-z][a-z0-9_]{0,39}`."""
    payload: object = None
    """What a handler gets to work on: anything that JSON can hold, or bytes; at most 64 KiB."""
    command: Union[Sequence[str], Command, None] = None
    """A program to execute instead of a handler; not together with a payload."""
    name: str = ""
    """What people call it; at most 128 bytes."""
    user: str = ""
    """Who owns it; empty = the caller. Only administrators may name another."""
    priority: Optional[int] = None
    """−1,000 to 1,000; one point is worth one second of seniority."""
    labels: Optional[Mapping[str, str]] = None
    """At most 32."""
    context: object = None
    """The context to start from: anything that JSON can hold, or bytes."""
    max_retries: Optional[int] = None
    """Retries after the first failure, 0 to 1,000."""
    retry_interval: Optional[Span] = None
    """The wait before the first retry; the waits grow 1, 2, 4, … times."""
    retry_max_interval: Optional[Span] = None
    """The wait never grows beyond this."""
    max_running_time: Optional[Span] = None
    """Limit of one attempt's running time, e.g. `12h`."""
    not_before: Optional[Moment] = None
    """Not claimed before this time, or for this long from now."""
    success_if: str = ""
    """An expression in CEL that must be true of the result, e.g. `result.loss < 0.5`."""
    after: Sequence[TaskRef] = ()
    """Tasks that must have succeeded first."""
    after_any_end: Sequence[TaskRef] = ()
    """Tasks that must have ended first, however they do."""
    signals: Sequence[str] = ()
    """Signals that must have come first."""
    on_success: Sequence[TaskSpec] = ()
    """Created when it succeeds; one without a payload gets its result."""
    on_error: Sequence[TaskSpec] = ()
    """Created when it fails for good."""
    on_cancel: Sequence[TaskSpec] = ()
    """Created when it is cancelled."""
    gpus: Optional[int] = None
    """GPUs that nobody else uses meanwhile."""
    gpu_memory: Union[int, str, None] = None
    """Memory of a GPU that others use too, e.g. `10GiB`; not together with `gpus`."""
    gpu_model: str = ""
    """A GPU will do whose model contains this."""
    cpus: Optional[float] = None
    """Cores."""
    memory: Union[int, str, None] = None
    """Main memory, e.g. `64GiB`."""
    host: str = ""
    """Only on this host."""
    preemptible: bool = False
    """It may be asked to save and make room for others."""
    resources: Optional[task_pb2.Resources] = None
    """What else it needs; the fields above win over it."""

    def to_proto(self) -> task_pb2.TaskSpec:
        """As the protocol has it. Errors: ValueError and TypeError that say what cannot be sent."""
        message = task_pb2.TaskSpec(
            task_type=self.task_type,
            name=self.name,
            user=self.user,
            priority=self.priority,
            labels=_texts(self.labels or {}),
            success_if=self.success_if,
            signals=self.signals,
        )
        if self.payload is not None:
            message.payload.CopyFrom(values.content(self.payload, "the payload"))
        if self.context is not None:
            message.context.CopyFrom(values.content(self.context, "the context"))
        if self.command is not None:
            command = self.command
            command = command if isinstance(command, Command) else Command(command)
            message.command.CopyFrom(command.to_proto())
        set_retry(message, self.max_retries, self.retry_interval, self.retry_max_interval)
        if self.max_running_time is not None:
            message.max_running_time.CopyFrom(values.duration(self.max_running_time))
        if self.not_before is not None:
            message.not_before.CopyFrom(values.timestamp(self.not_before))
        self._add_others(message)
        self._add_resources(message)
        return message

    def _add_others(self, message: task_pb2.TaskSpec) -> None:
        for tasks, any_end in ((self.after, False), (self.after_any_end, True)):
            for task in tasks:
                message.after.add(task_id=task_id(task), any_end=any_end)
        for field, specs in (
            (message.on_success, self.on_success),
            (message.on_error, self.on_error),
            (message.on_cancel, self.on_cancel),
        ):
            field.extend(spec.to_proto() for spec in specs)

    def _add_resources(self, message: task_pb2.TaskSpec) -> None:
        needed = task_pb2.Resources(
            gpus=self.gpus or 0,
            gpu_memory_bytes=values.size(self.gpu_memory or 0),
            gpu_model=self.gpu_model,
            cpus=self.cpus or 0,
            memory_bytes=values.size(self.memory or 0),
            host=self.host,
            preemptible=self.preemptible,
        )
        if self.resources is not None:
            message.resources.CopyFrom(self.resources)
        if needed.ByteSize():
            message.resources.MergeFrom(needed)


SpecLike = Union[TaskSpec, task_pb2.TaskSpec]
"""A task to be created, of this package or of the protocol."""


def _texts(labels: Mapping[str, str]) -> Mapping[str, str]:
    wrong = [f"{name!r}: {text!r}" for name, text in labels.items() if not isinstance(text, str)]
    if wrong:
        raise TypeError(f"labels are texts, not {', '.join(wrong)}")
    return labels


def spec_proto(spec: SpecLike) -> task_pb2.TaskSpec:
    """As the protocol has it."""
    return spec.to_proto() if isinstance(spec, TaskSpec) else spec


class TaskChanges(TypedDict, total=False):
    """What may be changed of a task that has not ended. See `TaskSpec`."""

    name: str
    priority: int
    labels: Mapping[str, str]
    not_before: Optional[Moment]
    max_retries: int
    retry_interval: Span
    retry_max_interval: Span
    max_running_time: Optional[Span]


class TypeSettings(TypedDict, total=False):
    """Settings of a task type: the defaults of its tasks and the limits of its tables."""

    description: str
    priority: int
    max_retries: int
    retry_interval: Span
    retry_max_interval: Span
    max_running_time: Optional[Span]
    max_crashes: int
    max_context_bytes: int
    schedule_limit: int
    retention: Optional[Span]
    result_retention: Optional[Span]
    archive: bool
    paused: bool
    resources: task_pb2.Resources


_RETRY_PATHS = {
    "max_retries": "retry.max_retries",
    "retry_interval": "retry.interval",
    "retry_max_interval": "retry.max_interval",
}
_SPANS = ("max_running_time", "retention", "result_retention")


def changes_proto(changes: TaskChanges) -> tuple[task_pb2.TaskSpec, list[str]]:
    """The changed fields and their paths."""
    message = task_pb2.TaskSpec()
    _fill(message, dict(changes), TaskChanges)
    return message, [_RETRY_PATHS.get(name, name) for name in changes]


def type_proto(name: str, settings: TypeSettings) -> tuple[task_pb2.TaskType, list[str]]:
    """A task type with these settings, and the paths of the settings."""
    message = task_pb2.TaskType(name=name)
    _fill(message, dict(settings), TypeSettings)
    return message, [_RETRY_PATHS.get(name, name) for name in settings]


def _fill(
    message: Union[task_pb2.TaskSpec, task_pb2.TaskType],
    given: dict[str, object],
    known: type[Union[TaskChanges, TypeSettings]],
) -> None:
    strange = sorted(given.keys() - known.__annotations__.keys())
    if strange:
        raise TypeError(
            f"{', '.join(strange)}: there is no such setting; there are "
            + ", ".join(known.__annotations__)
        )
    set_retry(message, *(given.pop(name, None) for name in _RETRY_PATHS))
    for name, value in given.items():
        if value is None:
            continue
        if name in _SPANS:
            getattr(message, name).CopyFrom(values.duration(value))  # type: ignore[arg-type]
        elif name == "not_before":
            getattr(message, name).CopyFrom(values.timestamp(value))  # type: ignore[arg-type]
        elif name == "labels":
            getattr(message, name).update(_texts(value))  # type: ignore[arg-type]
        elif name == "resources":
            getattr(message, name).CopyFrom(value)
        else:
            setattr(message, name, value)


def set_retry(
    message: Union[task_pb2.TaskSpec, task_pb2.TaskType],
    max_retries: object,
    interval: object,
    max_interval: object,
) -> None:
    """Sets what is given of the retry policy."""
    if max_retries is not None:
        message.retry.max_retries = max_retries  # type: ignore[assignment]
    if interval is not None:
        message.retry.interval.CopyFrom(values.duration(interval))  # type: ignore[arg-type]
    if max_interval is not None:
        message.retry.max_interval.CopyFrom(values.duration(max_interval))  # type: ignore[arg-type]


OPTION_NAMES = tuple(
    field.name for field in fields(TaskSpec) if field.name not in ("task_type", "payload")
)
"""A test keeps `TaskOptions` the same."""
