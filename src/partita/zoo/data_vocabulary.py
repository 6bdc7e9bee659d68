"""Words as numbers: a vocabulary built from training texts, saved as JSON.

Rules: number 0 fills, number 1 stands for unknown words, then come words by how often they occur; the same texts give the
same vocabulary; a text always becomes the same count of numbers.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import BadDocument, NotFound
from .data_source import Kind, Listing
from .data_text import Texts

FILL, UNKNOWN = "<fill>", "<unknown>"
# Words with their apostrophes and hyphens, marks on their own; <unk> of prepared corpora stays one.
_WORD = re.compile(r"<\w+>|\w+(?:['\u2019-]\w+)*|[^\w\s]")
LENGTH = 64


class Encoder(Protocol):
    """What turns texts into numbers: a vocabulary of ours, or a tokenizer of another library behind two methods."""

    @property
    def digest(self) -> str:
        """Changes when the numbers do."""
        ...

    def encode(self, text: str, length: int) -> NDArray[np.int64]:
        """Exactly `length` numbers."""
        ...


@dataclass(frozen=True)
class Vocabulary:
    """Words by number. `lower` takes capitals and small letters for the same."""

    words: tuple[str, ...]
    lower: bool = True

    def __post_init__(self) -> None:
        problems = []
        if self.words[:2] != (FILL, UNKNOWN):
            problems.append(f"words: the first two are not {FILL} and {UNKNOWN}")
        if twice := [word for word, count in Counter(self.words).items() if count > 1]:
            problems.append(f"words: {twice[0]!r} stands there twice")
        if problems:
            raise BadDocument("vocabulary", problems, fix="build it again from the training texts")

    @classmethod
    def built(
        cls, texts: Iterable[str], *, min_count: int = 2, size: int = 20_000, lower: bool = True
    ) -> Vocabulary:
        """Of the words that occur at least `min_count` times, the most frequent; at most `size` with the two marks."""
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(tokens(text, lower=lower))
        kept = sorted((w for w, n in counts.items() if n >= min_count), key=lambda w: (-counts[w], w))
        kept = [w for w in kept if w not in (FILL, UNKNOWN)]
        return cls((FILL, UNKNOWN, *kept[: max(0, size - 2)]), lower)

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: at for at, word in enumerate(self.words)}

    @cached_property
    def digest(self) -> str:
        """Of the words and how they are compared."""
        return sha256(self._document().encode()).hexdigest()

    def encode(self, text: str, length: int) -> NDArray[np.int64]:
        """The numbers of the first `length` words, filled up at the end."""
        known = self._numbers
        found = [known.get(word, 1) for word in tokens(text, lower=self.lower)[:length]]
        return np.array(found + [0] * (length - len(found)), np.int64)

    def save(self, file: Path | str) -> None:
        """Write it as JSON; nothing is left half-written."""
        beside = Path(f"{file}.{os.getpid()}.part")
        beside.write_text(self._document(), "utf-8")
        beside.replace(file)

    @classmethod
    def read(cls, file: Path | str) -> Vocabulary:
        """A vocabulary from its JSON file."""
        what, fix = f"vocabulary {str(file)!r}", "build it again from the training texts"
        try:
            document: Any = json.loads(Path(file).read_text("utf-8"))
        except FileNotFoundError:
            raise NotFound(f"there is no vocabulary {str(file)!r}", fix=fix) from None
        except (OSError, ValueError, RecursionError) as problem:
            raise BadDocument(what, [f"is not JSON: {problem}"], fix=fix) from None
        if not isinstance(document, dict):
            raise BadDocument(what, ["is not an object"], fix=fix)
        words, lower = document.get("words"), document.get("lower")
        problems = [
            f"{key}: is no field of it"
            for key in sorted(document.keys() - {"partita", "version", "words", "lower"})
        ]
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            problems.append("words: is not a list of texts")
        if not isinstance(lower, bool):
            problems.append("lower: is neither true nor false")
        if (document.get("partita"), document.get("version")) != ("vocabulary", 1):
            problems.append("partita, version: are not vocabulary and 1")
        if problems:
            raise BadDocument(what, problems, fix=fix)
        return cls(tuple(map(str, words or ())), bool(lower))

    def _document(self) -> str:
        fields = {"partita": "vocabulary", "version": 1, "lower": self.lower, "words": list(self.words)}
        return json.dumps(fields, ensure_ascii=False, indent=0)


def tokens(text: str, *, lower: bool = True) -> list[str]:
    """The words and marks of a text."""
    return _WORD.findall(text.lower() if lower else text)


@dataclass(frozen=True)
class Encoded:
    """A source of texts as numbers, `length` of them each."""

    texts: Texts
    encoder: Encoder
    length: int = LENGTH
    kind: Kind = "text"

    @property
    def listing(self) -> Listing:
        """What there is."""
        return self.texts.listing

    @property
    def shape(self) -> tuple[int, ...]:
        """As many numbers as were asked for."""
        return (self.length,)

    def name(self, index: int) -> str:
        """File, and line where it holds several."""
        return self.texts.name(index)

    def load(self, index: int) -> NDArray[Any]:
        """One text, int64."""
        return self.encoder.encode(self.texts.text(index), self.length)

    def stamp(self) -> str:
        """Texts and encoder."""
        return f"{self.texts.stamp()} {self.encoder.digest}"
