"""`partita serve`: networks with exits, and how deep each request runs."""

from __future__ import annotations

from cyclopts import App

from .render import PLAIN
from .serve_decide import execute, explain, simulate
from .serve_model import calibrate, export, profile
from .serve_train import train

app = App(
    name="serve",
    help="Train, calibrate and run networks with exits, each request within its deadline, energy or accuracy bound.",
    default_parameter=PLAIN,
)

for command in (train, export, profile, calibrate, execute, explain, simulate):
    app.command(command)
