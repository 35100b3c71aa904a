"""Tables of tab-separated text with a header line, as GLUE has them: quotes mean nothing."""

import reprlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from hopfield_attn.files import read_text, write_text


def read_table(path: Path) -> tuple[list[str], list[list[str]]]:
    r"""Reads the header and the rows; empty lines are left out, but for those of a single column.

    There they are rows with an empty field, unless they end the file.

    Args:
      path: a UTF-8 file. Only a line feed ends a row, whatever else a sentence may hold.

    Returns:
      The names of the columns, and the fields of each row, as they are.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: not UTF-8, no header, a column named twice, or a row with another number of
        fields: ``FILE:LINE …``.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = Path(folder, "a.tsv")
      ...     _ = path.write_text('text\tlabel\na "good\tyes\n')
      ...     read_table(path)
      (['text', 'label'], [['a "good', 'yes']])
    """
    lines = read_text(path).split("\n")
    header = _fields(lines[0])
    if "" in header or len(set(header)) < len(header):
        raise ValueError(
            f"{path}:1 the first line must name the columns, each once; got {reprlib.repr(header)}"
        )
    while len(lines) > 1 and _fields(lines[-1]) == [""]:
        lines.pop()
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        fields = _fields(line)
        if fields == [""] and len(header) > 1:
            continue
        if len(fields) != len(header):
            raise ValueError(f"{path}:{number} expected {len(header)} columns, got {len(fields)}")
        rows.append(fields)
    return header, rows


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Writes a table, whole or not at all.

    Args:
      path: the file; its folder must exist.
      columns: their names.
      rows: the fields of each row.

    Raises:
      ValueError: a field holds a tab or a line feed.
    """
    lines = [columns, *rows]
    for fields in lines:
        for field in fields:
            if "\t" in field or "\n" in field:
                raise ValueError(f"a field must not hold a tab or a line feed; got {field!r}")
    write_text(path, "".join("\t".join(fields) + "\n" for fields in lines))


def _fields(line: str) -> list[str]:
    return line.removesuffix("\r").split("\t")
