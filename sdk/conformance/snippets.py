#!/usr/bin/env python3
"""Executes what pages tell their readers to do, each page in a fresh directory.

    python3 sdk/conformance/snippets.py [--keep] PAGE.md…

A fenced block "```python file=hello.py" (in any language) is written to that file; "```sh run" is
executed by `bash -euo pipefail`; "```text output" after it is what it must have printed, where `…`
stands for the rest of a line, or, alone, for any lines. Blocks without such words are prose.

In the environment: a fresh `asyncflow dev` as ASYNCFLOW_BROKER, its programs and `.venv/bin` of
the page's directory on PATH, the repository as ASYNCFLOW_REPO. Background jobs live until the page
ends.
"""

import argparse
import concurrent.futures
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

from stack import ROOT, Trouble, bin_dir, free_port

BLOCK_SECONDS_MAX = 420
READY_SECONDS_MAX = 60
FENCE = re.compile(r"^( *)(```+|~~~+)\s*(.*?)\s*$")


class Block:
    """A fenced block: the line of its fence, its language, its word, its text."""

    def __init__(self, line, info):
        words = info.split()
        self.line = line
        self.language = words[0] if words else ""
        self.words = words[1:]
        self.text = ""

    def kind(self):
        """`run`, `output`, `file` or None for prose; Trouble for anything else."""
        if not self.words:
            return None
        if len(self.words) == 1:
            word = self.words[0]
            if word in ("run", "output"):
                return word
            if re.fullmatch(r"file=[A-Za-z0-9_./-]+", word) and ".." not in word:
                return "file"
        raise Trouble(f"line {self.line}: nobody knows what “{' '.join(self.words)}” means")

    def file(self):
        """The file that it is."""
        return self.words[0].removeprefix("file=")


def blocks(text):
    """All fenced blocks of a page."""
    found, open_fence = [], None
    for number, line in enumerate(text.splitlines(), 1):
        fence = FENCE.match(line)
        if open_fence is None and fence:
            open_fence = (fence[1], fence[2])
            found.append(Block(number, fence[3]))
        elif open_fence and fence and fence[2].startswith(open_fence[1]) and not fence[3]:
            open_fence = None
        elif open_fence:
            found[-1].text += line.removeprefix(open_fence[0]) + "\n"
    if open_fence:
        raise Trouble(f"line {found[-1].line}: the block does not end")
    return found


def pattern(expected):
    """What is expected as a regular expression."""
    parts = []
    for line in expected.rstrip().splitlines():
        if line.strip() == "…":
            parts.append(r"(?:.*\n)*?")
        else:
            words = (re.escape(part) for part in line.rstrip().split("…"))
            parts.append(".*".join(words) + r"[ \t\r]*\n")
    return re.compile("".join(parts) + r"\s*")


class Page:
    """A page that is being executed."""

    def __init__(self, path, folder, variables):
        self._folder = folder
        self._variables = variables
        self._groups = []
        self._printed = None
        with open(path, encoding="utf-8") as file:
            self._blocks = blocks(file.read())
        self.ran = 0

    def execute(self):
        """Does what it says, from the top to the end; Trouble when something is not as it says."""
        try:
            for block in self._blocks:
                kind = block.kind()
                if kind == "file":
                    self._write(block)
                elif kind == "run":
                    self._run(block)
                elif kind == "output":
                    self._compare(block)
        finally:
            for group in self._groups:
                end_group(group)
        if not self.ran:
            raise Trouble("nothing in it is executed")

    def _write(self, block):
        path = os.path.join(self._folder, block.file())
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(block.text)

    def _run(self, block):
        self.ran += 1
        words = ["bash", "-euo", "pipefail", "-c", block.text]
        # A file, not a pipe: background jobs hold on to it.
        with tempfile.TemporaryFile() as printed:
            process = subprocess.Popen(
                words,
                cwd=self._folder,
                env=self._variables,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._groups.append(process.pid)
            try:
                code = process.wait(timeout=BLOCK_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                code = "no end"
            printed.seek(0)
            self._printed = printed.read().decode(errors="replace")
        if code != 0:
            raise Trouble(f"line {block.line}: ended with {code}:\n{self._printed[-4000:]}")

    def _compare(self, block):
        if self._printed is None:
            raise Trouble(f"line {block.line}: there is an output, but nothing ran before it")
        printed = self._printed if self._printed.endswith("\n") else self._printed + "\n"
        if not pattern(block.text).fullmatch(printed):
            told = f"expected:\n{block.text}printed:\n{printed[-4000:]}"
            raise Trouble(f"line {block.line}: it printed something else\n{told}")
        self._printed = None


def end_group(group):
    """SIGTERM, and SIGKILL after a moment, to all that a block started and left behind."""
    try:
        os.killpg(group, signal.SIGTERM)
        for _ in range(30):
            time.sleep(0.1)
            os.killpg(group, 0)
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass


def start_dev(folder):
    """A fresh `asyncflow dev`: the process and the broker's address."""
    broker, governor, http = free_port(), free_port(), free_port()
    words = [os.path.join(bin_dir(), "asyncflow"), "dev", "--data-dir", os.path.join(folder, "dev")]
    ports = {"listen": broker, "governor-listen": governor, "http-listen": http}
    for name, port in ports.items():
        words += [f"--{name}", f"127.0.0.1:{port}"]
    log = open(os.path.join(folder, "dev.log"), "wb")
    with log:
        process = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
    end = time.monotonic() + READY_SECONDS_MAX
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{http}/readyz", timeout=5):
                return process, f"http://127.0.0.1:{broker}"
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                end_group(process.pid)
                with open(log.name, encoding="utf-8", errors="replace") as file:
                    raise Trouble(f"asyncflow dev does not serve:\n{file.read()[-4000:]}") from None
            time.sleep(0.1)


def execute(path, keep):
    """One page with a broker of its own; how many blocks ran."""
    folder = tempfile.mkdtemp(prefix="asyncflow-page-")
    page_folder = os.path.join(folder, "page")
    os.mkdir(page_folder)
    dev, address = start_dev(folder)
    try:
        path_variable = [os.path.join(page_folder, ".venv", "bin"), bin_dir(), os.environ["PATH"]]
        variables = {
            **os.environ,
            "ASYNCFLOW_BROKER": address,
            "ASYNCFLOW_REPO": ROOT,
            "PATH": os.pathsep.join(path_variable),
        }
        page = Page(path, page_folder, variables)
        page.execute()
        return page.ran
    finally:
        dev.terminate()
        try:
            dev.wait(timeout=10)
        except subprocess.TimeoutExpired:
            pass
        end_group(dev.pid)
        if keep:
            print(f"{path}: see {folder}")
        else:
            subprocess.run(["rm", "-rf", folder], check=False)


def main():
    """All pages; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("pages", nargs="+", metavar="PAGE")
    parser.add_argument("--keep", action="store_true", help="leave the directories behind")
    parser.add_argument("--jobs", type=int, default=3, help="pages side by side; 3 unless given")
    arguments = parser.parse_args()
    # They mostly wait.
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        well = list(pool.map(lambda page: is_well(page, arguments.keep), arguments.pages))
    return 0 if all(well) else 1


def is_well(page, keep):
    """Executes a page and says how that went."""
    begin = time.monotonic()
    try:
        ran = execute(page, keep)
        print(f"{page}: ok, {ran} blocks ran ({time.monotonic() - begin:.0f} s)", flush=True)
        return True
    except (Trouble, OSError) as trouble:
        print(f"{page}: FAILED, {trouble}", flush=True)
        return False


if __name__ == "__main__":
    sys.exit(main())
