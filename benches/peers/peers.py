"""Who is compared: how each is built, and what runs it."""

import dataclasses
import os
import re
import shutil
import sys
import typing

from servers import Failure, run

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
# Everything that is installed or built; `rm -r` takes it away.
HOME = os.path.join(ROOT, "target", "peers")
# Built from a copy, so that nothing lands beside the sources.
COPY = os.path.join(HOME, "src")


@dataclasses.dataclass(frozen=True)
class Peer:
    name: str
    backend: str
    # Commands, each run in this folder of the copy.
    folder: str
    build: typing.List[typing.List[str]]
    program: typing.List[str]
    # A file in the copy, and what stands before the version there.
    manifest: str
    before_version: str
    # How many calls at a time are tried for tasks one by one; the best counts.
    in_flight: typing.Tuple[int, ...] = (64, 256)
    # Whether it has a call that takes many tasks.
    bulk: bool = True

    def version(self):
        with open(os.path.join(COPY, self.manifest), encoding="utf-8") as text:
            found = re.search(re.escape(self.before_version) + r"v?([0-9.]+)", text.read())
        return found.group(1)

    def install(self):
        if shutil.which(self.build[0][0]) is None:
            raise Failure("there is no %s" % self.build[0][0])
        for command in self.build:
            run(command, cwd=os.path.join(COPY, self.folder), env=build_environment())


def copy_sources():
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(HERE, COPY, dirs_exist_ok=True, ignore=ignore)


def build_environment():
    """The caches of the package managers stay below target, too, but for cargo's downloads, which
    are where those of asyncflow's own build are."""
    go = os.path.join(HOME, "go")
    return {
        **os.environ,
        "GOMODCACHE": os.path.join(go, "mod"),
        "GOCACHE": os.path.join(go, "build"),
        # Else `rm -r` may not delete it.
        "GOFLAGS": os.environ.get("GOFLAGS", "") + " -modcacherw",
        "npm_config_cache": os.path.join(HOME, "npm"),
        "PIP_CACHE_DIR": os.path.join(HOME, "pip"),
    }


def go(name, backend, module, **options):
    program = os.path.join(HOME, name)
    build = [["go", "build", "-o", program, "./" + name]]
    return Peer(name, backend, "", build, [program], "go.mod", module + " ", **options)


def node(name, backend, **options):
    install = [["npm", "install", "--no-package-lock", "--no-audit", "--no-fund"]]
    program = ["node", os.path.join(COPY, name, "bench.mjs")]
    manifest = os.path.join(name, "package.json")
    return Peer(name, backend, name, install, program, manifest, '"%s": "' % name, **options)


def rust(name, backend, **options):
    target = os.path.join(HOME, name)
    build = [["cargo", "build", "--quiet", "--release", "--target-dir", target]]
    program = [os.path.join(target, "release", name + "-bench")]
    manifest = os.path.join(name, "Cargo.toml")
    return Peer(name, backend, name, build, program, manifest, '%s = "=' % name, **options)


def python(name, backend, requirement, **options):
    venv = os.path.join(HOME, name)
    interpreter = os.path.join(venv, "bin", "python")
    pip = [interpreter, "-m", "pip", "install", "--disable-pip-version-check"]
    build = [[sys.executable, "-m", "venv", venv], [*pip, "-r", "requirements.txt"]]
    program = [interpreter, os.path.join(COPY, name, "bench.py")]
    manifest = os.path.join(name, "requirements.txt")
    return Peer(name, backend, name, build, program, manifest, requirement + "==", **options)


PEERS = [
    go("river", "postgres", "github.com/riverqueue/river"),
    node("graphile-worker", "postgres"),
    rust("awa", "postgres"),
    go("asynq", "redis", "github.com/hibiken/asynq", bulk=False),
    node("bullmq", "redis"),
    # Threads of Python take turns: one alone may be the fastest.
    python("celery", "redis", "celery[redis]", in_flight=(1, 64), bulk=False),
]
