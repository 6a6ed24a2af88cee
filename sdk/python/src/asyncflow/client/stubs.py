"""The services of a broker, for what the clients have no method for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncflow.v1 import broker_service_pb2_grpc as broker
from asyncflow.v1 import host_service_pb2_grpc as hosts
from asyncflow.v1 import operation_service_pb2_grpc as operations
from asyncflow.v1 import schedule_service_pb2_grpc as schedules

if TYPE_CHECKING:
    from asyncflow.v1.broker_service_pb2_grpc import BrokerServiceAsyncStub
    from asyncflow.v1.host_service_pb2_grpc import HostServiceAsyncStub
    from asyncflow.v1.operation_service_pb2_grpc import OperationServiceAsyncStub
    from asyncflow.v1.schedule_service_pb2_grpc import ScheduleServiceAsyncStub


class Stubs:
    """Generated stubs, with the client's retries, deadline, request ids and errors: a method of
    each call, which takes its request and `timeout` (seconds, for all tries together) and
    `metadata`. The messages are in `asyncflow.v1`."""

    def __init__(self, channel: Any) -> None:
        self.broker = broker.BrokerServiceStub(channel)
        """Tasks, task types, workflows, workers."""
        self.operations = operations.OperationServiceStub(channel)
        """Cancel, retry, delete many tasks."""
        self.schedules = schedules.ScheduleServiceStub(channel)
        """Tasks and workflows at times."""
        self.hosts = hosts.HostServiceStub(channel)
        """Hosts and GPUs."""


class AsyncStubs:
    """The same for asyncio."""

    def __init__(self, channel: Any) -> None:
        self.broker: BrokerServiceAsyncStub = _untyped(broker.BrokerServiceStub, channel)
        """Tasks, task types, workflows, workers."""
        self.operations: OperationServiceAsyncStub = _untyped(
            operations.OperationServiceStub, channel
        )
        """Cancel, retry, delete many tasks."""
        self.schedules: ScheduleServiceAsyncStub = _untyped(schedules.ScheduleServiceStub, channel)
        """Tasks and workflows at times."""
        self.hosts: HostServiceAsyncStub = _untyped(hosts.HostServiceStub, channel)
        """Hosts and GPUs."""


def _untyped(stub: Any, channel: Any) -> Any:
    return stub(channel)
