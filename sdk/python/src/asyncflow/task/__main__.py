"""`python -m asyncflow.task`: what a worker starts.

    list MODULE…   print a JSON object a line for each task of the modules
    run MODULE…    run the task of $ASYNCFLOW_TASK_TYPE here, by the script protocol
    serve MODULE…  run tasks in processes that have imported the modules already
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from typing import Optional, Sequence

from asyncflow.task import errors, run
from asyncflow.task.discover import NotFound, load


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """The exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if len(given) < 2 or given[0] not in ("list", "run", "serve"):
        print(__doc__, file=sys.stderr)
        return 0 if given in (["-h"], ["--help"]) else 64
    verb, modules = given[0], given[1:]
    if verb == "list":
        return _list(modules)
    if verb == "run":
        return run.main(modules)
    if importlib.util.find_spec("asyncflow.task.serve") is None:
        print("asyncflow: this version of the package cannot serve", file=sys.stderr)
        return errors.BAD_SETUP
    serve = importlib.import_module("asyncflow.task.serve")
    code: int = serve.main(modules)
    return code


def _list(modules: Sequence[str]) -> int:
    # What the modules print must not be taken for tasks.
    stdout, sys.stdout = sys.stdout, sys.stderr
    try:
        tasks = load(modules)
    except NotFound as error:
        print(f"asyncflow: {error}", file=sys.stderr)
        return errors.FAILED
    finally:
        sys.stdout = stdout
    for name in sorted(tasks):
        print(json.dumps(tasks[name].described()), flush=True)
    return errors.SUCCEEDED


if __name__ == "__main__":
    sys.exit(main())
