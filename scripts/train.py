"""Trains what a config describes.

  ./scripts/train --config=configs/NAME.py[:args] [--config.a.b=value ...] --workdir=DIR

The config is a Python file with get_config(arg), or the config.json of a run folder. Every key of
configs/defaults.py can be set on the command line; the text after the colon goes to get_config
(":smoke" is a run of seconds). Ctrl-C saves the current step; the same command goes on from there.

The run folder gets config.json, versions.json, tokenizer.json, metrics.jsonl and metrics.csv,
checkpoints/, result.json and, with --config.baseline_heads, a linear run beside it in
baseline/ and the picture comparison.png.

Exit codes: 0 finished, 1 failed, 2 wrong arguments, 75 stopped and can go on.
"""

import difflib
import json
import os
import re
import runpy
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Config files import configs.defaults, wherever the command is started.
sys.path.insert(0, str(ROOT))

from absl import flags  # noqa: E402
from ml_collections import ConfigDict, config_flags  # noqa: E402

PATH_ERRORS = (FileNotFoundError, FileExistsError, NotADirectoryError, PermissionError)


def main(argv: list[str]) -> int:
    """Parses the command line, runs, and turns every expected failure into one line."""
    if any(arg in ("--help", "-h", "-help", "--helpfull") for arg in argv[1:]):
        print(__doc__)
        return 0
    try:
        return _run(*parse_arguments(argv))
    except UsageError as error:
        return _fail(str(error), code=2)
    except KeyboardInterrupt:
        print("Stopped. The same command goes on.", file=sys.stderr)
        return os.EX_TEMPFAIL


def _run(config: ConfigDict, workdir: Path) -> int:
    # JAX takes a second to import: only once the command line is known to be right.
    from hopfield_attn.train.interrupt import EXIT_CODE, Interrupted
    from hopfield_attn.train.main import run

    try:
        run(config, workdir)
    except Interrupted as stop:
        print(f"Stopped at step {stop.step}, saved. The same command goes on.", file=sys.stderr)
        return EXIT_CODE
    except (ValueError, TypeError, *PATH_ERRORS) as error:
        if "HOPFIELD_DEBUG" in os.environ:
            raise
        return _fail(f"{error} (HOPFIELD_DEBUG=1 shows where)", code=2)
    except FloatingPointError as error:
        return _fail(str(error), code=1)
    return 0


class UsageError(Exception):
    """The command line is wrong; the message says what was expected."""


def parse_arguments(argv: list[str]) -> tuple[ConfigDict, Path]:
    """Returns the resolved config and the run folder."""
    given = [arg.partition("=")[2] for arg in argv if _is_config(arg)]
    if not given:
        raise UsageError("--config=FILE is missing: configs/NAME.py[:args] or RUN/config.json")
    config = _load_config(given[-1])
    argv = [arg for arg in argv if not _is_config(arg)]
    _check_keys(config, argv)
    values = flags.FlagValues()
    flags.DEFINE_string("workdir", None, "run folder", flag_values=values)
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=argv)
        rest = values(argv)
    except (flags.Error, ValueError, TypeError) as error:
        raise UsageError(str(error)) from None
    if len(rest) > 1:
        raise UsageError(f"unexpected argument {rest[1]!r}; options look like --config.seed=1")
    if not values.workdir:
        raise UsageError("--workdir=DIR is missing: the folder for results and checkpoints")
    return values.config, Path(values.workdir).expanduser()


def _is_config(arg: str) -> bool:
    return re.match(r"--?config=", arg) is not None


def _load_config(spec: str) -> ConfigDict:
    """The config of a Python file, or of the JSON of a run folder, which executes nothing."""
    name, _, arg = spec.partition(":")
    path = Path(name).expanduser()
    if not path.is_file():
        raise UsageError(f"--config={spec}: there is no file {name!r}")
    try:
        return _read_json(path) if path.suffix == ".json" else _read_python(path, arg)
    except Exception as error:
        if "HOPFIELD_DEBUG" in os.environ:
            raise
        # A ValueError is worded by the config; of others the name belongs to the message.
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise UsageError(f"--config={spec}: {kind}{error}") from None


def _read_python(path: Path, arg: str) -> ConfigDict:
    get_config = runpy.run_path(str(path)).get("get_config")
    if get_config is None:
        raise ValueError("the file must define get_config(arg)")
    config = get_config(arg)
    if not isinstance(config, ConfigDict):
        raise ValueError(f"get_config must return a ConfigDict; got {type(config).__name__}")
    return config


def _read_json(path: Path) -> ConfigDict:
    from configs.defaults import get_defaults

    loaded = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(loaded, dict):
        raise ValueError("the file must hold a JSON object")
    # Through the defaults: they know the types of the values that are null in the file.
    config = get_defaults()
    config.update(loaded)
    return config


def _check_keys(config: ConfigDict, argv: list[str]) -> None:
    """Names the first option whose key does not exist, and the key that may be meant."""
    for option in filter(None, (re.match(r"--?config\.([^=]+)", arg) for arg in argv)):
        node, parents = config, ""
        for key in option[1].split("."):
            if not isinstance(node, ConfigDict) or key not in node:
                raise UsageError(
                    f"--config.{option[1]}: the config has no key {parents + key!r}"
                    f"{_suggest(config, node, parents, key)}"
                )
            node, parents = node[key], f"{parents}{key}."


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


def _fail(message: str, *, code: int) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    # The training steps watch for it themselves; elsewhere SIGTERM is the same as Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main(sys.argv))
