"""`partita inspect MODEL`: where it can be cut, and what crosses each cut."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from ..graph import Chain, Cut, dump, print_chain, print_size
from .files import check_writable, write_text
from .model import ModelOptions
from .render import PLAIN, Column, Screen

app = App(
    name="inspect", help="Show where a model can be cut, and what crosses each cut.", default_parameter=PLAIN
)

# Names of crossing tensors beyond these are counted, not listed: a table row is one line.
NAMES_SHOWN = 3
READ = ModelOptions()


@app.default
def inspect(
    model: str,
    *,
    options: ModelOptions = READ,
    form: Literal["table", "text", "chain"] = "table",
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    json: bool = False,
) -> int:
    """Show where a model can be cut, and what crosses each cut.

    Parameters
    ----------
    model
        torchvision:resnet18, timm:NAME, hf:NAME_OR_FOLDER, zoo:NAME, file.onnx, or pkg.mod:factory.
    form
        table for people, text for the short form that parses back, chain for the whole chain as JSON.
    output
        Write the chain as JSON to this file as well.
    json
        Print one JSON document instead of a table.
    """
    screen = Screen(as_json=json)
    check_writable(output)
    chain = options.capture(model).chain
    bind = options.known(chain)
    if output is not None:
        write_text(output, dump(chain))
    if form != "table":
        screen.say(print_chain(chain).rstrip("\n") if form == "text" else dump(chain))
    else:
        _show(screen, chain, bind)
    screen.result(_document(chain, bind))
    return 0


def _show(screen: Screen, chain: Chain, bind: Mapping[str, int]) -> None:
    columns = [
        Column("cut", right=True),
        Column("after"),
        Column("bytes", right=True),
        Column("as a function"),
        Column("params before", right=True),
        Column("crosses"),
    ]
    legal = [cut for cut in chain.cuts[1:-1] if cut.legal]
    rows = [
        (
            cut.position,
            cut.after or "(input)",
            _bytes(cut, bind) if cut.legal else "-",
            cut.formula if cut.legal else "no cut",
            print_size(chain.part_bytes(0, cut.position)),
            _crossing(cut),
        )
        for cut in chain.cuts
    ]
    lows = record_lows(chain, bind)
    title = f"{chain.name}: {len(chain)} stages, {len(legal)} legal cuts inside"
    screen.table(title, columns, rows, marks=[cut.position for cut in lows])
    bound = ", ".join(f"{name}={bind[name]}" for name in sorted(chain.symbols & bind.keys()))
    screen.say(
        f"parameters and buffers {print_size(chain.part_bytes(0, len(chain)))}; bytes at {bound or 'fixed sizes'}; "
        f"{chain.digest[:19]}"
    )
    if lows:
        listed = ", ".join(f"{cut.position} ({print_size(cut.nbytes(bind))})" for cut in lows)
        screen.say(f"less crosses than at any cut before: {listed}")


def record_lows(chain: Chain, bind: Mapping[str, int]) -> list[Cut]:
    """The inner cuts at which less crosses than at any before, the input included: what a slow uplink chooses from."""
    lows: list[Cut] = []
    least = float("inf")
    for cut in chain.cuts[:-1]:
        if not cut.legal or cut_symbols(cut) - bind.keys():
            continue
        crossing = cut.nbytes(bind)
        if crossing < least and cut.position:
            lows.append(cut)
        least = min(least, crossing)
    return lows


def cut_symbols(cut: Cut) -> frozenset[str]:
    """The open dimensions of what crosses."""
    return frozenset().union(*(tensor.symbols for tensor in cut.tensors))


def _bytes(cut: Cut, bind: Mapping[str, int]) -> str:
    return "?" if cut_symbols(cut) - bind.keys() else print_size(cut.nbytes(bind))


def _crossing(cut: Cut) -> str:
    if not cut.legal:
        return cut.reason
    names = [tensor.name for tensor in cut.tensors]
    more = len(names) - NAMES_SHOWN
    shared = f" (shares {len(cut.shared)} parameters)" if cut.shared else ""
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "") + shared


def _document(chain: Chain, bind: Mapping[str, int]) -> dict[str, Any]:
    return {
        "model": chain.name,
        "engine": chain.engine,
        "digest": chain.digest,
        "stages": len(chain),
        "param_bytes": chain.part_bytes(0, len(chain)),
        "bind": dict(bind),
        "cuts": [
            {
                "position": cut.position,
                "after": cut.after,
                "legal": cut.legal,
                "reason": cut.reason,
                "tensors": [tensor.name for tensor in cut.tensors],
                "bytes": None if not cut.legal or cut_symbols(cut) - bind.keys() else cut.nbytes(bind),
                "formula": cut.formula,
                "shared": list(cut.shared),
                "param_bytes_before": chain.part_bytes(0, cut.position),
            }
            for cut in chain.cuts
        ],
    }
