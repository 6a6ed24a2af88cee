"""Plays scenarios: variables, conditions, expected errors, times. README.md says what they mean.

What a step does is up to a player, an object with a method for each `do` that takes the step's
fields by keyword and gives the answer as JSON. A runner in Python is `main(paths, make_player)`.
"""

import base64
import json
import re
import secrets
import sys
import time

CODES = (
    "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS "
    "PERMISSION_DENIED RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED "
    "INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED"
).split()
VARIABLE = re.compile(r"\$([A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*)")
JUDGED = ("save", "expect", "expect_error", "at_most_ms", "at_least_ms")
DEFAULTS = (0, "", False, [], {})


class Failed(Exception):
    """The step did not do what the scenario says."""


class Skipped(Exception):
    """This runner cannot do that; the text says why."""


class CallFailed(Exception):
    """A call's error as a player tells it."""

    def __init__(self, code, reason="", violations=(), retryable=False, message=""):
        super().__init__(f"{code} {reason}: {message} {list(violations) or ''}".strip())
        self.code = code
        self.reason = reason
        self.violations = list(violations)
        self.retryable = retryable


def look(value, path):
    """The field of `value` at this path; None when it is not there."""
    for part in path.split("."):
        if isinstance(value, list) and part == "#":
            value = len(value)
        elif isinstance(value, list) and part.isdigit():
            value = value[int(part)] if int(part) < len(value) else None
        elif isinstance(value, dict):
            value = value.get(part)
        else:
            return 0 if part == "#" and value is None else None
    return value


def fill(value, saved):
    """`value` with all variables replaced."""

    def one(match):
        name, _, path = match[1].partition(".")
        if name not in saved:
            raise Failed(f"nothing was saved as ${name}")
        found = look(saved[name], path) if path else saved[name]
        if found is None:
            raise Failed(f"${match[1]} is not there")
        return str(found)

    if isinstance(value, str):
        return VARIABLE.sub(one, value)
    if isinstance(value, list):
        return [fill(item, saved) for item in value]
    if isinstance(value, dict):
        return {fill(key, saved): fill(item, saved) for key, item in value.items()}
    return value


def is_equal(found, wanted):
    """Equal, with int64 as strings, and what proto JSON leaves out."""
    if found is None:
        return any(wanted == default and type(wanted) is type(default) for default in DEFAULTS)
    if isinstance(wanted, bool) or isinstance(found, bool):
        return found is wanted
    if isinstance(wanted, (int, float)) and isinstance(found, str):
        return found == str(wanted)
    return found == wanted


def holds(found, condition):
    """Whether what was found meets a condition."""
    if isinstance(condition, dict) and set(condition) & {"any", "exists"}:
        if set(condition) == {"any"}:
            return any(is_equal(found, wanted) for wanted in condition["any"])
        if set(condition) == {"exists"}:
            return (found is not None) is condition["exists"]
        raise Failed(f"this is no condition: {condition}")
    return is_equal(found, condition)


def check_error(error, expected):
    """Fails unless the error says all that is expected of it."""
    given = {"code": error.code, "reason": error.reason, "retryable": error.retryable}
    given["violations"] = sorted(error.violations)
    for key, wanted in expected.items():
        if key not in given:
            raise Failed(f"expect_error: there is no {key}")
        wanted = sorted(wanted) if key == "violations" else wanted
        if not holds(given[key], wanted):
            raise Failed(f"{key}: {given[key]} instead of {wanted}; {error}")


def content_in(value):
    """A message with every `{"json": …}` as a Content."""
    if isinstance(value, dict) and set(value) == {"json"}:
        data = json.dumps(value["json"], ensure_ascii=False).encode()
        return {"data": base64.b64encode(data).decode(), "content_type": "application/json"}
    if isinstance(value, dict):
        return {key: content_in(item) for key, item in value.items()}
    return [content_in(item) for item in value] if isinstance(value, list) else value


def content_out(value):
    """An answer with `json` beside the data of every Content that is JSON."""
    if isinstance(value, list):
        return [content_out(item) for item in value]
    if not isinstance(value, dict):
        return value
    value = {key: content_out(item) for key, item in value.items()}
    if value.get("content_type") == "application/json":
        try:
            value["json"] = json.loads(base64.b64decode(value.get("data", "")))
        except ValueError:
            pass
    return value


def do(player, step):
    """Does one step whose variables are filled in; the answer, or None after a good error."""
    fields = {key: item for key, item in step.items() if key not in JUDGED and key != "do"}
    verb = getattr(player, step["do"], None)
    if verb is None or step["do"].startswith("_"):
        raise Failed(f"unknown step: {step['do']}")
    try:
        answer = content_out(verb(**content_in(fields)))
    except CallFailed as error:
        if "expect_error" not in step:
            raise Failed(str(error)) from error
        return check_error(error, step["expect_error"])
    if "expect_error" in step:
        raise Failed(f"it succeeded: {json.dumps(answer, ensure_ascii=False)[:500]}")
    for path, condition in step.get("expect", {}).items():
        found = look(answer, path)
        if not holds(found, condition):
            raise Failed(f"{path}: {json.dumps(found)} instead of {json.dumps(condition)}")
    return answer


def timed(player, step):
    """The same with the limits of time."""
    begin = time.monotonic()
    answer = do(player, step)
    took = (time.monotonic() - begin) * 1000
    if not step.get("at_least_ms", 0) <= took <= step.get("at_most_ms", took):
        raise Failed(f"it took {took:.0f} ms")
    return answer


def play(scenario, player):
    """Plays one scenario; what is to be printed of it."""
    number = 0
    name = scenario["name"]
    try:
        saved = {key: f"{key}_{secrets.token_hex(6)}" for key in scenario["types"]}
        for key, task_type in scenario["types"].items():
            player._create_type({"name": saved[key], **task_type})
        for number, step in enumerate(scenario["steps"]):
            answer = timed(player, fill(step, saved))
            if "save" in step:
                saved[step["save"]] = answer
        return {"scenario": name, "ok": True}
    except Skipped as why:
        return {"scenario": name, "ok": False, "skipped": str(why)}
    except Failed as why:
        return {"scenario": name, "ok": False, "step": number, "message": str(why)}
    except Exception as error:  # a defect of the runner or the SDK must not hide the others
        told = f"{type(error).__name__}: {error}"
        return {"scenario": name, "ok": False, "step": number, "message": told}
    finally:
        player._close()


def main(paths, make_player):
    """A whole runner; the exit code."""
    well = True
    for path in paths:
        with open(path, encoding="utf-8") as file:
            result = play(json.load(file), make_player())
        print(json.dumps(result, ensure_ascii=False), flush=True)
        well = well and result["ok"]
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit("this is a part of the runners in Python")
