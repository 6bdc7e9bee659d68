"""What a part keeps in memory: computed from its tensors, and measured on the process.

Two numbers that answer two questions. `live_bytes` is exact and pure: the tensors of the chain that exist while a
stage runs (its inputs, its outputs, and whatever waits for a later stage); it does not see what an operator uses
inside itself. `PeakMemory` and `peak_in_child` measure the process: everything counts, the runtime and its caches
too, and only a fresh process answers for one part alone.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, final

from ..errors import BadDocument, PartFailed
from ..graph import Chain

# As `time -v` does: what lives for less than a few milliseconds is seen only through the kernel's own high water.
_SAMPLE_SECONDS: Final = 0.005
_CHILD: Final = """
import importlib, json, sys
module, _, name = sys.argv[1].partition(":")
call = getattr(importlib.import_module(module), name)
from partita.profile.memory import PeakMemory
with PeakMemory() as memory:
    call(*json.loads(sys.argv[2]))
print("\\n" + json.dumps([memory.base, memory.peak, memory.source]))
"""


def live_bytes(chain: Chain, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """For every stage, the bytes of all tensors that exist while it runs, from the bytes of each tensor.

    A tensor lives from the stage that makes it to the last one that reads it; the model's inputs from the first.
    """
    live = []
    for index, stage in enumerate(chain.stages):
        here = {tensor.name for tensor in chain.cut(index).tensors} | set(stage.inputs) | set(stage.outputs)
        live.append(sum(sizes.get(name, 0) for name in here))
    return tuple(live)


def activation_bytes(chain: Chain, bind: Mapping[str, int]) -> tuple[int, ...]:
    """The same from the shapes, with every open dimension bound; tensors without a size of their own count zero."""
    sizes = {name: tensor.nbytes(bind) for name, tensor in chain.tensors.items() if tensor.travels}
    return live_bytes(chain, sizes)


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Bytes of a process before and at the worst moment, and who says so."""

    base: int
    peak: int
    source: str

    @property
    def grown(self) -> int:
        """What the work itself added."""
        return max(0, self.peak - self.base)


@final
class PeakMemory:
    """The resident bytes of this process at the worst moment inside a `with` block.

    On Linux the kernel's high water is reset first, so that earlier peaks do not count; where that is not allowed
    the resident size is sampled instead. Elsewhere only the high water since the process began is known.
    """

    def __init__(self, proc: Path = Path("/proc/self")) -> None:
        self._proc = proc
        self._over = threading.Event()
        self._sampler: threading.Thread | None = None
        self.base = self.peak = 0
        self.source = ""

    def __enter__(self) -> Self:
        self.base = self.peak = self._read("VmRSS:")
        if not self.base:
            self.base = self.peak = _high_water()
            self.source = "high water of the process since it began"
        elif self._reset():
            self.source = "high water of the kernel"
        else:
            self.source = f"resident size sampled every {_SAMPLE_SECONDS * 1e3:g} ms"
            self._sampler = threading.Thread(target=self._sample, name="peak memory", daemon=True)
            self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._sampler is not None:
            self._sampler.join()
            self.peak = max(self.peak, self._read("VmRSS:"))
        else:
            self.peak = max(self.peak, self._read("VmHWM:") or _high_water())

    @property
    def use(self) -> MemoryUse:
        """What was found."""
        return MemoryUse(self.base, self.peak, self.source)

    def _reset(self) -> bool:
        try:
            # 5 resets the high water alone (man 5 proc): the pages stay as they are.
            (self._proc / "clear_refs").write_text("5")
        except OSError:
            return False
        return True

    def _read(self, field: str) -> int:
        try:
            lines = (self._proc / "status").read_text().splitlines()
        except OSError:
            return 0
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field)), 0)

    def _sample(self) -> None:
        while not self._over.wait(_SAMPLE_SECONDS):
            self.peak = max(self.peak, self._read("VmRSS:"))


def _high_water() -> int:
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024


def peak_in_child(call: str, *arguments: object, timeout: float = 300.0) -> MemoryUse:
    """The memory of `package.module:function` in a fresh process, after its module is imported.

    The arguments travel as JSON. The child reads its own high water: what the parent's accounting says of a child
    includes the parent's own size at the fork.
    """
    if ":" not in call:
        raise BadDocument(
            "call", [f"{call!r} is not package.module:function"], fix="write it like mymodel:run"
        )
    try:
        child = subprocess.run(
            [sys.executable, "-c", _CHILD, call, json.dumps(arguments)],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise PartFailed(
            f"{call} ran longer than {timeout:g} s in a process of its own", fix="give a larger timeout"
        ) from None
    if child.returncode != 0:
        last = (child.stderr.strip() or f"exit {child.returncode}").splitlines()[-1]
        raise PartFailed(f"{call} failed in a process of its own: {last}", fix="call it here to see where")
    base, peak, source = json.loads(child.stdout.splitlines()[-1])
    return MemoryUse(base, peak, source)
