"""What a model reference means, and the few networks that no library has."""

from .load import build, resolve
from .network import Network
from .reference import FORMS, Reference, parse_reference

__all__ = ["FORMS", "Network", "Reference", "build", "parse_reference", "resolve"]
