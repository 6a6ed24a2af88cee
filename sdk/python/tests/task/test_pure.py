"""Durations, JSON, places: what needs no worker."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asyncflow.task.bar import line
from asyncflow.task.duration import proto_json, seconds
from asyncflow.task.errors import Refused
from asyncflow.task.place import Place, check_stage
from asyncflow.task.reporter import cut
from asyncflow.task.values import dumps, normalised


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (90, 90.0),
        (1.5, 1.5),
        ("12h", 43200.0),
        ("1h 30m", 5400.0),
        ("250ms", 0.25),
        ("2d", 172800.0),
        (" 5 min ", 300.0),
        (timedelta(minutes=1), 60.0),
    ],
)
def test_a_duration_is_what_people_write(span: Any, expected: float) -> None:
    assert seconds(span) == pytest.approx(expected)


@pytest.mark.parametrize("span", ["", "12", "12x", "h", "1h x", -1, float("inf"), float("nan")])
def test_what_is_no_duration_is_refused(span: Any) -> None:
    with pytest.raises(ValueError, match="duration"):
        seconds(span)


def test_a_duration_is_told_as_the_protocol_wants() -> None:
    assert proto_json("12h") == "43200s"
    assert proto_json(0.25) == "0.25s"
    assert proto_json(100) == "100s"


class Tensor:
    """As one of torch: a number that is not a float."""

    ndim = 0

    def __init__(self, value: float) -> None:
        self._value = value

    def item(self) -> float:
        return self._value


@dataclasses.dataclass
class Score:
    loss: float
    path: Path


def test_what_is_nearly_json_becomes_json() -> None:
    value = {"a": (1, 2), "score": Score(0.5, Path("/x/y")), "t": Tensor(2.5)}
    expected = {"a": [1, 2], "score": {"loss": 0.5, "path": "/x/y"}, "t": 2.5}
    assert normalised(value, "it") == expected


def test_a_nan_costs_a_warning_and_not_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    written = dumps({"loss": float("nan"), "all": [1.0, Tensor(float("inf"))]}, "the result")
    assert json.loads(written) == {"loss": None, "all": [1.0, None]}
    said = capsys.readouterr().err
    assert "the result['loss'], the result['all'][1]" in said


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"a": [1, object()]}, r"it\['a'\]\[1\] is a builtins.object"),
        ({(1,): 2, "x": float("nan")}, r"the key \(1,\) is no text"),
        ({"s": {1}}, r"it\['s'\] is a builtins.set"),
    ],
)
def test_what_is_no_json_is_named(value: Any, where: str) -> None:
    with pytest.raises(Refused, match=where):
        dumps(value, "it")


def test_what_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(Refused, match="itself"):
        dumps(value, "it")


def test_a_place_is_read_as_it_was_written() -> None:
    place = Place()
    assert place.text() == "{}"
    place.add({"ckpt": Path("/c")})
    place.end("prepare", {"rows": 3})
    place.at["fit"] = 17
    again = Place.read(place.text().encode(), "prepare")
    assert (again.values, again.done, again.at) == (
        {"ckpt": "/c"},
        {"prepare": {"rows": 3}},
        {"fit": 17},
    )


@pytest.mark.parametrize(
    ("context", "values"),
    [
        (b"", {}),
        (b'{"epoch": 3}', {"epoch": 3}),
        (b"[1]", {}),
        (b"\x00\xff", {}),
        (b'{"a": 1, "asyncflow": 5}', {"a": 1}),
        (b'{"a": 1, "asyncflow": {"at": {"fit": -1, "x": "1", "y": true}, "done": 3}}', {"a": 1}),
    ],
)
def test_a_context_that_others_made_is_taken_as_it_is(context: bytes, values: Any) -> None:
    place = Place.read(context, "")
    assert (place.values, place.done, place.at) == (values, {}, {})


def test_a_stage_that_was_saved_elsewhere_is_done() -> None:
    place = Place.read(b'{"asyncflow": {"at": {"fit": 4}}}', "fit")
    assert place.done == {"fit": None}
    assert place.at == {}


def test_a_refused_value_changes_nothing() -> None:
    place = Place({"a": 1})
    with pytest.raises(Refused, match="the value 'c' is a"):
        place.add({"a": 2, "c": object()})
    with pytest.raises(Refused, match="reserved"):
        place.add({"a": 3, "asyncflow": 1})
    assert place.values == {"a": 1}


@pytest.mark.parametrize("name", ["", "x" * 65, "a\nb", "é" * 33])
def test_a_bad_stage_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="stage"):
        check_stage(name)


def test_a_bar_looks_like_that_of_tqdm() -> None:
    shown = line("fit", 37, 100, 37, 12.0, {"loss": 0.3141592})
    assert shown == "fit:  37%|███████▍            | 37/100 [00:12<00:20, 3.08it/s, loss=0.3142]"
    assert line("fit", 0, 0, 0, 0.0, {}).startswith("fit: 100%|████████████████████| 0/0")
    assert "[1:00:00<?, 0.00it/s]" in line("fit", 5, 10, 0, 3600.0, {})


def test_a_text_is_cut_between_characters() -> None:
    assert cut("abc", 3) == "abc"
    assert cut("é" * 10, 9) == "ééé…"


def test_numbers_as_keys_are_texts_beside_nan_too() -> None:
    assert dumps({1: 2.0, None: 0, 0.5: 1}, "it") == '{"1":2.0,"null":0,"0.5":1}'
    assert dumps({1: float("nan"), None: 0, 0.5: 1}, "it") == '{"1":null,"null":0,"0.5":1}'
    for key in ((1, 2), float("nan")):
        with pytest.raises(Refused, match="is no text"):
            dumps({key: float("nan")}, "it")
