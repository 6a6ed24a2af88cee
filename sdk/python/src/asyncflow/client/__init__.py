"""The client half: create tasks, follow them, read what came of them."""

from asyncflow.client.aio import AsyncClient
from asyncflow.client.calls import Counts, CreateRequest
from asyncflow.client.spec import Command, TaskOptions, TaskSpec
from asyncflow.client.streams import Created
from asyncflow.client.sync import Client
from asyncflow.client.task import (
    Attempt,
    Change,
    Explanation,
    Failure,
    LogChunk,
    Progress,
    State,
    Task,
)
from asyncflow.v1.task_pb2 import Content, Resources

__all__ = [
    "AsyncClient",
    "Attempt",
    "Change",
    "Client",
    "Command",
    "Content",
    "Counts",
    "CreateRequest",
    "Created",
    "Explanation",
    "Failure",
    "LogChunk",
    "Progress",
    "Resources",
    "State",
    "Task",
    "TaskOptions",
    "TaskSpec",
]
