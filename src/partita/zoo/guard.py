"""Makes torchvision importable where its compiled half does not match the installed torch.

The wheels on PyPI for Linux are built for CUDA: beside a CPU torch their extension does not load, two operators
stay unknown, and `import torchvision` raises. transformers and timm import torchvision on their own and fail with
it, so every loader of this folder passes here first.

Rules: a torchvision that imports is left alone; only the two missing schemas are defined, never a kernel, so
that `torchvision.ops.nms` still says that it does not exist here.
"""

from __future__ import annotations

import importlib.util
import sys
import warnings
from functools import cache

# The operators that torchvision registers shape rules for while it is imported.
_SCHEMAS = ("nms", "qnms")

# A Library takes its definitions back when it is collected: it has to live as long as the process.
_kept: list[object] = []


def _plain_import() -> BaseException | None:
    """Import torchvision as anybody would; what went wrong, or None."""
    try:
        with warnings.catch_warnings():
            # The extension that does not load is announced once as a warning; the caller cannot act on it.
            warnings.simplefilter("ignore")
            importlib.import_module("torchvision")
    except (RuntimeError, ImportError, AttributeError) as problem:
        return problem
    return None


@cache
def torchvision_works() -> bool:
    """Whether torchvision is installed and imports, after the repair where one is needed. Runs once."""
    if "torchvision" in sys.modules and hasattr(sys.modules["torchvision"], "models"):
        return True
    if importlib.util.find_spec("torchvision") is None:
        return False
    problem = _plain_import()
    if problem is None:
        return True
    if "does not exist" not in str(problem):
        return False
    _define_schemas()
    return _plain_import() is None


def _define_schemas() -> None:
    import torch

    for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]  # torch leaves it so
    for name in _SCHEMAS:
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]  # the same
    _kept.append(library)
