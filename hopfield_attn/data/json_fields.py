"""Fields of JSON objects, checked: an error names the column and what it holds."""

import reprlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from hopfield_attn.checks import printable

JsonObject: TypeAlias = Mapping[str, Any]

_T = TypeVar("_T", str, int, bool, list, dict)

_LONGEST_NAME = 100
_KIND_NAMES: dict[type, str] = {
    str: "text",
    int: "an integer",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}


def read_field(row: JsonObject, name: str, kind: type[_T], *, inside: str = "") -> _T:
    """Returns ``row[name]`` when it has the kind that it should have.

    Args:
      row: the object.
      name: the field.
      kind: ``str``, ``int``, ``bool``, ``list`` or ``dict``; ``true`` is no integer.
      inside: where the object itself is, such as ``"passage.questions[2]"``.

    Returns:
      The value.

    Raises:
      ValueError: the field is missing, has another kind, or is text that is not Unicode.

    Example:
      >>> read_field({"label": 1}, "label", int)
      1
      >>> read_field({"label": 1}, "label", str, inside="answers[0]")
      Traceback (most recent call last):
      ValueError: column answers[0].label: expected text, got 1
    """
    column, value = _find(row, name, inside)
    if type(value) is not kind:
        raise ValueError(f"column {column}: expected {_KIND_NAMES[kind]}, got {_shown(value)}")
    if isinstance(value, str) and not _is_unicode(value):
        raise ValueError(f"column {column}: half of a surrogate pair in {reprlib.repr(value)}")
    return value


def read_number(
    row: JsonObject, name: str, *, inside: str = "", largest: float = sys.float_info.max
) -> float:
    """Returns ``row[name]`` when it is a number of some size; ``true`` is none, nor is infinity.

    Args:
      row: the object.
      name: the field.
      inside: where the object itself is.
      largest: the largest size of the number.

    Returns:
      The number, an integer or a float.

    Raises:
      ValueError: the field is missing, is no number, or a larger one.

    Example:
      >>> read_number({"loss": 1e400}, "loss")
      Traceback (most recent call last):
      ValueError: column loss: expected a finite number, got inf
    """
    column, value = _find(row, name, inside)
    if type(value) not in (int, float) or not abs(value) <= largest:
        raise ValueError(f"column {column}: expected a finite number, got {_shown(value)}")
    number: float = value
    return number


def read_objects(
    row: JsonObject, name: str, *, inside: str = ""
) -> list[tuple[str, dict[str, Any]]]:
    """Returns the objects of a list with the place of each.

    Args:
      row: the object that holds the list.
      name: the field of the list.
      inside: where ``row`` itself is.

    Returns:
      Pairs of a place, to pass on as ``inside``, and the object there.

    Raises:
      ValueError: the field is no list, or something in it is no object.

    Example:
      >>> read_objects({"answers": [{"text": "a"}]}, "answers")
      [('answers[0]', {'text': 'a'})]
    """
    column = column_name(name, inside=inside)
    found = []
    for index, value in enumerate(read_field(row, name, list, inside=inside)):
        place = f"{column}[{index}]"
        if not isinstance(value, dict):
            raise ValueError(f"column {place}: expected an object, got {_shown(value)}")
        found.append((place, value))
    return found


def read_class(row: JsonObject, name: str, classes: Sequence[Any], *, inside: str = "") -> int:
    """Returns the number of the class that a field names.

    Args:
      row: the object.
      name: the field.
      classes: how the file spells the classes, by class id; ``True`` and ``1`` differ.
      inside: where the object itself is.

    Returns:
      The class id.

    Raises:
      ValueError: the field is missing, or holds no class.

    Example:
      >>> read_class({"label": True}, "label", (False, True))
      1
    """
    column, value = _find(row, name, inside)
    for class_id, spelling in enumerate(classes):
        if type(value) is type(spelling) and value == spelling:
            return class_id
    known = ", ".join(_shown(spelling) for spelling in classes)
    raise ValueError(f"column {column}: unknown label {_shown(value)}, expected one of {known}")


def column_name(name: str, *, inside: str) -> str:
    """Returns the whole name of a field inside another.

    Args:
      name: the field.
      inside: where its object is; may be empty.

    Returns:
      The two, joined with a dot; of a name from a file as much as fits into a line.

    Example:
      >>> column_name("text", inside="answers[0]")
      'answers[0].text'
    """
    shown = printable(name[:_LONGEST_NAME])
    return f"{inside}.{shown}" if inside else shown


def _find(row: JsonObject, name: str, inside: str) -> tuple[str, Any]:
    """The whole name of a field, and its value."""
    column = column_name(name, inside=inside)
    if name not in row:
        raise ValueError(f"column {column}: missing; the row has {reprlib.repr(list(row))}")
    return column, row[name]


def _shown(value: Any) -> str:
    """The value as JSON spells it, shortened."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return reprlib.repr(value)


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
