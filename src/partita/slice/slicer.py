"""From a model file to a folder of slices: prepared as the plan says, cut by byte ranges, moved into place at the end.

Rules: the same preparation of the same file gives the same chain, or the plan is refused; a folder of slices is
complete or absent; nothing that is not ours is ever replaced.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from ..engine import Array
from ..engine.onnx_capture import capture_onnx
from ..engine.onnx_extract import OnnxPartFile, write_parts
from ..engine.onnx_model import OnnxModel
from ..errors import BadDocument, BadReference, CannotCapture, PartitaError, PlanMismatch
from ..graph import Chain
from .document import Exactness, Preparation, Slice, SlicePlan, bindings
from .manifest import MANIFEST, Manifest, SliceFile, read_manifest, write_manifest

STEM = "slice"
# AWS Lambda gives a function six processors at most, others eight.
PROCESSORS = 8
UNPREPARED = Preparation()


def prepare(
    path: str | Path,
    preparation: Preparation,
    *,
    batch: int = 1,
    dims: Mapping[str, int] | None = None,
    example: Mapping[str, Array] | None = None,
) -> OnnxModel:
    """The model as a plan means it: optimised once, large nodes divided, put in a row, cheap stages folded.

    `batch` and `dims` are those that the plan was made with: they decide between orders, and do not fix the model.
    Raises PlanMismatch where a node that the preparation names is not there: it was made for another model.
    """
    # Whoever planned has asked ONNX Runtime whether it would run the model.
    model = capture_onnx(path, optimize=preparation.optimize, example=example, probe=False)
    order = None
    try:
        if preparation.divide:
            model = divided(model, preparation.divide)
        if preparation.order != "file":
            order = _order(model.chain, preparation.order, bindings(model.chain, batch, dims or {}))
        if order is not None or preparation.recompute:
            model = model.rearranged(order, preparation.recompute)
    except (BadDocument, CannotCapture) as error:
        raise PlanMismatch(
            f"the plan does not fit {path}, it was made for another model: {error.problem}",
            fix=f"plan this model: partita slice plan {path} -o plan.json",
        ) from error
    return model


def _order(chain: Chain, name: str, bind: Mapping[str, int]) -> tuple[int, ...]:
    from .order import orders

    found = orders(chain, dict(bind))
    if name not in found:
        raise BadDocument(
            "slice plan", [f"preparation.order: {name!r} is not one of {', '.join(found)}"], fix="plan again"
        )
    return found[name]


def steady(model: OnnxModel) -> OnnxModel:
    """The model as it would run on many processors: pieces that are equal there are equal on fewer."""
    return model.with_settings(replace(model.settings, threads=max(PROCESSORS, os.cpu_count() or 1)))


def divided(model: OnnxModel, pieces: Mapping[str, int]) -> OnnxModel:
    """Large nodes in pieces that give the same bits on every machine that functions are likely to run on."""
    return steady(model).divided(pieces).with_settings(model.settings)


def equal_nodes(chain: Chain, slices: int) -> tuple[int, ...]:
    """The cuts that give every slice as many stages, moved to the nearest legal ones."""
    legal = [cut.position for cut in chain.cuts if cut.legal and 0 < cut.position < len(chain)]
    wanted = (len(chain) * index / slices for index in range(1, slices))
    return tuple(sorted({min(legal, key=lambda p: (abs(p - at), p)) for at in wanted})) if legal else ()


def plan_at(
    chain: Chain,
    cuts: tuple[int, ...],
    *,
    preparation: Preparation = UNPREPARED,
    batch: int = 1,
    dims: Mapping[str, int] | None = None,
) -> SlicePlan:
    """A plan with cuts of your own, without a platform in mind."""
    ends = (0, *cuts, len(chain))
    for position in cuts:
        chain.legal_cut(position)
    return SlicePlan(
        model=chain.name,
        digest=chain.digest,
        stages=len(chain),
        preparation=preparation,
        platform="process",
        objective="slices",
        transport="inline",
        batch=batch,
        dims=dict(dims or {}),
        slices=tuple(
            Slice(a, b, chain.part_bytes(a, b), memory=0, function_memory=0, reason="cut here on request")
            for a, b in pairwise(ends)
        ),
    )


def cut(
    model: OnnxModel,
    plan: SlicePlan,
    folder: str | Path,
    *,
    exactness: Exactness = "exact",
    prepack: bool = True,
) -> Manifest:
    """Write the slices of a prepared model, and their manifest last. An older folder of slices is replaced."""
    plan.check(model.chain)
    with replacing(Path(folder)) as scratch:
        files = write_parts(model, plan.parts, scratch, external=True, stem=STEM)
        manifest = _manifest(model.chain, plan, files, exactness, prepack=prepack)
        write_manifest(manifest, scratch)
    return manifest


def _manifest(
    chain: Chain, plan: SlicePlan, files: tuple[OnnxPartFile, ...], exactness: Exactness, *, prepack: bool
) -> Manifest:
    from importlib.metadata import version

    from .. import __version__

    passing = dict.fromkeys(
        (*chain.inputs, *(n for f in files for n in (*f.inputs, *f.outputs)), *chain.outputs)
    )
    return Manifest(
        plan=plan,
        files=tuple(
            SliceFile(
                path=file.path.name,
                data=file.data.name if file.data else "",
                sha256=file.sha256,
                data_sha256=file.data_sha256,
                bytes=file.bytes,
                inputs=file.inputs,
                outputs=file.outputs,
            )
            for file in files
        ),
        inputs=chain.inputs,
        outputs=chain.outputs,
        tensors={name: chain.tensors[name] for name in passing},
        exactness=exactness,
        prepack=prepack,
        runtime=version("onnxruntime"),
        made_by=__version__,
    )


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A scratch folder beside `folder` that takes its place when all went well, and is gone when not."""
    try:
        # A link stays a link: what it points to is replaced.
        place = folder.resolve()
        _check_ours(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{place.name[:100]}-", dir=place.parent))
    except OSError as error:
        raise _unwritable(folder, error) from None
    try:
        yield scratch
        scratch.chmod(0o777 & ~_umask())
        try:
            _move(scratch, place)
        except OSError as error:
            raise _unwritable(folder, error) from None
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def _move(scratch: Path, place: Path) -> None:
    """Put the scratch folder in its place; what was there comes back where that fails."""
    if not place.exists():
        scratch.rename(place)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{place.name[:100]}-", dir=place.parent))
    try:
        place.rename(aside / "old")
        try:
            scratch.rename(place)
        except BaseException:
            (aside / "old").rename(place)
            raise
    except BaseException:
        aside.rmdir()
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _unwritable(folder: Path, error: OSError) -> BadReference:
    return BadReference(
        f"{folder}: {error.strerror}: cannot write there", fix="choose a folder that you may write to"
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _check_ours(folder: Path) -> None:
    """Refuse to replace what is not a folder of slices."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise BadReference(f"{folder} is a file, not a folder", fix="choose another name for the slices")
    if folder.samefile(Path.cwd()):
        raise BadReference(
            f"{folder} is the folder that you are in, and cannot be replaced",
            fix="name another, such as slices",
        )
    held = {path.name for path in folder.iterdir()}
    if not held:
        return
    if MANIFEST not in held:
        raise BadReference(
            f"{folder} holds other files and no slices, and is not replaced",
            fix="choose an empty or a new folder",
        )
    try:
        manifest = read_manifest(folder, check=False)
    except PartitaError as error:
        raise BadReference(
            f"{folder} is not replaced, because what belongs to the slices in it cannot be told: {error.problem}",
            fix="remove the folder, or choose another",
        ) from None
    foreign = held - {MANIFEST} - {n for f in manifest.files for n in f.names}
    if foreign:
        raise BadReference(
            f"{folder} holds files that are no slices, such as {min(foreign)!r}, and is not replaced",
            fix="move them away, or choose another folder",
        )
