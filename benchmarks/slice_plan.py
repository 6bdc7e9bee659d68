"""Where a model is cut into 5: bytes between slices and the largest slice, beside slices of equal node counts; seconds to plan.

    python benchmarks/slice_plan.py [--json PATH] [--runs 7] [--skip-gpt2]

Equal node counts is how a model is cut by number alone: every slice gets as many nodes of the file, whatever they
weigh and whatever crosses. Both ways are counted alike: every tensor at every cut that it crosses, and the distinct
weights of every slice. ResNet-50, VGG-19 and DenseNet-121 are those of the onnx package with weights; GPT-2 is
exported in full size from torch, which takes half a minute and is left out, with a word, where it is not installed. Planning is timed on DenseNet-121
as it is captured and on a made-up model of 910 stages.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter

from plan_speed import made_up

from partita.engine.onnx_capture import capture_onnx
from partita.graph import Chain
from partita.plan.platforms_table import platforms
from partita.slice.document import bindings
from partita.slice.order import order_score, orders
from partita.slice.question import SliceQuestion
from partita.slice.recompute import worth_recomputing
from partita.slice.searching import search
from partita.slice.slicer import equal_nodes

SLICES = 5
# Payload saved, in per cent, that is promised.
PROMISED = {"resnet50": 60.0, "gpt2": 80.0, "vgg19": 95.0}


def light(name: str, folder: Path) -> Path:
    """One of the architectures of the onnx package, with weights."""
    import onnx
    import onnx.backend.test

    from partita.testing.onnx_models import with_weights

    source = Path(onnx.backend.test.__file__).parent / "data" / "light" / f"light_{name}.onnx"
    model = onnx.load(source)
    path = folder / f"{name}.onnx"
    path.write_bytes(with_weights(model).SerializeToString())
    return path


def gpt2(folder: Path) -> Path | None:
    """GPT-2 in full size with random weights and 128 tokens; None where it cannot be exported here."""
    try:
        import torch

        from partita.zoo.guard import torchvision_works

        # transformers imports torchvision, which beside a torch without CUDA has to be repaired first.
        torchvision_works()
        from transformers import GPT2Config, GPT2LMHeadModel

        model = GPT2LMHeadModel(GPT2Config(use_cache=False)).eval()
        path = folder / "gpt2.onnx"
        ids = torch.zeros(1, 128, dtype=torch.int64)
        torch.onnx.export(model, (ids,), path, dynamo=True, verbose=False)
    except (ImportError, RuntimeError) as error:
        print(f"gpt2 is left out: {type(error).__name__}: {str(error).splitlines()[0]}")
        return None
    return path


def compare(name: str, chain: Chain) -> dict[str, object]:
    """Our cuts beside equal node counts, in bytes."""
    place = platforms()["process"]
    plan = search(chain, SliceQuestion(place, slices=SLICES))
    assert plan.totals is not None
    bind = bindings(chain, 1, {})
    cuts = equal_nodes(chain, SLICES)
    ends = (0, *cuts, len(chain))
    equal = {
        "payload": sum(chain.cut(at).nbytes(bind) for at in cuts),
        "largest": max(chain.part_bytes(a, b) for a, b in pairwise(ends)),
        "cuts": list(cuts),
    }
    ours = {"payload": plan.totals.payload, "largest": plan.totals.largest, "cuts": list(plan.cuts)}
    saved = 100 * (1 - plan.totals.payload / equal["payload"])
    print(
        f"{name:12} {len(chain):5} nodes  payload {equal['payload'] / 1e6:6.2f} -> {ours['payload'] / 1e6:5.2f} MB "
        f"(-{saved:.0f}%)  largest {equal['largest'] / 1e6:6.1f} -> {ours['largest'] / 1e6:5.1f} MB"
    )
    return {"nodes": len(chain), "equal": equal, "ours": ours, "saved_percent": saved}


def seconds(chain: Chain, runs: int) -> dict[str, float]:
    """Median seconds of planning, everything from the chain to the plan and its reasons."""
    places = platforms()
    rows = {}
    bind = bindings(chain, 1, {})
    cheap = frozenset(i for i, stage in enumerate(chain.stages) if not stage.params)
    questions = {
        f"{name} {wish}": partial(search, chain, SliceQuestion(places[name], **asked))
        for name in ("aws-lambda", "step-functions")
        for wish, asked in (
            ("fewest", {}),
            ("5 slices", {"slices": SLICES}),
            ("5 slices, payload", {"slices": SLICES, "objective": "payload"}),
            ("5 slices, memory", {"slices": SLICES, "objective": "memory"}),
        )
    }
    questions["all orders"] = lambda: orders(chain, bind)
    questions["score of an order"] = lambda: order_score(chain, bind)
    questions["what to recompute"] = lambda: worth_recomputing(chain, bind, cheap)
    for name, call in questions.items():
        taken = []
        for _ in range(runs):
            start = perf_counter()
            call()
            taken.append(perf_counter() - start)
        rows[name] = median(taken)
        print(f"{len(chain)} nodes, {name:32} {rows[name] * 1e3:6.1f} ms")
    return rows


def main() -> None:
    """Parse, run, show, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--skip-gpt2", action="store_true")
    asked = parser.parse_args()
    result: dict[str, object] = {"slices": SLICES, "python": platform.python_version()}
    with tempfile.TemporaryDirectory(prefix="partita-bench-") as name:
        folder = Path(name)
        chains = {}
        for model in ("resnet50", "vgg19", "densenet121"):
            chains[model] = capture_onnx(light(model, folder)).chain
        path = None if asked.skip_gpt2 else gpt2(folder)
        if path is not None:
            chains["gpt2"] = capture_onnx(path).chain
    timed = {"densenet121": chains["densenet121"], "made-up": made_up(910)}
    models = {name: compare(name, chain) for name, chain in chains.items()}
    result["models"] = models
    result["seconds"] = {name: seconds(chain, asked.runs) for name, chain in timed.items()}
    for name, least in PROMISED.items():
        if name in models:
            assert models[name]["saved_percent"] >= least, (name, models[name])
    if asked.json:
        asked.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
