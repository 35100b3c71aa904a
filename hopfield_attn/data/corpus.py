"""Text to a list of documents, and their split into training, validation and test."""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from hopfield_attn.data.embedded import embedded_documents
from hopfield_attn.files import read_text

EMBEDDED = "embedded"
DOCUMENT_CHARACTERS = 2000

_BLANK_LINES = re.compile(r"\n\s*\n")


class Split(NamedTuple):
    """Documents of the three sides, each in the order in which it was given."""

    train: list[str]
    validation: list[str]
    test: list[str]


def load_documents(source: str, *, by_line: bool = False) -> list[str]:
    r"""Reads the documents of one or several sources.

    A text file is cut at blank lines, and neighbouring paragraphs are joined as long as the
    document stays within ``DOCUMENT_CHARACTERS``; a longer paragraph is a document of its own.
    In every document a run of white space is one space.

    Args:
      source: ``"embedded"`` for CPython's own documentation, the path of a UTF-8 text file or of
        a folder (all ``.txt`` files under it), or several of these joined with ``os.pathsep``.
      by_line: every line of a file that is not blank is a document of its own.

    Returns:
      Documents in a fixed order, exact duplicates dropped.

    Raises:
      FileNotFoundError: a path does not exist.
      ValueError: a path is empty, holds no text, or is not UTF-8.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     _ = Path(folder, "a.txt").write_text("one\nline\n\nanother\n")
      ...     load_documents(folder)
      ['one line another']
    """
    documents: list[str] = []
    for entry in source.split(os.pathsep):
        documents += embedded_documents() if entry == EMBEDDED else _path_documents(entry, by_line)
    return list(dict.fromkeys(documents))


def split_documents(
    documents: Sequence[str], *, validation_fraction: float, test_fraction: float
) -> Split:
    """Assigns each document to a side by a hash of its text.

    The side of a document depends on nothing else: not on its position, and not on the others.

    Args:
      documents: the documents.
      validation_fraction: expected share of the validation side, in [0, 1).
      test_fraction: expected share of the test side, in [0, 1).

    Returns:
      The three sides; one with fraction 0 is empty.

    Raises:
      ValueError: the fractions leave nothing to train on, or a side asked for gets no document.

    Example:
      >>> split = split_documents([f"text {i}" for i in range(100)],
      ...                         validation_fraction=0.1, test_fraction=0.1)
      >>> [len(side) for side in split]
      [79, 9, 12]
    """
    if min(validation_fraction, test_fraction) < 0 or validation_fraction + test_fraction >= 1:
        raise ValueError(
            "validation_fraction and test_fraction must be at least 0 with a sum below 1, "
            f"got {validation_fraction} and {test_fraction}"
        )
    split = Split([], [], [])
    for document in documents:
        position = _hash_fraction(document)
        if position < test_fraction:
            split.test.append(document)
        elif position < test_fraction + validation_fraction:
            split.validation.append(document)
        else:
            split.train.append(document)
    _check_filled(split, (1.0, validation_fraction, test_fraction))
    return split


def corpus_fingerprint(documents: Sequence[str]) -> str:
    """Returns a SHA-256 of the documents and their order, to record beside a result.

    Args:
      documents: the documents.

    Returns:
      64 hexadecimal digits.

    Example:
      >>> corpus_fingerprint(["ab", "c"]) == corpus_fingerprint(["a", "bc"])
      False
    """
    digest = hashlib.sha256()
    for document in documents:
        data = document.encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def _hash_fraction(document: str) -> float:
    digest = hashlib.sha256(document.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _check_filled(split: Split, fractions: tuple[float, float, float]) -> None:
    num_documents = sum(len(side) for side in split)
    for name, side, fraction in zip(Split._fields, split, fractions, strict=True):
        if fraction > 0 and not side:
            raise ValueError(
                f"the {name} side got none of {num_documents} documents; "
                "use more documents or a larger fraction"
            )


def _path_documents(entry: str, by_line: bool) -> list[str]:
    if not entry:
        raise ValueError("source must name a file or a folder, got an empty path")
    path = Path(entry).expanduser()
    if path.is_dir():
        files = sorted(path.rglob("*.txt"))
        if not files:
            raise ValueError(f"{path}: the folder holds no .txt file")
        return [document for file in files for document in _file_documents(file, by_line)]
    return _file_documents(path, by_line)


def _file_documents(path: Path, by_line: bool) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such text file or folder (or use the source {EMBEDDED!r})"
        )
    # Universal newlines, without the decoder of open(), whose offsets count from a buffer.
    text = read_text(path).replace("\r\n", "\n").replace("\r", "\n")
    lines = (" ".join(line.split()) for line in text.split("\n"))
    documents = [line for line in lines if line] if by_line else list(_merge_paragraphs(text))
    if not documents:
        raise ValueError(f"{path}: the file holds no text")
    return documents


def _merge_paragraphs(text: str) -> Iterator[str]:
    document = ""
    for block in _BLANK_LINES.split(text):
        paragraph = " ".join(block.split())
        if document and len(document) + 1 + len(paragraph) > DOCUMENT_CHARACTERS:
            yield document
            document = ""
        document = f"{document} {paragraph}".strip()
    if document:
        yield document
