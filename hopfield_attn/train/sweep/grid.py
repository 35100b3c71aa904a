"""The grid of a sweep: the keys that vary, their values, and a folder name for each run."""

import hashlib
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

SEED = "seed"
"""The key whose values repeat a setting instead of making another one."""

_MAX_NAME = 120
_SPELLED = str.maketrans({":": "-", ",": "+"})


class Axis(NamedTuple):
    """A key of the config and the values it takes, as text."""

    key: str
    values: tuple[str, ...]


def parse_axis(text: str) -> Axis:
    """Reads ``key=value,value``, or ``key=value|value`` where a value has commas.

    Commas separate the values unless there is a ``|``. A ``|`` at the end makes one value of what
    stands before it.

    Args:
      text: an argument of the command line.

    Raises:
      ValueError: there is no key, no value, an empty value among commas, or a value twice.

    Example:
      >>> parse_axis("seed=0,1,2").values
      ('0', '1', '2')
      >>> parse_axis("model.heads=identity|identity:2,quadratic:2").values
      ('identity', 'identity:2,quadratic:2')
      >>> parse_axis("model.heads=identity:2,quadratic:2|").values
      ('identity:2,quadratic:2',)
    """
    key, is_axis, listed = text.partition("=")
    key = key.strip()
    if not is_axis or not key or key.startswith("-"):
        raise ValueError(f"unexpected argument {text!r}; what varies looks like seed=0,1,2")
    values = [value.strip() for value in listed.split("|" if "|" in listed else ",")]
    if "|" in listed:
        values = values[:-1] if not values[-1] else values
    elif "" in values:
        raise ValueError(f"{text}: a value is empty; empty text is written {key}='|other'")
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{text}: the value {value!r} is there twice")
    return Axis(key, tuple(values))


def make_grid(axes: Sequence[Axis]) -> list[dict[str, str]]:
    """All combinations, seed by seed: a sweep that is stopped early has every setting.

    Args:
      axes: the keys that vary; without a seed, every setting has the one of the config.

    Returns:
      Values by key, the keys in the order of the axes. The first setting comes first, with every
      other one compared to it.

    Raises:
      ValueError: a key is there twice.

    Example:
      >>> for run in make_grid([Axis("seed", ("0", "1")), Axis("model.lam", ("1", "2"))]):
      ...     print(run)
      {'seed': '0', 'model.lam': '1'}
      {'seed': '0', 'model.lam': '2'}
      {'seed': '1', 'model.lam': '1'}
      {'seed': '1', 'model.lam': '2'}
    """
    keys = [axis.key for axis in axes]
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"{key} varies twice; give all of its values at once")
    outermost_first = sorted(axes, key=lambda axis: axis.key != SEED)
    names = [axis.key for axis in outermost_first]
    products = itertools.product(*(axis.values for axis in outermost_first))
    points = (dict(zip(names, values, strict=True)) for values in products)
    return [{key: point[key] for key in keys} for point in points]


def run_name(values: Mapping[str, Any]) -> str:
    """The name of a run's folder: a function of the values alone, whatever else is swept.

    In a value ``:`` is spelled ``-`` and ``,`` is spelled ``+``. A name that would be too long, or
    hold other characters that not every shell and file system likes, ends with a hash.

    Args:
      values: values by key, as the config has them.

    Returns:
      ``key=value`` of every key in alphabetical order, the seed last.

    Example:
      >>> run_name({"seed": 0, "model.heads": "identity:2,quadratic:2", "model.lam": 0.5})
      'model.heads=identity-2+quadratic-2,model.lam=0.5,seed=0'
      >>> run_name({"data.source": "a b"})
      'data.source=a_b~96b727d9'
    """
    ordered = sorted(values.items(), key=lambda item: (item[0] == SEED, item[0]))
    spelled = ",".join(f"{key}={str(value).translate(_SPELLED)}" for key, value in ordered)
    name = re.sub(r"[^\w.,=+-]", "_", spelled, flags=re.ASCII)
    if name == spelled and len(name) <= _MAX_NAME:
        return name
    exact = repr([(key, str(value)) for key, value in ordered])
    return f"{name[:_MAX_NAME]}~{hashlib.sha256(exact.encode()).hexdigest()[:8]}"
