"""`python -m asyncflow.task`: exit codes, messages, results."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Optional

import pytest

from .fake_worker import FakeWorker

HERE = Path(__file__).parent
SOURCES = HERE.parent.parent / "src"


def python(*words: str, **changed: str) -> subprocess.Popen[str]:
    """A Python that finds the package and the tests' tasks."""
    kept = {name: value for name, value in os.environ.items() if "ASYNCFLOW" not in name}
    environment = {**kept, "PYTHONPATH": f"{SOURCES}:{HERE}", **changed}
    return subprocess.Popen(
        [sys.executable, *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Its exit code, and what it wrote."""
    stdout, stderr = process.communicate(timeout=30)
    return process.returncode, stdout, stderr


def start(
    fake: FakeWorker, task_type: str, payload: Any, **changed: str
) -> subprocess.Popen[str]:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    (fake.folder / "payload").write_bytes(data)
    environment = fake.environment(ASYNCFLOW_TASK_TYPE=task_type, **changed)
    return python("-m", "asyncflow.task", "run", "some_tasks", **environment)


def run(
    fake: FakeWorker, task_type: str, payload: Any, **changed: str
) -> tuple[int, str, str]:
    return ended(start(fake, task_type, payload, **changed))


def result(fake: FakeWorker) -> Any:
    bodies = fake.told("setResult")
    return fake.json_of(bodies[-1]["result"]) if bodies else None


@pytest.mark.parametrize(
    "payload",
    [{"args": [6], "kwargs": {"y": 7}}, {"args": [], "kwargs": {"x": 6, "y": 7}}, {"x": 6, "y": 7}],
)
def test_a_task_is_run_and_its_result_is_handed_in(fake: FakeWorker, payload: Any) -> None:
    code, stdout, stderr = run(fake, "work", payload)
    assert (code, stdout, stderr) == (0, "works\n", "")
    assert result(fake) == {"product": 42, "attempt": 1}
    assert fake.told("reportProgress")[-1]["progress"]["metrics"] == {"x": 6.0}


@pytest.mark.parametrize(
    ("task_type", "payload", "expected"),
    [
        ("plain", b"", 5),
        ("plain", 3, 3),
        ("plain", 0, None),
        ("asynchronous", {"x": 1}, 2),
        ("async_whole", {"kwargs": {"n": 1}}, 101),
        ("whole", {"n": 3}, 3),
    ],
)
def test_every_kind_of_task_returns(
    fake: FakeWorker, task_type: str, payload: Any, expected: Any
) -> None:
    code, _, stderr = run(fake, task_type, payload)
    assert (code, stderr) == (0, "")
    assert result(fake) == expected


def test_a_class_loads_works_and_finishes(fake: FakeWorker) -> None:
    (fake.folder / "context").write_text('{"seen": 4}')
    code, stdout, _ = run(fake, "whole", {"n": 3})
    assert (code, stdout) == (0, "finished: 7 None\n")
    assert fake.contexts() == [{"seen": 5}]
    code, stdout, stderr = run(fake, "whole", {"n": -1})
    assert (code, stdout) == (65, "finished: None negative\n")
    assert "failed for good: negative" in stderr


@pytest.mark.parametrize(
    ("n", "said"), [(1000, "nobody takes it"), (1001, "the result is 70,002 bytes, 65,536 at most")]
)
def test_finish_hears_of_what_is_refused(fake: FakeWorker, n: int, said: str) -> None:
    code, stdout, _ = run(fake, "whole", {"n": n})
    assert code == 65
    assert stdout.startswith(f"finished: None {said}")
    assert result(fake) is None


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        ("retry", 75, "to be tried again: the server is busy"),
        ("fail", 65, "failed for good: the data are bad"),
        ("fail_once", 1, "failed: bad luck"),
        ("preempted", 85, "enough for now"),
        ("error", 1, "ValueError: a bug"),
        ("exit_0", 0, ""),
        ("exit_7", 7, ""),
        ("exit_text", 1, "it ends here"),
        ("interrupt", 130, ""),
        ("large", 65, "70,002 bytes, 65,536 at most"),
        ("no_json", 65, "the result is a builtins.object, which is not JSON"),
    ],
)
def test_each_end_has_its_code(fake: FakeWorker, how: str, code: int, said: str) -> None:
    found, _, stderr = run(fake, "ends", {"how": how})
    assert found == code, stderr
    assert said in stderr
    assert (not said) == (not stderr)
    notes = fake.events("failure")
    assert bool(notes) == (how not in ("preempted", "exit_0", "exit_7", "exit_text", "interrupt"))
    assert all(said.split(": ", 1)[-1] in note["message"] for note in notes)
    assert all(note.get("retry_after_s") == (5.0 if how == "retry" else None) for note in notes)
    assert result(fake) is None


@pytest.mark.parametrize(
    ("task_type", "payload", "said"),
    [
        ("work", {"z": 1}, "does not fit work(x: 'int', *, y: 'int' = 1)"),
        ("work", {"args": [1, 2]}, "too many positional arguments"),
        ("work", b"", "missing a required argument: 'x'"),
        ("work", b"\xff{", "must be JSON"),
    ],
)
def test_a_payload_that_does_not_fit_is_permanent(
    fake: FakeWorker, task_type: str, payload: Any, said: str
) -> None:
    code, _, stderr = run(fake, task_type, payload)
    assert code == 65
    assert said in stderr
    assert "Traceback" not in stderr


def test_a_type_that_is_not_there_is_permanent(fake: FakeWorker) -> None:
    code, _, stderr = run(fake, "unknown", {})
    assert code == 78
    assert "no task 'unknown' in some_tasks; there are async_whole, " in stderr


def module(fake: FakeWorker, name: str, text: str, verb: str = "run") -> tuple[int, str, str]:
    (fake.folder / f"{name}.py").write_text(text)
    path = f"{SOURCES}:{fake.folder}"
    environment = {**fake.environment(), "PYTHONPATH": path}
    return ended(python("-m", "asyncflow.task", verb, name, **environment))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import numpie", "module broken needs numpie, which is not installed here"),
        ("x = (", "module broken cannot be imported: SyntaxError"),
        ("1 / 0", "module broken cannot be imported: ZeroDivisionError"),
        ("x = 1", "has no @task in its own namespace"),
        (
            "from asyncflow import task\n@task('a')\ndef a(): 1\n@task('a')\ndef b(): 1\n",
            "two tasks have the type 'a'",
        ),
    ],
)
def test_a_module_that_cannot_be_used_says_why(fake: FakeWorker, text: str, said: str) -> None:
    for verb in ("run", "list"):
        code, stdout, stderr = module(fake, "broken", text, verb)
        assert (code, stdout) == (1, "")
        assert said in stderr


def test_tasks_are_listed_one_a_line(fake: FakeWorker) -> None:
    code, stdout, _ = ended(python("-m", "asyncflow.task", "list", str(HERE / "some_tasks.py")))
    assert code == 0
    found = {line["type"]: line for line in map(json.loads, stdout.splitlines())}
    assert len(found) == 9
    assert found["work"] == {
        "type": "work",
        "function": "some_tasks.work",
        "signature": "(x: 'int', *, y: 'int' = 1) -> 'dict[str, Any]'",
        "gpus": 1,
        "max_retries": 3,
        "max_time_s": 43200.0,
        "warm": True,
        "task_type": {
            "name": "work",
            "description": "Multiplies.",
            "retry": {"max_retries": 3},
            "max_running_time": "43200s",
            "resources": {"gpus": 1},
        },
    }
    assert found["plain"]["task_type"] == {"name": "plain"}


def test_what_a_module_prints_is_not_listed(fake: FakeWorker) -> None:
    text = "from asyncflow import task\nprint('hello')\n@task('a')\ndef a(): 1\n"
    code, stdout, stderr = module(fake, "chatty", text, "list")
    assert (code, len(stdout.splitlines()), stderr) == (0, 1, "hello\n")


def test_it_says_how_it_is_used() -> None:
    code, _, stderr = ended(python("-m", "asyncflow.task", "sing", "x"))
    assert code == 64
    assert "run MODULE" in stderr
    code, _, stderr = ended(python("-m", "asyncflow.task", "run", "some_tasks"))
    assert code == 78
    assert "a worker starts this" in stderr


def until_told(fake: FakeWorker, process: subprocess.Popen[str], method: str) -> None:
    deadline = time.monotonic() + 20
    while not fake.told(method):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_told_to_stop_it_saves_and_leaves(fake: FakeWorker) -> None:
    process = start(fake, "trains", {"epochs": 10_000})
    until_told(fake, process, "reportProgress")
    process.send_signal(signal.SIGTERM)
    code, _, stderr = ended(process)
    assert (code, stderr) == (85, "asyncflow: told to stop\n")
    saved = fake.contexts()[-1]
    assert saved["asyncflow"]["at"]["fit"] == saved["epoch"] + 1


def test_who_does_not_listen_ends_at_once(fake: FakeWorker) -> None:
    process = start(fake, "deaf", {})
    assert process.stdout is not None
    assert process.stdout.readline() == "deaf\n"
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 85
    assert time.monotonic() - begun < 5


# --- scripts -------------------------------------------------------------------------------------


def script(how: str, fake: Optional[FakeWorker] = None, **changed: str) -> tuple[int, str, str]:
    environment = fake.environment(**changed) if fake else changed
    return ended(python(str(HERE / "some_tasks.py"), how, **environment))


def test_a_script_by_hand_still_works(tmp_path: Path) -> None:
    assert script("work") == (0, "works\n{'product': 42, 'attempt': 0}\n", "")
    assert script("async") == (0, "1\n", "")
    code, _, stderr = script("fail")
    assert code == 1
    assert "asyncflow.task.errors.Fail: the data are bad" in stderr


def test_a_script_by_hand_goes_on_from_its_file(tmp_path: Path) -> None:
    kept = tmp_path / "trains.json"
    kept.write_text('{"asyncflow": {"at": {"fit": 2}}}')
    code, stdout, _ = script("trains", ASYNCFLOW_LOCAL=str(tmp_path))
    assert (code, stdout) == (0, "3\n")
    assert not kept.exists(), "it has ended: the next run begins anew"


def test_a_script_that_a_worker_runs_is_that_task(fake: FakeWorker) -> None:
    assert script("work", fake)[0] == 0
    assert result(fake) == {"product": 42, "attempt": 1}
    assert script("fail", fake)[0] == 65
    assert script("retry", fake)[0] == 75
    assert script("preempted", fake)[0] == 85
    assert script("error", fake)[0] == 1


def test_a_process_that_the_task_spawns_is_not_the_task(fake: FakeWorker) -> None:
    code, stdout, stderr = script("spawns", fake)
    assert code == 0, stderr
    assert "child: {'product': 1, 'attempt': 1} 2" in stdout
    assert fake.contexts() == [{"of": "the task itself"}]
    assert [fake.json_of(body["result"]) for body in fake.told("setResult")] == [
        "its child left with 0"
    ]
    assert fake.events() == []


def test_a_script_of_a_worker_is_one_task(fake: FakeWorker) -> None:
    code, _, stderr = script("twice", fake)
    assert code == 1
    assert "a second one would replace its context and its result" in stderr
    assert result(fake) == {"product": 42, "attempt": 1}
    assert script("twice")[0] == 0, "by hand it may call any number"
