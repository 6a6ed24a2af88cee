#!/usr/bin/env python3
"""The example in ../digits a second time, through the Python SDK: what is left is the work.

Learns to read handwritten digits, proves it, and draws new ones. Whatever kills it, the next
attempt goes on behind the last saved epoch, or the last stage that was done. Also by hand:

    python digits.py --run-dir /tmp/run
"""

import argparse
import hashlib
import os
import time

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

from asyncflow import Fail, atomic_file, task  # noqa: E402

CLASSES = np.arange(10)


@task("digits_sdk", max_retries=3)
def digits(ctx, run_dir, epochs=40, columns=16, seed=7, pace=0.0):
    """Train, validate, generate."""
    os.makedirs(run_dir, exist_ok=True)
    network = load_checkpoint(ctx.saved) if ctx.saved else MLPClassifier(
        hidden_layer_sizes=(128, 64), batch_size=32, alpha=1e-4, shuffle=False, random_state=seed
    )
    images, _, labels, _ = load_split(seed)
    images, labels = augment(images, labels)
    behind = ctx.saved.get("epoch", 0)
    print("attempt %d goes on behind epoch %d" % (ctx.attempt, behind), flush=True)
    for epoch in ctx.range(1, epochs + 1, stage="train"):
        order = np.random.default_rng([seed, epoch]).permutation(len(labels))
        network.partial_fit(images[order], labels[order], classes=CLASSES)
        time.sleep(pace)
        path = os.path.join(run_dir, "epoch-%03d.joblib" % epoch)
        with atomic_file(path) as file:
            joblib.dump(network, file)
        ctx.save(epoch=epoch, checkpoint=path, sha256=sha256(path))
        ctx.metrics(epoch=epoch, loss=network.loss_)
    validation = ctx.stage("validate", validate, network, seed)
    drawn = ctx.stage("generate", generate, network, run_dir, columns, seed)
    return {**validation, **drawn, "checkpoint": ctx.saved["checkpoint"]}


def load_checkpoint(saved):
    """Unpickling runs code, which is why the digest, kept by the broker, is checked first."""
    if sha256(saved["checkpoint"]) != saved["sha256"]:
        raise Fail("the checkpoint %(checkpoint)s is not the one that was saved" % saved)
    return joblib.load(saved["checkpoint"])


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


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


def validate(network, seed):
    """Measure the network on the digits that it never saw."""
    _, images, _, labels = load_split(seed)
    guesses = network.predict(images)
    matrix = confusion_matrix(labels, guesses, labels=CLASSES)
    return {
        "accuracy": round(float(np.mean(guesses == labels)), 4),
        "held_out": len(labels),
        "log_loss": round(float(log_loss(labels, network.predict_proba(images))), 4),
        "confusion_matrix": matrix.tolist(),
    }


def generate(network, run_dir, columns, seed):
    """Draw new digits, one row of the sheet for each class."""
    images, _, labels, _ = load_split(seed)
    rows = [new_digits(images[labels == digit], columns, seed) for digit in CLASSES]
    path = os.path.join(run_dir, "digits.png")
    with atomic_file(path) as file:
        draw_sheet(rows).save(file, format="PNG")
    recognised = np.mean([np.mean(network.predict(row) == n) for n, row in enumerate(rows)])
    return {"png": path, "generated": 10 * columns, "recognised": round(float(recognised), 4)}


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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run-dir", required=True, type=os.path.abspath)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--columns", type=int, default=16, help="new digits of each class")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--pace", type=float, default=0.0, help="seconds of rest in each epoch")
    print(digits(**vars(parser.parse_args())))
