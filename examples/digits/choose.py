#!/usr/bin/env python3
"""The best of several trainings: the one that reads the most digits that it never saw.

The callback of the chord in workflow.yaml. It finds the list of their results in $ASYNCFLOW_INPUT,
with a null for each that failed.
"""

import json
import os
import sys

from digits import EXIT_BAD_DATA, emit


def main():
    results = json.loads(os.environ["ASYNCFLOW_INPUT"])
    trained = [result for result in results if result is not None]
    if not trained:
        print("no training has succeeded", file=sys.stderr)
        raise SystemExit(EXIT_BAD_DATA)
    for number, result in enumerate(results):
        accuracy = "failed" if result is None else "accuracy %.4f" % result["accuracy"]
        print("training %d: %s" % (number, accuracy), flush=True)
    best = max(trained, key=lambda result: result["accuracy"])
    names = ("accuracy", "log_loss", "checkpoint", "sha256")
    chosen = {name: best[name] for name in names}
    emit({"event": "result", "data": dict(chosen, training=results.index(best))})


if __name__ == "__main__":
    main()
