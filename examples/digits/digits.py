#!/usr/bin/env python3
"""Learn to read handwritten digits, prove it, and draw new ones: one task in three stages.

    train     a neural network on 1,347 of the 1,797 digits that ship inside scikit-learn;
              after each epoch a checkpoint is written and the task's context is saved
    validate  accuracy and confusion matrix on the 450 digits that the network never saw
    generate  new digits, drawn from a density model of the real ones, as a PNG sheet

There is no SDK here. A script talks to asyncflow by files whose paths are in its environment:

    ASYNCFLOW_STAGE    the stage that was saved last; empty before the first
    ASYNCFLOW_CONTEXT  a file with the context that was saved last; may be empty
    ASYNCFLOW_EVENTS   a file to which it appends one JSON object a line
    ASYNCFLOW_STOP     a file that appears when the task should stop; SIGTERM comes with it

Whatever kills this program, the next attempt starts from the last saved context. The order of the
training examples depends on the seed and the epoch alone, so a run that was interrupted takes the
same steps as one that was not, but for rounding in the last digits. Started by hand, without
asyncflow, it prints its events.
"""

import argparse
import hashlib
import json
import os
import signal
import sys
import time

# The matrices are small: more threads would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import joblib  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402
from sklearn.decomposition import PCA  # noqa: E402
from sklearn.metrics import confusion_matrix, log_loss  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402
from sklearn.neighbors import KernelDensity  # noqa: E402
from sklearn.neural_network import MLPClassifier  # noqa: E402

CLASSES = np.arange(10)
STAGES = ["train", "validate", "generate"]

# Exit codes of the script protocol: "I saved my context; run me again, this is no failure", and
# "the input is wrong, to try again is of no use".
EXIT_CHECKPOINTED = 85
EXIT_BAD_DATA = 65


# --- the script protocol -----------------------------------------------------------------------


def emit(event):
    """Tell asyncflow something: one JSON object, one line, one write."""
    line = json.dumps(event, separators=(",", ":")) + "\n"
    path = os.environ.get("ASYNCFLOW_EVENTS")
    if path is None:
        sys.stdout.write(line)
        sys.stdout.flush()
        return
    # One write on an append-only descriptor: a kill leaves a whole line or none.
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, line.encode("utf-8"))
    finally:
        os.close(fd)


def saved_context():
    """What the last attempt saved; an empty dict at the first."""
    path = os.environ.get("ASYNCFLOW_CONTEXT")
    if path is None:
        return {}
    with open(path, "rb") as file:
        data = file.read()
    return json.loads(data) if data.strip() else {}


def save_context(context, stage=None):
    """Save the context; with `stage`, that stage is done, and both are saved in one step."""
    event = {"event": "context", "data": context}
    if stage is not None:
        event["stage"] = stage
    emit(event)


class Stop:
    """SIGTERM comes together with the file; it must not end an epoch in the middle."""

    signalled = False

    @classmethod
    def on_signal(cls, _number, _frame):
        cls.signalled = True


def stop_requested():
    if Stop.signalled:
        return True
    path = os.environ.get("ASYNCFLOW_STOP")
    return path is not None and os.path.exists(path)


# --- files that survive a kill -----------------------------------------------------------------


