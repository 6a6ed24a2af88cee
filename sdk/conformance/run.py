#!/usr/bin/env python3
"""Runs the scenarios with the SDK of each language against a real broker.

    python3 sdk/conformance/run.py [LANGUAGE…] [--only SCENARIO] [--write docs/sdk-conformance.md]

Without languages: all that have a conformance.sh. Ends with 0 only if every SDK is conformant. See
README.md beside this file for scenarios, runners and the control endpoint.
"""

import argparse
import concurrent.futures
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

from stack import HERE, ROOT, Stack, Trouble

LANGUAGES = ("rust", "python", "go", "typescript", "java")
RUN_SECONDS_MAX = 600


def load(folder, only=None):
    """Paths and contents of the scenario files of a folder by name."""
    folder = os.path.join(HERE, folder)
    found = {}
    for file in sorted(os.listdir(folder)):
        path = os.path.join(folder, file)
        with open(path, encoding="utf-8") as text:
            scenario = json.load(text)
        name = scenario["name"]
        if file != f"{name}.json":
            raise Trouble(f"{path}: its name is {name}")
        if not only or name in only:
            found[name] = (path, scenario)
    missing = set(only or ()) - set(found)
    if missing:
        raise Trouble(f"no such scenario: {', '.join(sorted(missing))}")
    return found


def runner_of(language):
    """The runner's path; `baseline` is the one of the released stubs."""
    if language == "baseline":
        return os.path.join(HERE, "baseline", "conformance.sh")
    return os.path.join(ROOT, "sdk", language, "conformance.sh")


