#!/usr/bin/env python3
"""asyncflow beside its peers: the same payload, the same machine, a table.

    make bench-peers        or        python3 benches/peers/run.py --only river,bullmq --runs 1

It starts PostgreSQL and Redis itself, and installs and builds the peers below target/peers. What
cannot be measured is named with the reason, does not stop the rest, and makes the exit status 1.
README.md beside this file says what the figures mean.
"""

import argparse
import contextlib
import json
import os
import platform
import signal
import statistics
import subprocess
import sys

import asyncflow
import peers
import servers
from servers import Failure
from table import COLUMNS, table

BULK_IN_FLIGHT = 4
TIMEOUT_SECONDS = 600


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = ["asyncflow", *(peer.name for peer in peers.PEERS)]
    parser.add_argument("--only", metavar="A,B", help="of: " + ", ".join(names))
    parser.add_argument("--scenarios", metavar="A,B", help="of: " + ", ".join(COLUMNS))
    parser.add_argument("--runs", type=int, default=3, help="the median counts (default: 3)")
    parser.add_argument("--seconds", type=int, default=5, help="of an enqueue (default: 5)")
    parser.add_argument("--count", type=int, default=20_000, help="tasks of a drain")
    parser.add_argument("--samples", type=int, default=200, help="tasks of a latency")
    parser.add_argument("--payload-bytes", type=int, default=256)
    parser.add_argument("--json", metavar="FILE", help="also one line of JSON for each result")
    default = os.path.join(peers.ROOT, asyncflow.PROGRAM)
    parser.add_argument("--asyncflow-bench", metavar="PROGRAM", default=default)
    options = parser.parse_args()
    options.only = chosen(parser, options.only, names)
    options.scenarios = chosen(parser, options.scenarios, list(COLUMNS))
    return options


def chosen(parser, text, names):
    words = text.split(",") if text else names
    for word in words:
        if word not in names:
            parser.error("there is no %s; there are %s" % (word, ", ".join(names)))
    return words


def say(text):
    print(text, file=sys.stderr, flush=True)


class Report:
    """What was found, and what was not."""

    def __init__(self, json_file):
        self.json_file = json_file
        self.machine = machine()
        self.results = []
        self.failures = []

    def add(self, what, scenario, runs, **fixed):
        middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        result = {**what, "scenario": scenario, **middle, **fixed, "runs": runs}
        say("  %(scenario)s: " % result + ", ".join("%s %.5g" % pair for pair in middle.items()))
        self.results.append(result)
        if self.json_file:
            print(json.dumps({**result, "machine": self.machine}), file=self.json_file, flush=True)

    @contextlib.contextmanager
    def attempt(self, what):
        try:
            yield
        except Failure as failure:
            say("%s: %s" % (what, failure))
            self.failures.append("%s: %s" % (what, gist(str(failure))))


def gist(text):
    """The line of a long output that says most."""
    lines = text.strip().splitlines()
    return next((line for line in lines if "error" in line.lower()), lines[-1]).strip()


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as text:
        models = [line.split(":")[1].strip() for line in text if line.startswith("model name")]
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(pages * page / 1e9),
        "kernel": platform.release(),
    }


def output(command, **options):
    """What a program prints when it goes well; else its last words are the failure."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    try:
        with servers.process(command, **pipes, **options) as child:
            out, errors = child.communicate(timeout=TIMEOUT_SECONDS)
    except OSError as error:
        raise Failure("cannot run %s: %s" % (command[0], error.strerror)) from error
    except subprocess.TimeoutExpired as error:
        raise Failure("not done after %d s" % TIMEOUT_SECONDS) from error
    if child.returncode:
        raise Failure(errors.strip()[-2000:] or "exit status %d" % child.returncode)
    return out


def measure_asyncflow(options, report):
    who = {"peer": "asyncflow", "version": asyncflow.version()}
    for database, durability in asyncflow.DURABILITY.items():
        what = {**who, "backend": database, "durability": durability}
        say("asyncflow on %s" % database)
        for scenario in options.scenarios:
            settings = (scenario, database, options.payload_bytes, options.seconds)
            command = asyncflow.command(options.asyncflow_bench, *settings)
            with report.attempt("asyncflow on %s, %s" % (database, scenario)):
                runs = [
                    asyncflow.figures(scenario, output(command)) for _ in range(options.runs)
                ]
                report.add(what, scenario, runs)


def measure_peer(peer, server, scenario, in_flight, options):
    """One run of a peer, on a database or a Redis that is empty."""
    environment = {
        server.variable: server.fresh(),
        "PAYLOAD_BYTES": options.payload_bytes,
        "SECONDS": options.seconds,
        "COUNT": options.count,
        "SAMPLES": options.samples,
        "IN_FLIGHT": in_flight,
    }
    environment = {name: str(value) for name, value in environment.items()}
    line = output([*peer.program, scenario], env={**os.environ, **environment})
    found = json.loads(line)
    if scenario == "latency":
        return {"p50_ms": found["p50_ms"], "p99_ms": found["p99_ms"]}
    return {"per_second": found["count"] / found["seconds"]}


def measure_scenario(peer, server, scenario, options, report):
    what = {"peer": peer.name, "version": peer.version(), "backend": peer.backend}
    what["durability"] = server.label
    tries = {"enqueue_one": peer.in_flight, "enqueue_bulk": (BULK_IN_FLIGHT,)}
    found = {}
    for in_flight in tries.get(scenario, peer.in_flight[-1:]):
        runs = [
            measure_peer(peer, server, scenario, in_flight, options) for _ in range(options.runs)
        ]
        found[in_flight] = runs
    rate = lambda in_flight: statistics.median(r.get("per_second", 0) for r in found[in_flight])
    best = max(found, key=rate)
    report.add(what, scenario, found[best], in_flight=best)


def measure_peers(options, report):
    selected = []
    peers.copy_sources()
    for peer in (peer for peer in peers.PEERS if peer.name in options.only):
        say("%s: installing and building" % peer.name)
        with report.attempt(peer.name):
            peer.install()
            selected.append(peer)
    for backend, kinds in servers.BACKENDS.items():
        users = [peer for peer in selected if peer.backend == backend]
        for kind in kinds if users else []:
            with report.attempt(backend), kind() as server:
                for peer in users:
                    say("%s on %s, durability: %s" % (peer.name, backend, server.label))
                    for scenario in options.scenarios:
                        if scenario == "enqueue_bulk" and not peer.bulk:
                            continue
                        with report.attempt("%s on %s, %s" % (peer.name, backend, scenario)):
                            measure_scenario(peer, server, scenario, options, report)


def main():
    options = arguments()
    # Else the servers would be left behind.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    with contextlib.ExitStack() as stack:
        json_file = options.json and stack.enter_context(open(options.json, "w", encoding="utf-8"))
        report = Report(json_file)
        if "asyncflow" in options.only:
            measure_asyncflow(options, report)
        measure_peers(options, report)
    print("%(cpu)s, %(cores)d cores, %(memory_gb)d GB, Linux %(kernel)s\n" % report.machine)
    print(table(report.results))
    if report.failures:
        print("\nNot measured:\n")
        print("\n".join("- " + failure for failure in report.failures))
    sys.exit(1 if report.failures else 0)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
