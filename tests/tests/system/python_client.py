"""A client with nothing but grpcio and stubs made from proto/. Ends with 0 if all is well."""

import sys

import grpc
from asyncflow.v1 import broker_service_pb2 as broker
from asyncflow.v1 import broker_service_pb2_grpc as broker_grpc
from asyncflow.v1 import task_pb2 as task


def spec(*words):
    return task.TaskSpec(
        task_type="command",
        labels={"from": "python"},
        command=task.Command(program=words[0], args=words[1:]),
    )


def main(address):
    with grpc.insecure_channel(address) as channel:
        stub = broker_grpc.BrokerServiceStub(channel)

        request = broker.CreateTaskRequest(task=spec("true"), request_id="python-1")
        created = stub.CreateTask(request, timeout=30).task
        again = stub.CreateTask(request, timeout=30)
        assert again.task.id == created.id and again.deduplicated

        watch = broker.WatchTasksRequest(task_ids=[created.id], until_done=True)
        seen = [answer.task for answer in stub.WatchTasks(watch, timeout=60)]
        states = [t.state for t in seen if t.id]
        assert states[-1] == task.TASK_STATE_SUCCEEDED, states
        got = stub.GetTask(broker.GetTaskRequest(task_id=created.id), timeout=30).task
        assert got.state == task.TASK_STATE_SUCCEEDED and got.command.program == "true"

        long = stub.CreateTask(broker.CreateTaskRequest(task=spec("sleep", "300")), timeout=30).task
        stub.CancelTask(broker.CancelTaskRequest(task_id=long.id, reason="enough"), timeout=30)
        wait = broker.WaitTaskRequest(task_id=long.id)
        ended = stub.WaitTask(wait, timeout=60).task
        assert ended.state == task.TASK_STATE_CANCELLED, ended

        listing = broker.ListTasksRequest(filter='labels.from = "python"', page_size=1)
        listed = []
        while True:
            page = stub.ListTasks(listing, timeout=30)
            listed += [t.id for t in page.tasks]
            if not page.next_page_token:
                break
            listing.page_token = page.next_page_token
        assert listed == [long.id, created.id], listed

        try:
            stub.GetTask(broker.GetTaskRequest(task_id="no-such"), timeout=30)
            raise AssertionError("a malformed id was accepted")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
    print("python client: all well")


if __name__ == "__main__":
    main(sys.argv[1])
