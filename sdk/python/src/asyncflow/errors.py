"""What goes wrong, in a form that programs and people can use. Imports no gRPC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from asyncflow.client.task import Task


class AsyncflowError(Exception):
    """The base of all errors of this package."""


class ConfigError(AsyncflowError, ValueError):
    """An address, token, file or setting is unusable; nothing was sent."""


@dataclass(frozen=True)
class Violation:
    """One field of a request that was refused."""

    field: str
    """Its path, e.g. `task.retry.max_retries`."""
    description: str
    """What is wrong with it."""


@dataclass(frozen=True)
class Refusal:
    """What a broker says when it does not do what it was asked for."""

    code: str
    """The name of gRPC's code, e.g. `INVALID_ARGUMENT`."""
    message: str
    """For people."""
    reason: str = ""
    """For programs, e.g. `LEASE_LOST`; each is explained in docs/errors. Empty = none was given."""
    violations: Sequence[Violation] = ()
    """All that is wrong with the request."""
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    """What the reason is about, e.g. `task_id`."""
    retry_after: Optional[timedelta] = None
    """How long the broker asks to wait before the call is repeated; None = it does not ask."""
    advice: str = ""
    """What to look at, where a guess is possible."""
    may_be_done: bool = False
    """An earlier try of the same call was not answered; what is refused now it may have done."""


class BrokerError(AsyncflowError):
    """A call that the broker refused or did not answer. Each code has a subclass."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.refusal = refusal

    def __reduce__(self) -> tuple[type[BrokerError], tuple[Refusal]]:
        return type(self), (self.refusal,)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    @property
    def code(self) -> str:
        """The name of gRPC's code, e.g. `INVALID_ARGUMENT`."""
        return self.refusal.code

    @property
    def message(self) -> str:
        """The broker's words, without code and details."""
        return self.refusal.message

    @property
    def reason(self) -> str:
        """For programs, e.g. `TASK_NOT_FOUND`; empty when none was given. See docs/errors."""
        return self.refusal.reason

    @property
    def violations(self) -> Sequence[Violation]:
        """All that is wrong with the request."""
        return self.refusal.violations

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the reason is about, e.g. `task_id`."""
        return self.refusal.metadata

    @property
    def retry_after(self) -> Optional[timedelta]:
        """How long the broker asks to wait before the call is repeated; None = it does not ask."""
        return self.refusal.retry_after

    @property
    def may_be_done(self) -> bool:
        """Whether the call was repeated because an answer was lost: then the try that was not
        answered may have done what this one is refused for, e.g. changed the etag."""
        return self.refusal.may_be_done

    @property
    def retryable(self) -> bool:
        """Whether repeating the same call may help: the broker said so, or was out of reach."""
        return self.code == "UNAVAILABLE" or self.retry_after is not None

    def __str__(self) -> str:
        lines = [self.message or self.code]
        if self.reason:
            lines[0] += f" ({self.reason})"
        for violation in self.violations:
            line = f"{violation.field}: {violation.description}"
            # A single one is the message already.
            if line != self.message:
                lines.append(f"  {line}")
        if self.refusal.advice:
            lines.append(f"  {self.refusal.advice}")
        return "\n".join(lines)


class InvalidArgument(BrokerError):
    """The request is not valid; `violations` says all that is wrong with it."""


class NotFound(BrokerError):
    """There is no such task, task type, workflow, … (any more)."""


class AlreadyExists(BrokerError):
    """It is there already, or the request id was used for another request."""


class FailedPrecondition(BrokerError):
    """What is asked for cannot be done in the state that it is in."""


class Aborted(BrokerError):
    """It was changed by somebody else; look at it again."""


class OutOfRange(BrokerError):
    """A page or resume token is too old: begin anew."""


class ResourceExhausted(BrokerError):
    """Too large, or too much at once."""


class Unauthenticated(BrokerError):
    """The call has no valid token."""


class PermissionDenied(BrokerError):
    """The owner of the token may not do that."""


class Unavailable(BrokerError):
    """The broker could not be reached, or could not reach its database, until the deadline."""


class DeadlineExceeded(BrokerError, TimeoutError):
    """No answer came before the deadline. Whether the call was carried out is not known."""


_BY_CODE: dict[str, type[BrokerError]] = {
    "INVALID_ARGUMENT": InvalidArgument,
    "NOT_FOUND": NotFound,
    "ALREADY_EXISTS": AlreadyExists,
    "FAILED_PRECONDITION": FailedPrecondition,
    "ABORTED": Aborted,
    "OUT_OF_RANGE": OutOfRange,
    "RESOURCE_EXHAUSTED": ResourceExhausted,
    "UNAUTHENTICATED": Unauthenticated,
    "PERMISSION_DENIED": PermissionDenied,
    "UNAVAILABLE": Unavailable,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
}


def broker_error(refusal: Refusal) -> BrokerError:
    """The error of the class that fits the refusal's code."""
    return _BY_CODE.get(refusal.code, BrokerError)(refusal)


class TaskError(AsyncflowError):
    """A task has ended without a result. `task` is the task."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.task = task

    def __str__(self) -> str:
        state, failure = self.task.state.name, self.task.failure
        text = f"task {self.task.id} is {state}"
        if failure is None:
            return text
        if failure.message:
            text += f": {failure.message}"
        return text if failure.reason == state else f"{text} ({failure.reason})"


class TaskFailed(TaskError):
    """A task has failed for good; `task.failure` says why."""


class TaskCancelled(TaskError):
    """A task was cancelled."""


class ResultExpired(TaskError):
    """A task has succeeded, but its result was removed after its type's `result_retention`."""

    def __str__(self) -> str:
        return f"task {self.task.id} has succeeded, but its result is not kept any more"
