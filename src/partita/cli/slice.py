"""`partita slice`: an ONNX model of any size, run inside the limits of serverless functions."""

from __future__ import annotations

from cyclopts import App

from .render import PLAIN
from .slice_cut import cut, verify
from .slice_export import export
from .slice_original import VERBS, original
from .slice_plan import check, plan
from .slice_run import run
from .slice_sweep import sweep

app = App(
    name="slice",
    help="Plan, cut, check and run an ONNX model inside the limits of serverless functions.",
    default_parameter=PLAIN,
)

for command in (check, plan, cut, verify, run, sweep, export):
    app.command(command)
for name in VERBS:
    app.command(original(name), name=name)
