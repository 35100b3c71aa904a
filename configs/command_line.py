"""A config from the command line: the file, the keys that are changed, and the key that is meant.

Imports nothing of JAX, so that a typo is reported at once.
"""

import difflib
import json
import os
import re
import runpy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from configs.defaults import get_defaults

_LONGEST_REASON = 500


class UsageError(Exception):
    """The command line is wrong; the message says what was expected."""


def take_options(
    argv: Sequence[str], *, names: Sequence[str], switches: Sequence[str] = ()
) -> tuple[dict[str, str], set[str], list[str]]:
    """Takes a command's own options out of ``argv``; of two with one name the last one counts.

    Args:
      argv: the command line, the program's name first.
      names: options with a value: ``--name=value`` or ``--name value``.
      switches: options without.

    Returns:
      The values by name, of the options that were given and are not empty; the switches that were
      given; and what is left of ``argv``.

    Raises:
      UsageError: an option has no value.
    """
    values = flags.FlagValues()
    values.set_gnu_getopt(True)  # options may follow other arguments
    for name in names:
        flags.DEFINE_string(name, None, "", flag_values=values)
    for name in switches:
        flags.DEFINE_boolean(name, False, "", flag_values=values)
    try:
        rest = values(list(argv), known_only=True)
    except (flags.Error, ValueError) as error:
        raise UsageError(str(error)) from None
    given = {name: values[name].value for name in names if values[name].value}
    return given, {name for name in switches if values[name].value}, rest


def change_config(config: ConfigDict, argv: Sequence[str]) -> list[str]:
    """Sets the keys of ``config`` that ``argv`` names, as ``--config.a.b=value``.

    Args:
      config: changed in place.
      argv: the command line, the program's name first.

    Returns:
      The arguments that are no options.

    Raises:
      UsageError: a key that does not exist, a value of another type, or an unknown option.
    """
    argv = list(argv)
    for option in filter(None, (re.match(r"--?config\.([^=]+)", arg) for arg in argv)):
        check_key(config, option[1], shown=f"--config.{option[1]}")
    values = flags.FlagValues()
    values.set_gnu_getopt(True)
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=argv)
        return values(argv)[1:]
    except (flags.Error, ValueError, TypeError) as error:
        raise UsageError(str(error)) from None


def load_config(spec: str) -> ConfigDict:
    """The config of ``FILE.py:arg``, or of the JSON of a run folder, which executes nothing.

    Raises:
      UsageError: there is no such file, or it holds no config.
    """
    name, arg = _split_spec(spec)
    path = Path(name).expanduser()
    if not path.is_file():
        raise UsageError(f"--config={spec}: there is no file {name!r}")
    try:
        return _read_json(path) if path.suffix == ".json" else _read_python(path, arg)
    except Exception as error:
        if "HOPFIELD_DEBUG" in os.environ:
            raise
        # A ValueError is worded by the config; of others the name belongs to the message.
        is_worded = isinstance(error, (ValueError, UsageError))
        reason = f"{'' if is_worded else f'{type(error).__name__}: '}{error}"
        raise UsageError(f"--config={spec}: {_shortened(reason)}") from None


def _split_spec(spec: str) -> tuple[str, str]:
    """FILE and arg of ``FILE.py:arg``; there may be colons in the path of a file that exists."""
    ends = [match.start() for match in re.finditer(":", spec)] + [len(spec)]
    is_file = (end for end in ends if Path(spec[:end]).expanduser().is_file())
    end = next(is_file, ends[0])
    return spec[:end], spec[end + 1 :]


def load_run_config(workdir: str | None) -> tuple[ConfigDict, Path]:
    """The config of a trained run, and its folder.

    Args:
      workdir: what ``--workdir`` says; ``None`` where it was not given.

    Raises:
      UsageError: the option is missing, or the folder holds no run.
    """
    if not workdir:
        raise UsageError("--workdir=DIR is missing: the folder of a trained run")
    folder = Path(workdir).expanduser()
    path = folder / "config.json"
    if not path.is_file():
        raise UsageError(f"--workdir={workdir}: there is no run, as {path} does not exist")
    return load_config(str(path)), folder


def check_key(config: ConfigDict, key: str, *, shown: str) -> None:
    """Names a key that does not exist, and the one that may be meant.

    Args:
      config: the config.
      key: dotted.
      shown: the argument that holds the key; the message starts with it.

    Raises:
      UsageError: the config has no such key.
    """
    node, parents = config, ""
    for part in key.split("."):
        if not isinstance(node, ConfigDict) or part not in node:
            raise UsageError(
                f"{shown}: the config has no key {parents + part!r}"
                f"{_suggest(config, node, parents, part)}"
            )
        node, parents = node[part], f"{parents}{part}."


def _read_python(path: Path, arg: str) -> ConfigDict:
    get_config = runpy.run_path(str(path)).get("get_config")
    if get_config is None:
        raise ValueError("the file must define get_config(arg)")
    config = get_config(arg)
    if not isinstance(config, ConfigDict):
        raise ValueError(f"get_config must return a ConfigDict; got {type(config).__name__}")
    return config


def _read_json(path: Path) -> ConfigDict:
    loaded = json.loads(path.read_text(encoding="utf-8"), parse_constant=_parse_constant)
    if not isinstance(loaded, dict):
        raise ValueError("the file must hold a JSON object")
    # Through the defaults: they know the types of the values that are null in the file.
    config = get_defaults()
    _check_keys(config, loaded)
    config.update(loaded)
    return config


def _check_keys(config: ConfigDict, loaded: Mapping[str, Any], parents: str = "") -> None:
    node = config[parents.rstrip(".")] if parents else config
    for key, value in loaded.items():
        check_key(config, parents + key, shown="the file")
        if isinstance(value, dict) and isinstance(node.get(key), ConfigDict):
            _check_keys(config, value, f"{parents}{key}.")


def in_one_line(text: str) -> str:
    """Text in one line that no terminal obeys, whatever a file has put into it."""
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


def _shortened(reason: str) -> str:
    """In one line; of a long one both ends, as ml_collections lists all keys in the middle."""
    line = in_one_line(reason)
    if len(line) <= _LONGEST_REASON:
        return line
    half = _LONGEST_REASON // 2
    return f"{line[:half]} … {line[-half:]}"


def _parse_constant(name: str) -> float:
    if name == "NaN":
        raise ValueError("NaN is no JSON")
    return float(name)


def _suggest(config: ConfigDict, node: object, parents: str, key: str) -> str:
    siblings = list(node) if isinstance(node, ConfigDict) else []
    found = [parents + name for name in difflib.get_close_matches(key, siblings, n=1)]
    # Or the key is right and its place is not.
    found += [path for path in _paths(config) if path.endswith(f".{key}")]
    return f"; did you mean {found[0]!r}?" if found else ""


def _paths(config: ConfigDict, parents: str = "") -> Iterator[str]:
    for key, value in config.items():
        yield parents + key
        if isinstance(value, ConfigDict):
            yield from _paths(value, f"{parents}{key}.")
