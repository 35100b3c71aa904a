"""Files that are written whole or not at all, and the generated parts of Markdown pages."""

import json
import os
import re
from pathlib import Path
from typing import Any


def write_text(path: Path, text: str) -> None:
    """Writes a text file, whole or not at all: a reader sees the old file or the new one.

    Args:
      path: the file; its folder must exist.
      text: written as UTF-8, newlines as they are.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Writes ``value`` as JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def replace_generated(text: str, name: str, content: str) -> str:
    r"""Replaces what stands between ``<!-- NAME: … -->`` and ``<!-- end of NAME -->``.

    Args:
      text: a Markdown page.
      name: of the generated part.
      content: its new content.

    Raises:
      ValueError: if the page does not have both markers, once.

    Example:
      >>> replace_generated("<!-- a: by make -->old<!-- end of a -->", "a", "new")
      '<!-- a: by make -->\n\nnew\n\n<!-- end of a -->'
    """
    name = re.escape(name)
    pattern = re.compile(f"(<!-- {name}: [^>]* -->).*?(<!-- end of {name} -->)", re.S)
    updated, count = pattern.subn(lambda found: f"{found[1]}\n\n{content}\n\n{found[2]}", text)
    if count != 1:
        raise ValueError(
            f"expected one part '<!-- {name}: … -->' … '<!-- end of {name} -->'; got {count}"
        )
    return updated
