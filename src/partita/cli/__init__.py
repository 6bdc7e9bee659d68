"""The terminal: one verb a file, tables for people, JSON for programs, exit codes from the error tree."""

from .app import main

__all__ = ["main"]
