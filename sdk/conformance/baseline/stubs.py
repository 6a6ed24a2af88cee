"""Stubs made from the released protocol, proto/baseline.binpb, when this is run.

They know nothing that came after the release, as the stubs of a user who never updated.
"""

import os

import grpc
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, duration_pb2
from google.protobuf.message_factory import GetMessageClass

HERE = os.path.dirname(os.path.abspath(__file__))
BASELINE = os.path.join(HERE, "..", "..", "..", "proto", "baseline.binpb")
STATUS_DETAILS = "grpc-status-details-bin"
TYPES = {"int32": 5, "string": 9, "message": 11}
# Of google.rpc, what is needed of it: name, number, type, whether repeated.
DETAILS = {
    "Status": [
        ("code", 1, "int32", False),
        ("message", 2, "string", False),
        ("details", 3, ".google.protobuf.Any", True),
    ],
    "ErrorInfo": [("reason", 1, "string", False), ("domain", 2, "string", False)],
    "RetryInfo": [("retry_delay", 1, ".google.protobuf.Duration", False)],
    "FieldViolation": [("field", 1, "string", False), ("description", 2, "string", False)],
    "BadRequest": [("field_violations", 1, ".google.rpc.FieldViolation", True)],
}


def load():
    """A pool with all messages of the baseline and those of google.rpc."""
    pool = descriptor_pool.DescriptorPool()
    with open(BASELINE, "rb") as file:
        for one in descriptor_pb2.FileDescriptorSet.FromString(file.read()).file:
            pool.Add(one)
    any_file = descriptor_pb2.FileDescriptorProto()
    any_pb2.DESCRIPTOR.CopyToProto(any_file)
    pool.Add(any_file)
    pool.Add(details_file())
    return pool


def details_file():
    """The few messages of google.rpc as a file."""
    file = descriptor_pb2.FileDescriptorProto(name="details.proto", package="google.rpc")
    file.syntax = "proto3"
    file.dependency.extend([any_pb2.DESCRIPTOR.name, duration_pb2.DESCRIPTOR.name])
    for name, fields in DETAILS.items():
        message = file.message_type.add(name=name)
        for field, number, kind, repeated in fields:
            made = message.field.add(name=field, number=number, label=3 if repeated else 1)
            made.type = TYPES.get(kind, TYPES["message"])
            if kind not in TYPES:
                made.type_name = kind
    return file


POOL = load()


def message(name):
    """The class of a message, e.g. `asyncflow.v1.Task`."""
    return GetMessageClass(POOL.FindMessageTypeByName(name))


class Service:
    """A service's calls as functions, by their names."""

    def __init__(self, channel, name):
        for method in POOL.FindServiceByName(f"asyncflow.v1.{name}").methods:
            make = channel.unary_stream if method.server_streaming else channel.unary_unary
            call = make(
                f"/asyncflow.v1.{name}/{method.name}",
                request_serializer=lambda request: request.SerializeToString(),
                response_deserializer=GetMessageClass(method.output_type).FromString,
            )
            setattr(self, method.name, call)


def details_of(error):
    """Reason, violated fields, whether to try again, and after how many seconds."""
    trailer = dict(error.trailing_metadata() or ()).get(STATUS_DETAILS)
    reason, fields, again, wait = "", [], error.code() is grpc.StatusCode.UNAVAILABLE, 0.0
    if trailer:
        for detail in message("google.rpc.Status").FromString(trailer).details:
            name = detail.type_url.rpartition(".")[2]
            if name not in DETAILS:
                continue
            read = message(f"google.rpc.{name}").FromString(detail.value)
            if name == "ErrorInfo":
                reason = read.reason
            elif name == "BadRequest":
                fields = [violation.field for violation in read.field_violations]
            elif name == "RetryInfo":
                again, wait = True, read.retry_delay.seconds + read.retry_delay.nanos / 1e9
    return reason, fields, again, wait
