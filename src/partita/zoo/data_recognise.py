"""What lies in a folder or file of data: which of the layouts that we know.

Rules: contents decide, first bytes before suffixes, suffixes before names; what runs code when it is opened is refused
by its first byte; what is not recognised is answered with what was found and what is known.
"""

from __future__ import annotations

from collections import Counter

from ..errors import BadReference
from .data_arrays import is_cifar, is_idx, open_cifar, open_idx
from .data_audio import SUFFIXES as SOUNDS
from .data_audio import AudioFiles
from .data_folders import ALIASES, filed
from .data_images import SUFFIXES as IMAGES
from .data_images import ImageFiles
from .data_npz import open_npz
from .data_source import Size, Source
from .data_table import open_table
from .data_table_rows import is_separated
from .data_table_wanted import Wanted
from .data_text import TABLES, open_lines, open_texts
from .data_tree import Tree

_KNOWN = (
    "give a folder with a sub-folder of images, WAV files or texts for each class (also below train/, val/, test/), "
    "CIFAR's .bin files, MNIST's idx files, an .npz, a .tsv or .csv with a label, a .txt, or made:shapes"
)
# More files than this beside each other are samples, not documents: their first bytes are not looked at.
_MANY = 64
_KINDS = {"image": IMAGES, "audio": SOUNDS, "text": (".txt",)}
_NAMES = {"image": "image", "audio": "sound", "text": "text"}
# First bytes of files that we do not open, and why.
_REFUSED = (
    (
        b"\x80\x02",
        "is a pickle, and opening a pickle runs what is in it",
        "take a version of the data in plain files",
    ),
    (
        b"\x80\x03",
        "is a pickle, and opening a pickle runs what is in it",
        "take a version of the data in plain files",
    ),
    (
        b"\x80\x04",
        "is a pickle, and opening a pickle runs what is in it",
        "take a version of the data in plain files",
    ),
    (
        b"\x80\x05",
        "is a pickle, and opening a pickle runs what is in it",
        "take a version of the data in plain files",
    ),
    (b"\x1f\x8b", "is packed with gzip", "unpack it: tar -xzf for an archive, gunzip for a file"),
    (b"BZh", "is packed with bzip2", "unpack it: tar -xjf for an archive"),
    (b"\xfd7zXZ", "is packed with xz", "unpack it: tar -xJf for an archive"),
    (b"\x93NUMPY", "is one array, without labels", "store images and labels in one .npz"),
)


def recognise(tree: Tree, size: Size, wanted: Wanted) -> Source:
    """The samples of a tree; what is `wanted` of a table or of arrays is refused where there are none."""
    tree = _entered(tree)
    names = tree.top_files
    if not tree.names:
        raise BadReference(f"{tree.where} is empty", fix=_KNOWN)
    if source := _arrays(tree, size, wanted):
        return source
    tables = [n for n in names if n.lower().endswith(TABLES) and is_separated(tree, n)]
    if any(_stem(n) in ALIASES for n in tables):
        return open_table(tree, [n for n in tables if _stem(n) in ALIASES], wanted)
    if source := _folders(tree, size):
        wanted.refuse(tree.where)
        return source
    return _documents(tree, tables, wanted)


def _arrays(tree: Tree, size: Size, wanted: Wanted) -> Source | None:
    if is_cifar(tree):
        wanted.refuse(tree.where)
        return open_cifar(tree, size)
    few = tree.top_files[:_MANY]
    if idx := [n for n in few if is_idx(tree, n)]:
        wanted.refuse(tree.where)
        return open_idx(tree, idx, size)
    if npz := [n for n in few if n.lower().endswith(".npz")]:
        if len(npz) > 1 and (strange := [n for n in npz if _stem(n) not in ALIASES]):
            raise BadReference(
                f"{tree.where} holds {len(npz)} npz files, and {strange[0]} names no split",
                fix="give one of them, or call them train.npz, val.npz and test.npz",
            )
        return open_npz(tree, npz, size, wanted)
    return None


def _folders(tree: Tree, size: Size) -> Source | None:
    """Folders of classes, of the kind that most files have."""
    counts = Counter(
        kind
        for name in tree.names
        if "/" in name
        for kind, suffixes in _KINDS.items()
        if name.lower().endswith(suffixes)
    )
    if not counts:
        return None
    # Of two that are even, the first: notes beside pictures are notes.
    kind = max(_KINDS, key=lambda k: counts[k])
    found = filed(tree, _KINDS[kind], _NAMES[kind])
    match kind:
        case "image":
            return ImageFiles(tree, found, size)
        case "audio":
            return AudioFiles(tree, found, size)
        case _:
            return open_texts(tree, found)


def _documents(tree: Tree, tables: list[str], wanted: Wanted) -> Source:
    """Tables and plain texts that lie here."""
    names = [n for n in tree.top_files[:_MANY] if not n.lower().startswith(("readme", "license"))]
    if len(names) == 1:
        _refuse(tree, names[0])
        if _is_text(tree, names[0]):
            return (
                open_table(tree, names, wanted)
                if is_separated(tree, names[0])
                else _lines(tree, names, wanted)
            )
    if len(tables) == 1:
        return open_table(tree, tables, wanted)
    texts = [n for n in names if n.lower().endswith(".txt") and _stem(n) in ALIASES and _is_text(tree, n)]
    if texts:
        return _lines(tree, texts, wanted)
    found = ", ".join([*(f"{f}/" for f in tree.top_folders[:4]), *tree.top_files[:4]])
    raise BadReference(f"{tree.where} holds no data that is recognised; it holds {found}, ...", fix=_KNOWN)


def _lines(tree: Tree, names: list[str], wanted: Wanted) -> Source:
    wanted.refuse(tree.where)
    return open_lines(tree, names)


def _refuse(tree: Tree, name: str) -> None:
    head = tree.read(name, 512)
    for start, problem, fix in _REFUSED:
        if head.startswith(start):
            raise BadReference(f"{tree.title(name)} {problem}", fix=fix)
    if head[257:262] == b"ustar":
        raise BadReference(f"{tree.title(name)} is a tar archive", fix="unpack it: tar -xf")


def _is_text(tree: Tree, name: str) -> bool:
    # A character may be cut in two at the end of what is read.
    head = tree.read(name, 4096)
    return b"\0" not in head and "\ufffd" not in head.decode("utf-8", "replace")[:-4]


def _entered(tree: Tree) -> Tree:
    """The tree below folders that only wrap the data, as archives have them."""
    while len(tree.top_folders) == 1 and not tree.top_files:
        only = tree.top_folders[0]
        below = tree.below(only)
        documents = any(n.lower().endswith((".npz", *TABLES)) or _stem(n) in ALIASES for n in below.top_files)
        few = below.top_files[:_MANY]
        if only in ALIASES or only == "images":
            break
        if not (below.top_folders or documents or is_cifar(below) or any(is_idx(below, n) for n in few)):
            break
        tree = below
    return tree


def _stem(name: str) -> str:
    return name.rpartition(".")[0].lower()
