"""Leads the generated requests to things that are there, so that not all of them are NOT_FOUND.

Schemathesis loads it by SCHEMATHESIS_HOOKS; fuzz.py says in FUZZ_NAMES what there is.
"""

import json
import os
import zlib

import schemathesis

NAMES = json.loads(os.environ["FUZZ_NAMES"])
# Of so many generated values this many are replaced.
OUT_OF, REPLACED = 10, 7


def known(name, value):
    """Mostly a thing of that name that exists, by a choice that the value makes."""
    choices = NAMES.get(name)
    if not choices:
        return value
    number = zlib.crc32(repr(value).encode())
    return choices[number // OUT_OF % len(choices)] if number % OUT_OF < REPLACED else value


def lead(value):
    """The same JSON with known names in it."""
    if isinstance(value, dict):
        return {
            name: lead(inner) if isinstance(inner, (dict, list)) else known(name, inner)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [lead(inner) for inner in value]
    return value


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Ids that stand in paths."""
    return lead(path_parameters)


@schemathesis.hook
def map_query(context, query):
    """Names that stand in queries; and nobody waits for what does not come."""
    path, query = context.operation.path, lead(query or {})
    if path.endswith(":wait"):
        query = {"timeout": "0.01s", **query}
    return query


@schemathesis.hook
def before_call(context, case, kwargs):
    """Logs that are followed have no end while their task has none. Not all cases of the phase
    `coverage` go through map_query, but all are called."""
    query = case.query or {}
    if case.operation.path.endswith("/logs") and query.get("follow") in ("true", True):
        query["follow"] = "false"


@schemathesis.hook
def map_body(context, body):
    """Names and ids within bodies."""
    return lead(body)
