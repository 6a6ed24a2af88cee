#!/usr/bin/env python3
"""One run of the sweep: fits a curve by gradient descent with the parameters that it is given.

Pure Python, so it runs anywhere. Whoever uses a GPU finds the one that it was given in
CUDA_VISIBLE_DEVICES, as any program does.
"""

import argparse
import json
import math
import os
import random


def points():
    noise = random.Random(1)
    return [(x / 50 - 1, math.sin(3 * (x / 50 - 1)) + noise.gauss(0, 0.05)) for x in range(100)]


def fit(rate, degree, steps=400):
    """The mean squared error of a polynomial after so many steps of descent."""
    data, weights = points(), [0.0] * (degree + 1)
    powers = [[x**k for k in range(degree + 1)] for x, _ in data]
    loss = math.inf
    for _ in range(steps):
        guesses = [sum(map(lambda w, p: w * p, weights, row)) for row in powers]
        errors = [guess - y for guess, (_, y) in zip(guesses, data)]
        loss = sum(error * error for error in errors) / len(data)
        if not math.isfinite(loss) or loss > 1e6:
            return 1e6
        for k in range(degree + 1):
            slope = 2 * sum(error * row[k] for error, row in zip(errors, powers)) / len(data)
            weights[k] -= rate * slope
    return loss


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--degree", type=int, required=True)
    args = parser.parse_args()
    loss = fit(args.rate, args.degree)
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    print("rate %g, degree %d, GPU %s: loss %.5f" % (args.rate, args.degree, gpu or "none", loss))
    data = {"loss": loss, "rate": args.rate, "degree": args.degree, "gpu": gpu}
    with open(os.environ.get("ASYNCFLOW_EVENTS", "/dev/stdout"), "a", encoding="utf-8") as file:
        file.write(json.dumps({"event": "result", "data": data}) + "\n")


if __name__ == "__main__":
    main()