class Run:
    """The run of one SDK: what it said of each scenario, and all that is wrong with it."""

    def __init__(self, language, wanted, falsified):
        self.language = language
        self.results = {}
        self.wrong = []
        self.seconds = 0.0
        self._wanted = wanted
        self._falsified = falsified
        self._all = {**falsified, **wanted}

    def start(self, stack):
        """Runs it to its end, or to that of our patience."""
        words = [runner_of(self.language)] + [path for path, _ in self._all.values()]
        environment = {**os.environ, **stack.variables()}
        begin = time.monotonic()
        # A group of its own: what a runner leaves behind is ended with it.
        process = subprocess.Popen(
            words, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        alarm = threading.Timer(RUN_SECONDS_MAX, end_group, [process])
        alarm.start()
        try:
            for line in process.stdout:
                self._read(line)
            code = process.wait()
        finally:
            alarm.cancel()
            end_group(process)
            process.stdout.close()
        self.seconds = time.monotonic() - begin
        self._judge(code)
        return self

    def _read(self, line):
        try:
            said = json.loads(line)
            name, is_ok = said["scenario"], said["ok"]
        except (ValueError, KeyError, TypeError):
            self.wrong.append(f"this is no result: {line.strip()[:200]}")
            return
        if name not in self._all or name in self.results:
            self.wrong.append(f"{name}: nobody asked for it, or it was told already")
            return
        self.results[name] = said
        if name in self._falsified:
            return
        told = "ok" if is_ok is True else said.get("skipped") or where(said, self._wanted[name][1])
        print(f"  {self.language:<10} {name:<20} {told}", flush=True)

    def _judge(self, code):
        for name, (_, scenario) in self._falsified.items():
            said = self.results.get(name, {})
            fails = said.get("step") == len(scenario["steps"]) - 1 or said.get("skipped")
            if said.get("ok") is not False or not fails:
                self.wrong.append(f"{name}: does not fail at its last step: {said}")
        for name in self._wanted:
            said = self.results.get(name)
            if said is None:
                self.wrong.append(f"{name}: missing from the output")
            elif said["ok"] is not True and not said.get("skipped"):
                self.wrong.append(f"{name}: failed")
        bad = any(said["ok"] is not True for said in self.results.values())
        if code == 0 and bad:
            self.wrong.append("ended with 0, though not all is well")


def end_group(process):
    """SIGKILL to all that the runner started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def where(said, scenario):
    """The step that failed, in one line."""
    step, steps = said.get("step"), scenario["steps"]
    known = isinstance(step, int) and 0 <= step < len(steps)
    do = f"step {step} ({steps[step]['do']}): " if known else ""
    return f"FAILED {do}{said.get('message', 'without a message')}"


def table(runs, wanted):
    """The results in Markdown."""
    lines = ["| scenario | " + " | ".join(run.language for run in runs) + " | what it shows |"]
    lines.append("|---" * (len(runs) + 2) + "|")
    notes = []
    for name, (_, scenario) in wanted.items():
        cells = []
        for run in runs:
            said = run.results.get(name, {})
            if said.get("skipped"):
                notes.append(f"{name}, {run.language}: {said['skipped']}")
                cells.append(f"skipped ({len(notes)})")
            else:
                cells.append("ok" if said.get("ok") is True else "**fails**")
        lines.append(f"| `{name}` | " + " | ".join(cells) + f" | {scenario['about']} |")
    return lines + [""] + [f"{number}. {note}" for number, note in enumerate(notes, 1)]


def page_of(runs, wanted):
    """The page with the table."""
    page = [
        "# Conformance of the SDKs",
        "",
        "Each SDK plays the scenarios of [sdk/conformance](../sdk/conformance/README.md) against a",
        "real broker, in CI with every change. `baseline` are the stubs of the released protocol",
        "(`proto/baseline.binpb`): old clients and workers against this broker.",
        "",
        "Written by `python3 sdk/conformance/run.py --write docs/sdk-conformance.md`; do not edit.",
        "",
    ]
    return "\n".join(page + table(runs, wanted)).rstrip() + "\n"


def publish(arguments, page):
    """Writes the page, or looks whether what is written still holds; the exit code."""
    if arguments.write:
        with open(arguments.write, "w", encoding="utf-8") as file:
            file.write(page)
    if arguments.check:
        with open(arguments.check, encoding="utf-8") as file:
            if file.read() != page:
                again = f"run.py --write {arguments.check}"
                print(f"{arguments.check} is stale: {again}", file=sys.stderr)
                return 1
    return 0


def run_all(languages, arguments, wanted, falsified):
    """The runs of all SDKs, each with a stack of its own, some side by side; and the logs."""
    ends = {}

    def run_one(language):
        with tempfile.TemporaryDirectory(prefix="asyncflow-conformance-") as folder:
            with Stack(folder, arguments.database_url) as stack:
                run = Run(language, wanted, falsified).start(stack)
                ends[language] = stack.log_tail()
        return run

    # They mostly wait. With one database for all they go one after the other.
    jobs = 1 if arguments.database_url else arguments.jobs
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(run_one, languages)), ends


def main():
    """Everything; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("languages", nargs="*", metavar="LANGUAGE")
    parser.add_argument("--only", action="append", metavar="SCENARIO", help="only these")
    parser.add_argument("--write", metavar="FILE", help="write the table of results there")
    parser.add_argument("--check", metavar="FILE", help="fail unless this is what is written there")
    parser.add_argument("--jobs", type=int, default=3, help="SDKs side by side; 3 unless given")
    parser.add_argument("--database-url", help="MariaDB or PostgreSQL instead of SQLite; empty")
    arguments = parser.parse_args()
    every = [language for language in LANGUAGES if os.path.exists(runner_of(language))]
    languages = arguments.languages or [*every, "baseline"]
    for language in languages:
        if not os.path.exists(runner_of(language)):
            raise Trouble(f"{language}: there is no {runner_of(language)}")
    wanted, falsified = load("scenarios", arguments.only), load("falsified")
    runs, logs = run_all(languages, arguments, wanted, falsified)
    print("\n".join(["", *table(runs, wanted)]))
    for run in runs:
        skipped = sum(1 for said in run.results.values() if said.get("skipped"))
        well = f"conformant, {skipped} skipped" if skipped else "conformant"
        print(f"{run.language}: {'; '.join(run.wrong) or well} ({run.seconds:.0f} s)")
    for run in runs:
        if run.wrong:
            print(f"\n{run.language}, broker and governor:\n{logs[run.language]}", file=sys.stderr)
    if any(run.wrong for run in runs):
        return 1
    return publish(arguments, page_of(runs, wanted))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Trouble as trouble:
        print(f"conformance: {trouble}", file=sys.stderr)
        sys.exit(2)
