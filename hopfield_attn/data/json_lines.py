"""Files of one JSON object a line; a bad line is an error with its place, or is left out."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from hopfield_attn.checks import check_count
from hopfield_attn.data.json_fields import JsonObject
from hopfield_attn.files import BYTE_ORDER_MARK, parse_object

_T = TypeVar("_T")


def read_json_lines(
    path: Path, parse: Callable[[JsonObject], Sequence[_T]], *, max_bad_rows: int
) -> tuple[list[_T], list[str]]:
    r"""Parses every line of a file; blank lines say nothing.

    Args:
      path: the file, UTF-8 with or without a byte order mark.
      parse: one line's object → its examples; its ``ValueError`` begins with ``column NAME:``.
      max_bad_rows: how many bad lines to leave out before one is an error.

    Returns:
      The examples in the order of the file, and one line ``FILE:LINE column NAME: reason`` for
      each line left out.

    Raises:
      ValueError: the bad line after ``max_bad_rows``, or a file without one usable line.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = Path(folder, "train.jsonl")
      ...     _ = path.write_text('{"label": 3}\n{"label": \n')
      ...     rows, skipped = read_json_lines(path, lambda row: [row["label"]], max_bad_rows=1)
      ...     print(rows, [line.removeprefix(str(path)) for line in skipped])
      [3] [':2 column 11: not JSON (Expecting value)']
    """
    check_count(0, max_bad_rows=max_bad_rows)
    examples: list[_T] = []
    skipped: list[str] = []
    with path.open("rb") as file:
        # Only "\n" ends a line: text may hold separators at which str.splitlines cuts.
        for number, line in enumerate(file, start=1):
            content = (line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line).rstrip(b"\r\n")
            if not content.strip():
                continue
            try:
                examples.extend(parse(parse_object(content)))
            except ValueError as error:
                skipped.append(f"{path}:{number} {error}")
                if len(skipped) > max_bad_rows:
                    raise ValueError(skipped[-1]) from None
    if not examples:
        raise ValueError(f"{path}:1 column 1: the file has no usable row")
    return examples, skipped
