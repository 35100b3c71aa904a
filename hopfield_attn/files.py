"""Files that are written whole or not at all and read with their name in every error; pages."""

import json
import math
import os
import re
import secrets
from pathlib import Path
from typing import Any

_MAX_DEPTH = 32
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""What some editors put before UTF-8; no part of the text."""


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, line ends as they are, without a byte order mark.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: ``FILE: not UTF-8 at byte NUMBER``, counted from 0 over the whole file.
    """
    try:
        return path.read_bytes().decode("utf-8").removeprefix(BYTE_ORDER_MARK.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 at byte {error.start} ({error.reason})") from None


def write_text(path: Path, text: str) -> None:
    """Writes a text file, whole or not at all: a reader sees the old file or the new one.

    Args:
      path: the file; its folder must exist.
      text: written as UTF-8, newlines as they are.
    """
    # Containers on several hosts may have one process id and one folder.
    partial = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
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


def without_nonfinite(value: Any) -> Any:
    """The same value with ``None`` for every float that is not finite: JSON has no NaN.

    Example:
      >>> without_nonfinite({"loss": float("inf"), "scores": [0.5, float("nan")]})
      {'loss': None, 'scores': [0.5, None]}
    """
    if isinstance(value, dict):
        return {name: without_nonfinite(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nonfinite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path) -> dict[str, Any]:
    """Reads a file that holds one JSON object, nested no deeper than 32.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: ``FILE line NUMBER column NUMBER: reason`` for any other content.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        value = parse_object(path.read_bytes())
        level: list[Any] = [value]
        for _ in range(_MAX_DEPTH + 1):
            level = [entry for parent in level for entry in _entries(parent)]
        if level:
            raise ValueError(f"column 1: JSON that is nested deeper than {_MAX_DEPTH}")
        if not _is_unicode(value):
            raise ValueError("column 1: JSON with half of a surrogate pair")
    except ValueError as error:
        raise ValueError(f"{path} {error}") from None
    return value


def parse_object(content: bytes) -> dict[str, Any]:
    """Reads one JSON object.

    Args:
      content: its bytes, UTF-8 with or without a byte order mark.

    Returns:
      The object.

    Raises:
      ValueError: ``column NUMBER: reason``, with the line first where it is not the only one, for
        bytes that are no UTF-8, no JSON or no object; NaN is no JSON.

    Example:
      >>> parse_object(b'{"idx": 0}')
      {'idx': 0}
    """
    try:
        text = content.removeprefix(BYTE_ORDER_MARK).decode("utf-8")
        value = json.loads(text, parse_constant=_parse_constant)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"column {error.start + 1}: not UTF-8 at this byte ({error.reason})"
        ) from None
    except json.JSONDecodeError as error:
        line = f"line {error.lineno} " if b"\n" in content.strip() else ""
        raise ValueError(f"{line}column {error.colno}: not JSON ({error.msg})") from None
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits; 10,000 brackets
        raise ValueError(f"column 1: JSON that cannot be read ({error})") from None
    if not isinstance(value, dict):
        raise ValueError(f"column 1: expected a JSON object, got a {type(value).__name__}")
    return value


def _parse_constant(name: str) -> float:
    if name == "NaN":
        raise ValueError("NaN is no JSON")
    return float(name)


def _is_unicode(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _entries(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


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
