"""Checksums of arrays: what a checkpoint must hold, however its arrays are laid over devices."""

import json
import reprlib
import zlib
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from hopfield_attn.typing import PyTree

_MAX_DIFFERENCES = 5


class ArrayKind(NamedTuple):
    """What a model decides of an array, before any training.

    Attributes:
      dtype: its name.
      shape: of the whole array.
    """

    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}"


class ArrayRecord(NamedTuple):
    """What an array is, and a checksum of its values.

    Attributes:
      kind: dtype and shape.
      crc32: CRC-32 of dtype, shape and the bytes of the whole array in C order. It tells every
        single flipped bit and every damage within 32 bits; of other damage it misses one in 2³².
    """

    kind: ArrayKind
    crc32: int


def describe_arrays(tree: PyTree) -> dict[str, ArrayKind]:
    """Dtype and shape of every array, or ``ShapeDtypeStruct``, by its dotted path.

    Example:
      >>> describe_arrays({"layers": [np.zeros((2, 3), np.float32)]})
      {'layers.0': ArrayKind(dtype='float32', shape=(2, 3))}
    """
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): ArrayKind(
            str(leaf.dtype), tuple(leaf.shape)
        )
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def record_arrays(tree: PyTree) -> dict[str, ArrayRecord]:
    """The :class:`ArrayRecord` of every array by its dotted path, the same for any sharding.

    Arrays that several processes share are gathered: all of them must call it.

    Example:
      >>> record_arrays({"step": np.int32(4)})
      {'step': ArrayRecord(kind=ArrayKind(dtype='int32', shape=()), crc32=2223752408)}
    """
    kinds = describe_arrays(tree)
    arrays = jax.device_get([_whole(leaf) for leaf in jax.tree.leaves(tree)])
    return {
        name: ArrayRecord(kind, _crc32(kind, np.asarray(array)))
        for (name, kind), array in zip(kinds.items(), arrays, strict=True)
    }


def _whole(array: Any) -> Any:
    """The array, or where processes share it a copy of all of it in this one."""
    if not isinstance(array, jax.Array) or array.is_fully_addressable:
        return array
    if array.is_fully_replicated:
        return array.addressable_data(0)
    return multihost_utils.process_allgather(array, tiled=True)


def _crc32(kind: ArrayKind, array: np.ndarray) -> int:
    # As bytes: bfloat16 has no buffer of its own in Python.
    values = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return zlib.crc32(values.data, zlib.crc32(str(kind).encode()))


def records_to_json(records: dict[str, ArrayRecord]) -> dict[str, Any]:
    """As JSON, with a checksum of itself."""
    rows = {name: [*record.kind, f"{record.crc32:08x}"] for name, record in records.items()}
    return {"arrays": rows, "crc32": _crc32_of_rows(rows)}


def records_from_json(value: Any) -> dict[str, ArrayRecord]:
    """The inverse of :func:`records_to_json`.

    Raises:
      ValueError: if it is not what was written.
    """
    if not isinstance(value, dict) or not isinstance(value.get("arrays"), dict):
        raise ValueError("expected an object with 'arrays' and 'crc32'")
    rows = value["arrays"]
    if value.get("crc32") != _crc32_of_rows(rows):
        raise ValueError("the list of checksums differs from its own")
    return {name: _record(name, row) for name, row in rows.items()}


def _record(name: str, row: Any) -> ArrayRecord:
    match row:
        case [str(dtype), [*shape], str(crc32)] if all(type(size) is int for size in shape):
            return ArrayRecord(ArrayKind(dtype, tuple(shape)), int(crc32, 16))
    raise ValueError(f"{name!r} must have a dtype, a shape and a checksum; got {reprlib.repr(row)}")


def _crc32_of_rows(rows: dict[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(rows, sort_keys=True).encode()):08x}"


def kind_differences(saved: dict[str, ArrayKind], expected: dict[str, ArrayKind]) -> str:
    """The first paths at which two trees differ, with both kinds; "" when there are none.

    Example:
      >>> kind_differences({"w": ArrayKind("float32", (2,))}, {"w": ArrayKind("float32", (3,))})
      'w is float32 (2,) there, and float32 (3,) in the model of the config'
    """
    differing = [
        name
        for name in sorted(saved.keys() | expected.keys())
        if saved.get(name) != expected.get(name)
    ]
    listed = [
        f"{name} is {saved.get(name, 'absent')} there, and {expected.get(name, 'absent')} "
        "in the model of the config"
        for name in differing[:_MAX_DIFFERENCES]
    ]
    more = len(differing) - _MAX_DIFFERENCES
    return "; ".join(listed) + (f"; and {more} more" if more > 0 else "")
