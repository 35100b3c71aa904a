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

import json
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Config files import configs.defaults, wherever the command is started.
sys.path.insert(0, str(ROOT))

from absl import flags  # noqa: E402
from ml_collections import ConfigDict, config_flags  # noqa: E402


def main(argv: list[str]) -> int:
    """Parses the command line, runs, and turns every expected failure into one line."""
    if any(arg in ("--help", "-h", "-help", "--helpfull") for arg in argv[1:]):
        print(__doc__)
        return 0
    try:
        config, workdir = parse_arguments(argv)
    except UsageError as error:
        return _fail(str(error), code=2)
    # JAX takes a second to import: only once the command line is known to be right.
    from hopfield_attn.train.interrupt import EXIT_CODE, Interrupted
    from hopfield_attn.train.main import run

    try:
        run(config, workdir)
    except Interrupted as stop:
        print(f"Stopped at step {stop.step}, saved. The same command goes on.", file=sys.stderr)
        return EXIT_CODE
    except KeyboardInterrupt:
        print("Stopped. The same command goes on.", file=sys.stderr)
        return EXIT_CODE
    except (ValueError, TypeError, FileNotFoundError) as error:
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
    values = flags.FlagValues()
    argv, defined = _define_config(argv, values)
    flags.DEFINE_string("workdir", None, "run folder", flag_values=values)
    try:
        rest = values(argv)
    except (AttributeError, KeyError) as error:
        raise UsageError(_unknown_key(str(error), argv)) from None
    except flags.Error as error:
        raise UsageError(" ".join(str(error).split())) from None
    except (ValueError, TypeError, FileNotFoundError) as error:
        raise UsageError(f"the config cannot be read: {error}") from None
    if len(rest) > 1:
        raise UsageError(f"unexpected argument {rest[1]!r}; options look like --config.seed=1")
    if not values.workdir:
        raise UsageError("--workdir=DIR is missing: the folder for results and checkpoints")
    return _config_value(defined, values), Path(values.workdir).expanduser()


def _define_config(argv: list[str], values: flags.FlagValues) -> tuple[list[str], str]:
    """Defines --config: a Python file, or the JSON of a run folder, which executes nothing."""
    given = [arg.partition("=")[2] for arg in argv if re.match(r"--?config=", arg)]
    if not given:
        raise UsageError("--config=FILE is missing: configs/NAME.py[:args] or RUN/config.json")
    path = given[-1]
    if not path.endswith(".json"):
        config_flags.DEFINE_config_file("config", flag_values=values, lock_config=True)
        return argv, path
    try:
        loaded = ConfigDict(json.loads(Path(path).expanduser().read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise UsageError(f"--config={path}: {error}") from None
    config_flags.DEFINE_config_dict("config", loaded, flag_values=values, lock_config=True)
    return [arg for arg in argv if not re.match(r"--?config=", arg)], path


def _config_value(path: str, values: flags.FlagValues) -> ConfigDict:
    config = values.config
    if not isinstance(config, ConfigDict):
        # A file that cannot be loaded comes back as an object that raises when it is used.
        try:
            config.task  # noqa: B018
        except Exception as error:
            raise UsageError(f"--config={path}: {error}") from None
    return config


def _unknown_key(message: str, argv: list[str]) -> str:
    """One line for the error of an unknown key, which names the key and the closest known one."""
    names = re.findall(r"[\"'](\w+)[\"']", message.replace("\\", ""))
    key = names[0] if names else message
    hint = re.search(r'Did you mean "(\w+)"', message)
    arg = next((a for a in argv if re.match(rf"--?config\..*\b{key}\b", a)), key)
    suggestion = f"; did you mean {hint.group(1)!r}?" if hint else ""
    return f"{arg.partition('=')[0]}: the config has no key {key!r}{suggestion}"


def _fail(message: str, *, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv))
