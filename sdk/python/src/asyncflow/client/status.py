"""From gRPC's errors to ours."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, Optional

import grpc
from google.protobuf.message import DecodeError
from google.rpc import (  # pyright: ignore[reportMissingTypeStubs]
    code_pb2,
    error_details_pb2,
    status_pb2,
)

from asyncflow.client.settings import Settings
from asyncflow.errors import BrokerError, Refusal, Violation, broker_error
from asyncflow.v1 import task_pb2

_DETAILS_KEY = "grpc-status-details-bin"

# What gRPC says, with the codes INTERNAL and UNKNOWN, when a connection breaks in the middle of a
# call.
_BROKEN_IN_TRANSIT = ("Internal error from Core", "Stream removed", "Received RST_STREAM")


def of_call(error: grpc.RpcError, settings: Settings) -> BrokerError:
    """The error of a call, told with the broker's address where it could not be reached."""
    call: Any = error  # Each that a call raises is a Call too, or an AioRpcError.
    status: grpc.StatusCode = call.code()
    details = _details(call.trailing_metadata())
    return _told(status.name, call.details() or "", details, settings)


def of_task(error: task_pb2.TaskError) -> BrokerError:
    """What a call about that task alone would have raised."""
    name = _code_name(error.code)
    return broker_error(_refusal(name, error.message, _parsed(error.status)))


def _details(metadata: Any) -> status_pb2.Status:
    for key, value in metadata or ():
        if key == _DETAILS_KEY:
            return _parsed(value)
    return status_pb2.Status()


def _parsed(data: bytes) -> status_pb2.Status:
    try:
        return status_pb2.Status.FromString(data)
    except DecodeError:
        return status_pb2.Status()


def _code_name(number: int) -> str:
    try:
        name: str = code_pb2.Code.Name(number)
    except ValueError:
        return "UNKNOWN"
    return name


def _refusal(code: str, message: str, status: status_pb2.Status, advice: str = "") -> Refusal:
    reason, metadata, retry_after = "", {}, None
    violations: list[Violation] = []
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    for detail in status.details:
        if detail.Unpack(info):
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(bad):
            violations += [Violation(one.field, one.description) for one in bad.field_violations]
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.ToTimedelta()
    return Refusal(code, message, reason, tuple(violations), metadata, retry_after, advice)


def _told(code: str, message: str, status: status_pb2.Status, settings: Settings) -> BrokerError:
    refusal = _refusal(code, message, status)
    advice = ""
    if not refusal.reason and message.startswith(_BROKEN_IN_TRANSIT):
        code, message = "UNAVAILABLE", f"the connection broke: {message}"
    if refusal.reason:
        if refusal.reason == "UNKNOWN_TASK_TYPE":
            advice = "Client.ensure_type makes one, or `asyncflow type create NAME`"
        elif code == "UNAUTHENTICATED":
            advice = (
                "set ASYNCFLOW_TOKEN or ASYNCFLOW_TOKEN_FILE, give Client(token=…), or write the "
                "token into ~/.config/asyncflow/config.toml"
            )
    elif code == "UNAVAILABLE":
        cause = re.sub("(UNKNOWN|UNAVAILABLE): ", "", message.rpartition("last error: ")[2])
        message = f"cannot reach the broker at {settings.address}: {cause}"
        advice = _advice(cause, settings)
    elif code == "DEADLINE_EXCEEDED":
        message = f"the broker at {settings.address} did not answer in time"
    elif code == "UNIMPLEMENTED":
        advice = f"what answers at {settings.address} is no broker, or one of another version"
    return broker_error(_refusal(code, message, status, advice))


def _advice(cause: str, settings: Settings) -> str:
    if is_untrusted(cause):
        return (
            "is ca_file (ASYNCFLOW_CA_FILE) the authority that signed its certificate, and does "
            "the certificate name this address?"
        )
    if settings.is_tls and "WRONG_VERSION_NUMBER" in cause:
        return "it does not speak TLS: does it want http://?"
    return (
        "is it running? `asyncflow dev` starts one; another address is given by Client(address) "
        "or ASYNCFLOW_BROKER"
    )


def is_untrusted(message: str) -> bool:
    """Whether the broker's certificate was refused, which repeating does not help."""
    return "CERTIFICATE_VERIFY_FAILED" in message or "not valid for" in message


def broken(message: str) -> BrokerError:
    """The error of an answer that no broker gives."""
    return broker_error(Refusal("INTERNAL", message))


def broken_off(message: str) -> BrokerError:
    """The error of a stream that ended too early; it may be opened again."""
    return broker_error(Refusal("UNAVAILABLE", message))


def out_of_time(what: str, after: Optional[float]) -> BrokerError:
    """The error of a wait that is over."""
    text = "" if after is None else f" within {timedelta(seconds=after)}"
    return broker_error(Refusal("DEADLINE_EXCEEDED", f"{what} has not ended{text}"))
