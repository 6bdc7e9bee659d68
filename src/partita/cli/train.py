"""`partita train`: one network trained by an edge device and a cloud together, planned live."""

from __future__ import annotations

from cyclopts import App

from .render import PLAIN
from .train_cloud import cloud
from .train_compare import compare
from .train_edge import edge, local
from .train_simulate import simulate

app = App(
    name="train",
    help="Train one network on an edge device and a cloud together, planned live.",
    default_parameter=PLAIN,
)

for command in (cloud, edge, local, compare, simulate):
    app.command(command)
