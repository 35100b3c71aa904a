"""The text that every CPython carries: its language reference and its docstrings."""

import ast
import os
import re
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MIN_DOCSTRING_CHARACTERS = 200

# Test suites are not prose, and the others are absent from many distributions, so that
# reading them would make the corpus depend on the packager.
SKIPPED_FOLDERS = frozenset(
    {
        "__pycache__",
        "dist-packages",
        "ensurepip",
        "idlelib",
        "lib2to3",
        "pydoc_data",
        "site-packages",
        "test",
        "tests",
        "turtledemo",
    }
)

_PUNCTUATION_RUN = re.compile(r"([^\w\s])\1{3,}")


class Docstrings(NamedTuple):
    """The docstrings of a tree of Python files.

    Attributes:
      documents: the docstrings, in the order of the sorted file names.
      num_files: how many files were parsed.
      skipped: the files that are not valid Python, relative to the root.
    """

    documents: list[str]
    num_files: int
    skipped: list[str]


def embedded_documents() -> list[str]:
    """Returns the language reference, then the docstrings of the standard library.

    The text belongs to the running interpreter and changes with its version: record
    ``corpus.corpus_fingerprint`` with a result.

    Returns:
      Documents in a fixed order, duplicates included.
    """
    root = Path(sysconfig.get_path("stdlib"))
    return reference_documents() + read_docstrings(root).documents


def reference_documents() -> list[str]:
    """Returns CPython's language reference, one document a topic, sorted by topic.

    Returns:
      Documents on one line each.

    Example:
      >>> documents = reference_documents()
      >>> documents[0][:53]
      'The "assert" statement Assert statements are a conven'
    """
    # Half a megabyte of text: loaded when asked for, not when this module is imported.
    from pydoc_data.topics import topics

    return [flatten_text(topics[name]) for name in sorted(topics)]


def read_docstrings(root: Path) -> Docstrings:
    """Reads the long docstrings of every Python file under a folder, importing none of them.

    Args:
      root: the folder; those named in ``SKIPPED_FOLDERS`` are passed over.

    Returns:
      Docstrings of modules, classes and functions with at least
      ``MIN_DOCSTRING_CHARACTERS`` characters, and the files that could not be parsed.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     _ = Path(folder, "good.py").write_text(f"'''{'word ' * 50}'''")
      ...     _ = Path(folder, "python2.py").write_text("print 'hello'")
      ...     found = read_docstrings(Path(folder))
      >>> len(found.documents), found.num_files, found.skipped
      (1, 1, ['python2.py'])
    """
    documents: list[str] = []
    skipped: list[str] = []
    num_files = 0
    for path in _python_files(root):
        tree = _parse(path)
        if tree is None:
            skipped.append(path.relative_to(root).as_posix())
            continue
        num_files += 1
        documents.extend(_long_docstrings(tree))
    return Docstrings(documents, num_files, skipped)


def flatten_text(text: str) -> str:
    r"""Puts a text on one line and drops the rules drawn with punctuation.

    Indentation and reST underlines are easy to predict and would flatter a language model.

    Args:
      text: any text.

    Returns:
      The text with single spaces.

    Example:
      >>> flatten_text('Title\n*****\n\n   two  words')
      'Title two words'
    """
    return " ".join(_PUNCTUATION_RUN.sub(" ", text).split())


def _python_files(root: Path) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(set(subfolders) - SKIPPED_FOLDERS)
        for name in sorted(names):
            if name.endswith(".py"):
                yield Path(folder, name)


def _parse(path: Path) -> ast.Module | None:
    # Invalid escapes warn while parsing. Where warnings are errors, that would drop the file
    # and so change the corpus.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            return None


def _long_docstrings(tree: ast.Module) -> Iterator[str]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented):
            text = flatten_text(ast.get_docstring(node) or "")
            if len(text) >= MIN_DOCSTRING_CHARACTERS:
                yield text
