"""Partita runs neural networks in parts, across edge and cloud."""

__version__ = "0.1.0"
