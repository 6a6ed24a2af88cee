"""What a page promises must be kept, or the page fails."""

import os
import re
import sys
import tempfile
import textwrap
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from snippets import Page, blocks, pattern
from stack import ROOT, Trouble


class Pages(unittest.TestCase):
    """Pages without a broker."""

    def execute(self, text):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "page.md")
            with open(path, "w", encoding="utf-8") as file:
                file.write(textwrap.dedent(text))
            Page(path, folder, dict(os.environ)).execute()

    def test_files_runs_and_outputs(self):
        self.execute(
            """\
            ```python file=a/hello.py
            print("hello")
            print("id 7")
            ```
            Then:
            ```sh run
            sleep 60 &
            python3 a/hello.py
            ```
            ```text output
            hello
            id …
            ```
            ```sh
            false
            ```
            """
        )

    def test_what_is_not_kept(self):
        run = "```sh run\necho hello\n```\n"
        for wrong in (
            "```sh run\nfalse | true\n```\n",
            run + "```text output\nhell\n```\n",
            run + "```text output\nhello\nmore\n```\n",
            run + "```text output\nhello\n```\n```text output\nhello\n```\n",
            "```text output\nhello\n```\n" + run,
            "```sh\necho hello\n```\n",
            "```sh runn\necho hello\n```\n",
            "```sh run\necho hello\n",
            "```sh file=../x\necho hello\n```\n" + run,
        ):
            with self.assertRaises(Trouble, msg=wrong):
                self.execute(wrong)

    def test_what_stands_for_anything(self):
        for expected, printed, fits in (
            ("a\n…\nd\n", "a\nb\nc\nd\n", True),
            ("a\n…\nd\n", "a\nd\n", True),
            ("a\n…\n", "a\n", True),
            ("a …z\n", "a bc z\n", True),
            ("a.c\n", "abc\n", False),
            ("…\nd\n", "a\nb\n", False),
        ):
            self.assertEqual(bool(pattern(expected).fullmatch(printed)), fits, expected)

    def test_fences_in_fences(self):
        found = blocks("````md\n```sh run\n```\n````\n  ```sh run\n  x\n  ```\n")
        self.assertEqual([block.text for block in found], ["```sh run\n```\n", "x\n"])


class Hello(unittest.TestCase):
    """docs/guide/hello.md."""

    def test_its_programs_are_as_short_as_it_says(self):
        with open(os.path.join(ROOT, "docs", "guide", "hello.md"), encoding="utf-8") as file:
            text = file.read()
        files = {block.file(): block for block in blocks(text) if block.kind() == "file"}
        told = re.findall(r"`([\w./]+)`, (\d+) lines?", text)
        self.assertGreaterEqual(len(told), 6)
        for name, lines in told:
            self.assertEqual(count(files[name]), int(lines), name)
            self.assertLess(int(lines), 20, name)


def count(block):
    """Its lines that are not blank."""
    return sum(1 for line in block.text.splitlines() if line.strip())


if __name__ == "__main__":
    unittest.main()