def write_durably(path, write):
    """Make `path` by writing a neighbour and renaming it: it is whole, or it is not there."""
    temporary = "%s.%d.tmp" % (path, os.getpid())
    with open(temporary, "wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    directory = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def load_checkpoint(context):
    """Read the network of the context; refuse a file that is not the one that was saved."""
    path = context["checkpoint"]
    if sha256(path) != context["sha256"]:
        print("the checkpoint %s is not the one that the context names" % path, file=sys.stderr)
        raise SystemExit(EXIT_BAD_DATA)
    # Unpickling runs code, which is why the digest, kept by the broker, is checked first.
    return joblib.load(path)


# --- the data ----------------------------------------------------------------------------------


def load_split(seed):
    """The real digits, scaled to 0..1: train and held-out, the classes evenly in both."""
    images, labels = load_digits(return_X_y=True)
    return train_test_split(
        images / 16.0, labels, test_size=450, stratify=labels, random_state=seed
    )


def augment(images, labels):
    """Each 8x8 picture, and the same moved by one pixel in each of eight directions."""
    squares = np.pad(images.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    moved = [squares[:, y : y + 8, x : x + 8].reshape(-1, 64) for y in range(3) for x in range(3)]
    return np.concatenate(moved), np.tile(labels, len(moved))


# --- the stages --------------------------------------------------------------------------------


def train(options, context):
    """Train to the last epoch, from the epoch after the saved one."""
    images, _, labels, _ = load_split(options.seed)
    images, labels = augment(images, labels)
    if context:
        network = load_checkpoint(context)
        print("attempt goes on from epoch %d" % context["epoch"], flush=True)
    else:
        network = MLPClassifier(
            hidden_layer_sizes=options.hidden, batch_size=32, alpha=1e-4, shuffle=False,
            learning_rate_init=options.learning_rate, random_state=options.seed,
        )
    for epoch in range(context.get("epoch", 0) + 1, options.epochs + 1):
        if stop_requested():
            print("asked to stop; epoch %d is saved" % (epoch - 1), flush=True)
            raise SystemExit(EXIT_CHECKPOINTED)
        started = time.monotonic()
        order = np.random.default_rng([options.seed, epoch]).permutation(len(labels))
        network.partial_fit(images[order], labels[order], classes=CLASSES)
        context = save_epoch(options, network, epoch)
        time.sleep(max(0.0, options.pace - (time.monotonic() - started)))
    save_context(context, stage="train")
    return context


def save_epoch(options, network, epoch):
    """Checkpoint first, then the context that names it: what the context names exists."""
    path = os.path.join(options.run_dir, "epoch-%03d.joblib" % epoch)
    write_durably(path, lambda file: joblib.dump(network, file))
    loss = float(network.loss_)
    context = {"epoch": epoch, "checkpoint": path, "sha256": sha256(path), "loss": round(loss, 6)}
    save_context(context)
    emit({"event": "metrics", "values": {"epoch": epoch, "loss": loss}})
    message = "epoch %d/%d, loss %.4f" % (epoch, options.epochs, loss)
    # Training is the long part: it counts for the first 90 percent.
    emit({"event": "progress", "percent": 90.0 * epoch / options.epochs, "message": message})
    print(message, flush=True)
    return context


def validate(options, context):
    """Measure the network on the digits that it never saw."""
    _, images, _, labels = load_split(options.seed)
    network = load_checkpoint(context)
    guesses = network.predict(images)
    accuracy = float(np.mean(guesses == labels))
    matrix = confusion_matrix(labels, guesses, labels=CLASSES)
    validation = {
        "accuracy": round(accuracy, 4),
        "held_out": len(labels),
        "log_loss": round(float(log_loss(labels, network.predict_proba(images))), 4),
        "confusion_matrix": matrix.tolist(),
    }
    print("accuracy %.4f on %d held-out digits" % (accuracy, len(labels)), flush=True)
    print(matrix, flush=True)
    context = dict(context, validation=validation)
    emit({"event": "metrics", "values": {"accuracy": accuracy}})
    emit({"event": "progress", "percent": 95.0, "message": "accuracy %.4f" % accuracy})
    # Who goes on from here in a task of its own needs the network, too.
    network_file = {name: context[name] for name in ("checkpoint", "sha256")}
    emit({"event": "result", "data": dict(validation, **network_file)})
    save_context(context, stage="validate")
    return context


def generate(options, context):
    """Draw new digits, one row of the sheet for each class, and hand in the final result."""
    images, _, labels, _ = load_split(options.seed)
    rows = [new_digits(images[labels == digit], options.columns, options.seed) for digit in CLASSES]
    path = os.path.join(options.run_dir, "digits.png")
    sheet = draw_sheet(rows)
    write_durably(path, lambda file: sheet.save(file, format="PNG"))

    network = load_checkpoint(context)
    recognised = np.mean([np.mean(network.predict(row) == n) for n, row in enumerate(rows)])
    print("drew %d digits into %s" % (10 * options.columns, path), flush=True)
    result = dict(context["validation"], png=path, generated=10 * options.columns,
                  generated_recognised=round(float(recognised), 4))
    emit({"event": "result", "data": result})
    emit({"event": "progress", "percent": 100.0, "message": "drew %s" % path})
    save_context(context, stage="generate")
    return context


def new_digits(images, count, seed):
    """Samples of a kernel density over the principal components of one class."""
    pca = PCA(n_components=15, random_state=seed).fit(images)
    density = KernelDensity(bandwidth=0.12).fit(pca.transform(images))
    return np.clip(pca.inverse_transform(density.sample(count, random_state=seed)), 0.0, 1.0)


def draw_sheet(rows, scale=6, gap=4):
    """Dark ink on white paper; each pixel of a digit becomes `scale` x `scale` pixels."""
    cell = 8 * scale + gap
    sheet = Image.new("L", (len(rows[0]) * cell + gap, len(rows) * cell + gap), color=255)
    for y, row in enumerate(rows):
        for x, pixels in enumerate(row):
            ink = (255 - pixels.reshape(8, 8) * 255).astype(np.uint8)
            digit = Image.fromarray(ink).resize((8 * scale, 8 * scale), Image.BICUBIC)
            sheet.paste(digit, (gap + x * cell, gap + y * cell))
    return sheet


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run-dir", required=True, help="where checkpoints and the sheet go")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--columns", type=int, default=16, help="new digits of each class")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--stages", default=",".join(STAGES), type=lambda text: text.split(","),
        help="only these, in a workflow that has a task for each part",
    )
    parser.add_argument(
        "--hidden", default=(128, 64), help="sizes of the hidden layers, e.g. 128,64",
        type=lambda text: tuple(int(size) for size in text.split(",")),
    )
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument(
        "--network", nargs=3, metavar=("CHECKPOINT", "SHA256", "ACCURACY"),
        help="a network that another task has trained and validated",
    )
    parser.add_argument(
        "--pace", type=float, default=0.0,
        help="least seconds an epoch, so that a fast machine can be watched (and killed) too",
    )
    options = parser.parse_args()
    options.run_dir = os.path.abspath(options.run_dir)
    return options


def main():
    options = parse_options()
    signal.signal(signal.SIGTERM, Stop.on_signal)
    os.makedirs(options.run_dir, exist_ok=True)
    context = saved_context()
    if not context and options.network:
        checkpoint, digest, accuracy = options.network
        context = {"checkpoint": checkpoint, "sha256": digest}
        context["validation"] = {"accuracy": float(accuracy)}
    done = os.environ.get("ASYNCFLOW_STAGE", "")
    first = options.stages.index(done) + 1 if done else 0
    for stage in options.stages[first:]:
        print("stage %s" % stage, flush=True)
        context = {"train": train, "validate": validate, "generate": generate}[stage](
            options, context
        )


if __name__ == "__main__":
    main()
