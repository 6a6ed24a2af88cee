#!/usr/bin/env python3
"""Train a small convolutional network with PyTorch, on a GPU where there is one, else on the CPU.

Whatever kills it, the next attempt goes on from the last checkpoint: network, optimizer and place
in the data. When it is told to stop it saves one and exits with 85. The data are images of ten
made-up classes, so nothing has to be downloaded.
"""

import argparse
import os
import sys
import time

import torch
from torch import nn

import protocol

CLASSES, SIDE, BATCH = 10, 16, 64
TRAIN_IMAGES, TEST_IMAGES = 4096, 1024


def images(count, seed):
    """Noisy, shifted pictures of ten patterns, the same for every seed."""
    patterns = torch.rand(CLASSES, SIDE, SIDE, generator=torch.Generator().manual_seed(7))
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (count,), generator=random)
    shifts = torch.randint(-2, 3, (count,), generator=random).tolist()
    rolled = [patterns[label].roll(shift, 0) for label, shift in zip(labels.tolist(), shifts)]
    noise = torch.randn(count, SIDE, SIDE, generator=random)
    return (torch.stack(rolled) + 0.6 * noise).unsqueeze(1), labels


def network():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * (SIDE // 4) ** 2, CLASSES),
    )


class Training:
    """A network with its optimizer, and how far it is."""

    def __init__(self, out, device):
        self.path = os.path.join(out, "checkpoint.pt")
        self.device = device
        self.model = network().to(device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)
        self.epoch, self.step = 0, 0

    def load(self):
        """Goes on from the checkpoint, if there is one."""
        if not os.path.exists(self.path):
            return False
        state = torch.load(self.path, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.step = state["epoch"], state["step"]
        return True

    def save(self):
        """The file first, then the context that tells of it."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
        }
        protocol.write_durably(self.path, lambda file: torch.save(state, file))
        place = {"checkpoint": self.path, "epoch": self.epoch, "step": self.step}
        protocol.emit({"event": "context", "data": place})

    def run_epoch(self, data, labels, stop, pace):
        """The mean loss; `None` if it was told to stop in between."""
        # The order depends on the epoch alone, so who goes on in mid-epoch misses nothing.
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(self.epoch))
        batches = order.split(BATCH)
        losses = []
        self.model.train()
        while self.step < len(batches):
            if stop.requested():
                return None
            batch = batches[self.step]
            logits = self.model(data[batch].to(self.device))
            loss = nn.functional.cross_entropy(logits, labels[batch].to(self.device))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses.append(loss.item())
            self.step += 1
            time.sleep(pace)
        self.epoch, self.step = self.epoch + 1, 0
        return sum(losses) / max(len(losses), 1)

    @torch.no_grad()
    def accuracy(self, data, labels):
        self.model.eval()
        guesses = self.model(data.to(self.device)).argmax(1).cpu()
        return (guesses == labels).float().mean().item()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True, help="where checkpoints are kept")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--pace", type=float, default=0.0, help="seconds of rest after each batch")
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    stop = protocol.Stop()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    training = Training(args.out, device)
    begun = "goes on" if training.load() else "begins"
    place = (training.epoch, training.step)
    print("%s on %s at epoch %d, step %d" % ((begun, name) + place), flush=True)
    train, test = images(TRAIN_IMAGES, 1), images(TEST_IMAGES, 2)
    while training.epoch < args.epochs:
        loss = training.run_epoch(*train, stop, args.pace)
        training.save()
        if loss is None:
            print("told to stop at epoch %d, step %d" % (training.epoch, training.step), flush=True)
            return protocol.EXIT_CHECKPOINTED
        accuracy = training.accuracy(*test)
        percent = 100.0 * training.epoch / args.epochs
        message = "epoch %d/%d" % (training.epoch, args.epochs)
        protocol.emit({"event": "progress", "percent": percent, "message": message})
        values = {"loss": loss, "accuracy": accuracy}
        protocol.emit({"event": "metrics", "values": values})
        print("%s: loss %.4f, accuracy %.4f" % (message, loss, accuracy), flush=True)
    result = {"accuracy": training.accuracy(*test), "epochs": training.epoch, "device": device}
    protocol.emit({"event": "result", "data": result})
    return 0


if __name__ == "__main__":
    sys.exit(main())
