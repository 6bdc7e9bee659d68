"""A network of one's own, trained by this process and a cloud in a second one over a slow link."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader

from partita.train import Session, Settings, local_cloud
from partita.wire import parse_shape
from partita.zoo import as_torch, open_data


def digits() -> nn.Module:
    """Two convolutions and a row of answers, as one writes it."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, 10),
    )


def main() -> None:
    """The planner finds the cut, the window and the codecs; `slow` makes this side a small device."""
    train = DataLoader(as_torch(open_data("made:digits", limit=640)), batch_size=32, shuffle=True)
    held_out = DataLoader(as_torch(open_data("made:digits", split="val", limit=300)), batch_size=100)
    net = digits()
    sgd = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    settings = Settings(epochs=2)
    with (
        local_cloud(link=parse_shape("200mbit/10ms")) as cloud,
        Session(
            net, optimizer=sgd, settings=settings, cloud=cloud.url, token=cloud.token, slow=16
        ) as session,
    ):
        for step in session.train(train, held_out=held_out):
            if step.step % 10 == 0:
                print(f"step {step.step:3}: loss {step.loss:.3f}, {step.plan}")
        for event in session.events:
            print(f"{event.what} at step {event.step}: {event.said}")
        print(f"{session.epochs[-1].held_out_accuracy:.1%} of the held-out digits are right")


if __name__ == "__main__":
    main()
