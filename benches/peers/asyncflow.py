"""asyncflow's own figures, by its load generator, which starts broker and database itself.

All that is known here of its command line is in `command` and `figures`.
"""

import json
import os
import subprocess

PROGRAM = os.path.join("target", "release", "asyncflow-bench")
NAMES = {"enqueue_one": "create", "enqueue_bulk": "batch", "drain": "drain", "latency": "start"}
# With what each database promises when it answers.
DURABILITY = {
    "sqlite": "fsync before each answer (synchronous=FULL)",
    "mariadb": "fsync before each answer (innodb_flush_log_at_trx_commit=1)",
    "postgres": "fsync before each answer (synchronous_commit=on)",
}


def version():
    """The commit, as far as there is one."""
    ask = ["git", "-C", os.path.dirname(os.path.abspath(__file__)), "rev-parse", "--short", "HEAD"]
    return subprocess.run(ask, capture_output=True, text=True, check=False).stdout.strip()


def command(program, scenario, database, payload_bytes, seconds):
    options = {"database": database, "payload-bytes": payload_bytes, "seconds": seconds}
    flags = [word for name, value in options.items() for word in ("--" + name, str(value))]
    return [program, "load", NAMES[scenario], *flags]


def figures(scenario, output):
    """Of several lines, say for several numbers of calls in flight, the best counts."""
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    lines = [line for line in lines if line.get("scenario") == NAMES[scenario]]
    if scenario == "latency":
        best = min(lines, key=lambda line: line["p50_ms"])
        return {"p50_ms": best["p50_ms"], "p99_ms": best["p99_ms"]}
    return {"per_second": max(line["per_second"] for line in lines)}
