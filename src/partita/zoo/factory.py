"""Networks that Python code makes: our own small ones, and the user's factories."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from ..errors import BadReference, PartitaError
from .nets import NETS
from .network import Network
from .reference import LIBRARIES, Reference, refuse


def load_net(parsed: Reference, batch: int, dims: Mapping[str, int]) -> Network:
    """A network of `nets`."""
    del dims  # our own nets have one size
    make = NETS.get(parsed.name)
    if make is None:
        raise refuse(
            f"the zoo has no network {parsed.name!r}: it has {', '.join(sorted(NETS))}", parsed.name, NETS
        )
    network: Network = checked(parsed, lambda: make(batch, **parsed.options))
    return network


def load_factory(parsed: Reference, batch: int, dims: Mapping[str, int]) -> Network:
    """A module from `package.module:factory` or `file.py:factory`."""
    del batch, dims  # a factory gives its own example
    found = found_at(parsed)
    if isinstance(found, torch.nn.Module):
        return Network(found)
    if not callable(found):
        raise BadReference(
            f"{parsed.text!r} is a {type(found).__name__}, no factory",
            fix="name a function that gives an nn.Module",
        )
    return _network(parsed, checked(parsed, lambda: found(**parsed.options)))


def found_at(parsed: Reference) -> Any:
    """What `package.module:name` or `file.py:name` names, whatever it is."""
    place = _from_file(parsed) if parsed.form == "file" else _from_package(parsed)
    found = getattr(place, parsed.attribute, None)
    if found is None:
        names = [name for name in vars(place) if not name.startswith("_")]
        raise refuse(f"{parsed.name!r} has no {parsed.attribute!r}", parsed.attribute, names)
    return found


def _from_file(parsed: Reference) -> ModuleType:
    path = Path(parsed.name)
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else Path()
        raise refuse(f"there is no file {parsed.name!r}", path.name, (p.name for p in folder.glob("*.py")))
    spec = importlib.util.spec_from_file_location(f"partita_reference_{path.stem}", path)
    if spec is None or spec.loader is None:  # pragma: no cover - every .py file has a loader
        raise AssertionError(path)
    module = importlib.util.module_from_spec(spec)
    # Tracing and dataclasses look a module up by its name.
    sys.modules[spec.name] = module
    checked(parsed, lambda: spec.loader.exec_module(module))  # type: ignore[union-attr]  # tested above
    return module


def _from_package(parsed: Reference) -> ModuleType:
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        # As `python -m` does: a model beside the shell's prompt is found.
        sys.path.insert(0, here)
    try:
        return importlib.import_module(parsed.name)
    except ModuleNotFoundError as problem:
        missing = problem.name or parsed.name
        if parsed.name == missing or parsed.name.startswith(f"{missing}."):
            raise refuse(
                f"there is no Python module {missing!r} for {parsed.text!r}", missing, LIBRARIES
            ) from None
        raise _failed(parsed, problem) from problem
    except Exception as problem:
        raise _failed(parsed, problem) from problem
    finally:
        if added:
            sys.path.remove(here)


def checked(parsed: Reference, make: Callable[[], Any]) -> Any:
    """What foreign code makes; what it raises is told with the reference."""
    try:
        return make()
    except PartitaError:
        raise
    except Exception as problem:
        raise _failed(parsed, problem) from problem


def _failed(parsed: Reference, problem: Exception) -> BadReference:
    first = next(iter(str(problem).splitlines()), "")
    return BadReference(
        f"{parsed.text!r} could not be built: {type(problem).__name__}: {first}",
        fix="call it in Python to see the whole traceback; what stands behind ? is passed as keywords",
    )


def _network(parsed: Reference, made: Any) -> Network:
    match made:
        case Network() | torch.nn.Module():
            return made if isinstance(made, Network) else Network(made)
        case (torch.nn.Module() as module, *rest) if len(rest) <= 2:
            args = rest[0] if rest else ()
            kwargs = rest[1] if len(rest) > 1 else {}
            return Network(module, args if isinstance(args, tuple) else (args,), kwargs)
        case _:
            raise BadReference(
                f"{parsed.text!r} gave a {type(made).__name__}, no nn.Module",
                fix="return the module, or (module, args), or (module, args, kwargs)",
            )
