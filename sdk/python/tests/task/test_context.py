"""Stages, loops and saves: what a later attempt skips, and where it goes on."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import Any

import pytest
from asyncflow.task import Preempted, Refused, Waiting, current, task
from asyncflow.task.context import Context, Entered
from asyncflow.task.surroundings import Surroundings

from .conftest import attempt, next_attempt
from .fake_worker import FakeWorker, error


class Died(Exception):
    """Stands for a kill: nothing after it happens in this attempt."""


def test_a_stage_runs_once_and_its_value_is_kept(fake: FakeWorker) -> None:
    calls: list[str] = []

    def prepare(path: str, *, rows: int) -> Any:
        calls.append(path)
        return path, rows

    first = attempt(fake)
    assert first.stage("prepare", prepare, "/data", rows=3) == ["/data", 3]
    assert fake.told("saveContext")[0]["stage"] == "prepare"
    second = next_attempt(fake)
    assert second.is_done("prepare")
    assert second.stage("prepare", prepare, "/data", rows=3) == ["/data", 3]
    assert calls == ["/data"]


def test_a_stage_as_a_decorator_is_its_value(fake: FakeWorker) -> None:
    ctx = attempt(fake)

    @ctx.stage("prepare")
    def rows() -> int:
        return 1000

    assert rows == 1000
    assert fake.contexts() == [{"asyncflow": {"done": {"prepare": 1000}}}]


def test_an_async_stage_is_awaited(fake: FakeWorker) -> None:
    async def twice(x: int) -> int:
        await asyncio.sleep(0)
        return 2 * x

    async def both() -> tuple[int, int]:
        first = await attempt(fake).stage("twice", twice, 4)
        second = await next_attempt(fake).stage("twice", twice, 5)
        return first, second

    assert asyncio.run(both()) == (8, 8)
    with pytest.raises(TypeError, match="async function itself"):
        attempt(fake).stage("hidden", lambda: twice(1)).close()


def test_a_stage_that_fails_is_not_done(fake: FakeWorker) -> None:
    def fails() -> None:
        raise Died

    with pytest.raises(Died):
        attempt(fake).stage("prepare", fails)
    assert fake.calls == []
    assert not next_attempt(fake).is_done("prepare")


def test_misused_names_are_told_at_the_first_time(fake: FakeWorker) -> None:
    ctx = attempt(fake)
    ctx.stage("a", lambda: None)
    with pytest.raises(RuntimeError, match="'a' was there already"):
        ctx.stage("a", lambda: None)
    with pytest.raises(RuntimeError, match="inside of the loop"):
        for _ in ctx.range(3, stage="fit"):
            ctx.stage("b", lambda: None)
    with pytest.raises(Refused, match="returned.* is a builtins.object"):
        ctx.stage("c", lambda: object())
    with pytest.raises(RuntimeError, match="inside of itself"):
        for _ in ctx.range(3, stage="x"):
            for _ in ctx.range(3, stage="x"):
                pass
    loop = ctx.range(1, stage="y")
    assert list(loop) == [0]
    with pytest.raises(RuntimeError, match="used before"):
        list(loop)


def test_a_loop_goes_on_behind_the_iteration_that_was_saved(fake: FakeWorker) -> None:
    ran: list[int] = []

    def train(ctx: Context, dies_at: int) -> None:
        for epoch in ctx.range(10, stage="fit"):
            if epoch == dies_at:
                raise Died
            ran.append(epoch)
            if epoch % 2 == 1:
                ctx.save(epoch=epoch)

    with pytest.raises(Died):
        train(attempt(fake), dies_at=5)
    assert ran == [0, 1, 2, 3, 4]
    assert fake.contexts()[-1] == {"epoch": 3, "asyncflow": {"at": {"fit": 4}}}
    second = next_attempt(fake)
    assert second.saved["epoch"] == 3
    train(second, dies_at=99)
    assert ran[5:] == [4, 5, 6, 7, 8, 9]
    last = fake.told("saveContext")[-1]
    assert last["stage"] == "fit"
    assert fake.contexts()[-1] == {"epoch": 9, "asyncflow": {"done": {"fit": None}}}
    assert list(next_attempt(fake).range(10, stage="fit")) == []


@pytest.mark.parametrize("dies_after", range(1, 13))
def test_nested_loops_go_on_in_the_middle(fake: FakeWorker, dies_after: int) -> None:
    ran: list[tuple[int, int]] = []

    def train(ctx: Context, most: int) -> None:
        for epoch in ctx.range(3, stage="epoch"):
            for step in ctx.range(4, stage="step"):
                if len(ran) == most:
                    raise Died
                ran.append((epoch, step))
                ctx.save()
            ctx.save(epoch=epoch)

    everything = [(epoch, step) for epoch in range(3) for step in range(4)]
    try:
        train(attempt(fake), dies_after)
    except Died:
        assert dies_after < 12
    train(next_attempt(fake), 99)
    assert ran == everything


def test_an_inner_loop_that_was_left_begins_anew(fake: FakeWorker) -> None:
    ctx = attempt(fake)
    seen: list[tuple[int, int]] = []
    for epoch in ctx.range(2, stage="epoch"):
        for step in ctx.range(5, stage="step"):
            seen.append((epoch, step))
            ctx.save()
            if step == 1:
                break
    assert seen == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_a_loop_that_is_left_for_good_says_so(fake: FakeWorker) -> None:
    ctx = attempt(fake)
    for epoch in ctx.range(100, stage="fit"):
        if epoch == 3:
            ctx.end_stage("fit", {"best": epoch})
            break
    assert next_attempt(fake).is_done("fit")


def test_a_range_is_a_range(fake: FakeWorker) -> None:
    ctx = attempt(fake)
    assert len(ctx.range(3, stage="x")) == 3
    assert list(ctx.range(10, 0, -3, stage="a")) == [10, 7, 4, 1]
    assert list(ctx.range(0, stage="b")) == []
    again = Context(ctx._found, ctx._link, ctx.stop_flag, context=b'{"asyncflow":{"at":{"c":7}}}')
    assert list(again.range(5, stage="c")) == []


def test_it_leaves_between_iterations_when_it_should_stop(fake: FakeWorker) -> None:
    ctx = attempt(fake)
    done: list[int] = []
    with pytest.raises(Preempted, match="told to stop: a drain"):
        for epoch in ctx.range(10, stage="fit"):
            done.append(epoch)
            if epoch == 2:
                (fake.folder / "stop").write_text("a drain")
                ctx.stop_flag.set()
            if ctx.should_stop:
                ctx.save(epoch=epoch)
    assert done == [0, 1, 2]
    assert fake.contexts()[-1]["asyncflow"] == {"at": {"fit": 3}}


def test_who_saves_after_it_was_stopped_saves_where_it_was(fake: FakeWorker) -> None:
    ctx = attempt(fake)
    try:
        for _ in ctx.range(3, stage="epoch"):
            for step in ctx.range(10, stage="step"):
                if step == 4:
                    ctx.stop_flag.set()
    except Preempted:
        ctx.save(late=True)
    assert fake.contexts()[-1] == {"late": True, "asyncflow": {"at": {"epoch": 0, "step": 5}}}


def test_values_stay_until_they_are_saved_anew(fake: FakeWorker) -> None:
    ctx = attempt(fake)
    ctx.save(ckpt="a", best=0.5)
    ctx.save({"ckpt": "b", "with space": 1})
    assert dict(ctx.saved) == {"ckpt": "b", "best": 0.5, "with space": 1}
    assert fake.contexts()[-1] == dict(ctx.saved)
    with pytest.raises(TypeError):
        ctx.saved["ckpt"] = "c"  # type: ignore[index]


def test_saves_are_due_by_time_or_when_it_should_stop(fake: FakeWorker) -> None:
    ctx = attempt(fake)
    assert ctx.save_due(0)
    assert not ctx.save_due("1h")
    ctx.stop_flag.set()
    assert ctx.save_due("1h")


def test_stop_is_seen_by_file_and_by_signal(fake: FakeWorker) -> None:
    from asyncflow.task.stop import CatchTerm

    ctx = attempt(fake)
    assert not ctx.should_stop
    before = signal.getsignal(signal.SIGTERM)
    with CatchTerm(ctx.stop_flag):
        signal.raise_signal(signal.SIGTERM)
    assert ctx.should_stop
    assert signal.getsignal(signal.SIGTERM) == before

    other = attempt(fake)
    (fake.folder / "stop").write_text("cancelled")
    assert other.should_stop
    assert other.stop_reason == "cancelled"


def test_who_never_asks_is_ended_by_the_signal(fake: FakeWorker) -> None:
    from asyncflow.task.stop import CatchTerm

    ctx = attempt(fake)
    with pytest.raises(Preempted), CatchTerm(ctx.stop_flag):
        signal.raise_signal(signal.SIGTERM)


def test_the_context_is_found_from_anywhere(fake: FakeWorker) -> None:
    import threading

    found: list[Any] = []
    with pytest.raises(LookupError):
        current()
    with Entered(attempt(fake)) as ctx:
        thread = threading.Thread(target=lambda: found.append(current()))
        thread.start()
        thread.join()
        assert [current(), *found] == [ctx, ctx]
    with pytest.raises(LookupError):
        current()


def test_children_come_page_by_page(fake: FakeWorker) -> None:
    fake.children = [
        {
            "index": i,
            "task": {
                "id": f"part-1-{i}",
                "state": "TASK_STATE_SUCCEEDED",
                "result": {"json": {"i": i}},
            },
        }
        for i in range(150)
    ]
    ctx = attempt(fake)
    children = ctx.gather("parts", [{"task_type": "part"}] * 150, max_parallel=3)
    assert [child.result["i"] for child in children] == list(range(150))
    assert all(child.succeeded and child.ended for child in children)
    body = fake.told("createChildren")[0]
    assert (body["key"], len(body["tasks"]), body["max_parallel"]) == ("parts", 150, 3)


def test_who_gathers_too_early_gives_its_slot_back(fake: FakeWorker) -> None:
    fake.children = [{"index": 0, "task": {"id": "p-1", "state": "TASK_STATE_RUNNING"}}]
    ctx = attempt(fake)
    with pytest.raises(Waiting) as raised:
        ctx.gather("parts", [{"task_type": "part"}])
    assert raised.value.code == 85
    assert fake.told("setWait") == [{"wait_for": {"children": True, "signals": []}}]
    with pytest.raises(ValueError, match="signals or children"):
        ctx.wait()


def test_it_waits_for_signals_and_goes_on_with_what_came(fake: FakeWorker) -> None:
    with pytest.raises(Waiting):
        attempt(fake).wait("approved")
    assert fake.told("setWait") == [{"wait_for": {"children": False, "signals": ["approved"]}}]
    came = fake.folder / "signals"
    came.write_text('{"approved": {"by": "ana"}}')
    again = attempt(fake, ASYNCFLOW_SIGNALS=str(came))
    assert again.wait("approved")["approved"] == {"by": "ana"}
    with pytest.raises(Waiting):
        again.wait("approved", "paid")


def test_a_task_without_a_type_is_refused() -> None:
    bare: Any = task
    with pytest.raises(TypeError, match=r'write @task\("name"\)'):
        bare(print)


def test_it_gives_itself_away_with_its_place(fake: FakeWorker) -> None:
    from asyncflow.task import HandedOver

    ctx = attempt(fake)
    with pytest.raises(HandedOver):
        ctx.hand_over("the disk is full", offset=7)
    body = fake.told("handOver")[0]
    assert body["message"] == "the disk is full"
    assert fake.json_of(body["context"]) == {"offset": 7}


def test_loops_of_several_threads_are_beside_each_other(fake: FakeWorker) -> None:
    ctx = attempt(fake)
    inside = threading.Barrier(2, timeout=20)

    def work(stage: str) -> None:
        for _ in ctx.range(2, stage=stage):
            inside.wait()
            ctx.save({stage: True})
            inside.wait()

    threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first = [context["asyncflow"]["at"] for context in fake.contexts()[:2]]
    assert first[0] in ({"a": 1}, {"b": 1}) and first[1] == {"a": 1, "b": 1}
    assert fake.contexts()[-1]["asyncflow"] == {"done": {"a": None, "b": None}}


def test_loops_of_gathered_tasks_are_beside_each_other(fake: FakeWorker) -> None:
    async def work(ctx: Context, stage: str) -> None:
        for step in ctx.range(3, stage=stage):
            await asyncio.sleep(0)
            if step == 1:
                ctx.save()

    async def both() -> None:
        ctx = attempt(fake)
        await asyncio.gather(work(ctx, "a"), work(ctx, "b"))

    asyncio.run(both())
    positions = [context["asyncflow"].get("at", {}) for context in fake.contexts()]
    assert positions[1] == {"a": 2, "b": 2}
    assert fake.contexts()[-1]["asyncflow"] == {"done": {"a": None, "b": None}}


def test_a_save_of_another_thread_says_nothing_of_a_loop(fake: FakeWorker) -> None:
    ctx = attempt(fake)
    for step in ctx.range(3, stage="fit"):
        if step == 1:
            ctx.save(step=step)
        other = threading.Thread(target=ctx.save, kwargs={"other": step})
        other.start()
        other.join()
    positions = [context.get("asyncflow", {}).get("at") for context in fake.contexts()]
    assert positions == [None, {"fit": 2}, {"fit": 2}, {"fit": 2}, None]


def test_what_is_refused_does_not_stick(fake: FakeWorker) -> None:
    ctx = attempt(fake)
    ctx.save(small=1)
    fake.instead = lambda _method, _body: error(400, "INVALID_ARGUMENT", "too large")
    with pytest.raises(Refused):
        ctx.save(large="x" * 10_000)
    with pytest.raises(Refused):
        ctx.end_stage("prepare", "x" * 10_000)
    fake.instead = lambda _method, _body: None
    assert not ctx.is_done("prepare")
    ctx.save(other=2)
    assert fake.contexts()[-1] == dict(ctx.saved) == {"small": 1, "other": 2}


def test_an_async_stage_that_is_saved_holds_up_no_other_task(fake: FakeWorker) -> None:
    release, was_released = threading.Event(), list[bool]()

    def hang(_method: str, _body: Any) -> None:
        was_released.append(release.wait(20))

    async def nothing() -> None:
        pass

    async def both() -> None:
        ctx = Context.in_worker_of(Surroundings.read(fake.environment()), save_wait=30)
        fake.instead = hang
        saving = asyncio.ensure_future(ctx.stage("prepare", nothing))
        while not fake.connections:
            await asyncio.sleep(0.01)
        # Only a loop of events that goes on comes here.
        release.set()
        await saving

    asyncio.run(both())
    assert was_released and all(was_released)
