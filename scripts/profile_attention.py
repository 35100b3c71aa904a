"""Time and memory of non-linear attention over length and steps, against plain attention.

  ./scripts/profile                    # the default grid, into runs/profile (under half an hour)
  ./scripts/profile --smoke            # does it run here? a few seconds, into runs/profile-smoke

Every candidate is measured in turns with jax.nn.dot_product_attention of the same shape, forward
and forward + backward; its ratio is the median over the rounds. Also measured: a batch-heads-first
einsum, flax.nnx's attention and, where torch is installed, its SDPA with as many threads.

All T go with the first F and the first coupling; the other F and couplings are measured at T = 3
(or the first T). --full measures the whole product. A cell that is done is written at once and
not measured again: the same command goes on after Ctrl-C.

The output folder gets profile.json, profile.md and three pictures.

Exit codes: 0 finished, 1 failed, also a cell, 2 wrong arguments, 75 stopped and can go on.
"""

import argparse
import shlex
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts.exit_codes import (  # noqa: E402
    OneLineParser,
    failing_once_begun,
    run_command,
    stop_by_signals,
)

LENGTHS = (128, 256, 512, 1024, 2048)
STEPS = (1, 2, 3, 4, 7, 8)
NONLINEARITIES = ("quadratic",)
COUPLINGS = ("pooled", "pairwise", "elementwise")
SMOKE = {
    "lengths": (16, 32),
    "steps": (1, 3),
    "nonlinearities": ("quadratic",),
    "couplings": ("pooled", "pairwise"),
    "batch_heads": 2,
    "width": 8,
    "rounds": 2,
}


def numbers(text):
    values = tuple(int(part) for part in text.split(","))
    if min(values) < 1:
        raise argparse.ArgumentTypeError(f"expected integers of at least 1; got {text!r}")
    return values


def names(text):
    return tuple(part.strip() for part in text.split(","))


def make_parser():
    parser = OneLineParser(
        prog="scripts/profile",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--lengths", type=numbers, default=LENGTHS, metavar="N,N", help=f"default {LENGTHS}")
    add("--steps", type=numbers, default=STEPS, metavar="T,T", help=f"default {STEPS}")
    add(
        "--nonlinearities",
        type=names,
        default=NONLINEARITIES,
        metavar="F,F",
        help="default quadratic",
    )
    add("--couplings", type=names, default=COUPLINGS, metavar="NAME,NAME", help="default: all")
    add(
        "--implementations",
        type=names,
        metavar="NAME,NAME",
        help="default: all and auto; kernels not on a CPU",
    )
    add("--batch-heads", type=int, help="batch × heads; default 8192/n, between 8 and 32")
    add("--width", type=int, default=64, help="d of queries, keys and values; default 64")
    add("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    add("--rounds", type=int, default=5, help="at least so many, and half a second; default 5")
    add("--cell-seconds", type=float, default=8.0, help="then 3 rounds will do; default 8")
    add("--full", action="store_true", help="the whole product of F, coupling and T: hours")
    add("--memory", action=argparse.BooleanOptionalAction, default=True, help="XLA's temporaries")
    add("--resident", action="store_true", help="peak resident memory, a process a cell: slow")
    add("--smoke", action="store_true", help="tiny sizes, in seconds")
    add("--fresh", action="store_true", help="measure again what is there")
    add("--output", type=Path, metavar="DIR", help="default runs/profile")
    return parser


def parse(arguments):
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.smoke:
        parser.set_defaults(**SMOKE)
        options = parser.parse_args(arguments)
    if options.output is None:
        options.output = ROOT / "runs" / ("profile-smoke" if options.smoke else "profile")
    for name in ("batch_heads", "width", "rounds"):
        value = getattr(options, name)
        if value is not None and value < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1; got {value}")
    return options


def check_names(options):
    """Resolves the implementations, and refuses names that nobody has before anything is run."""
    from hopfield_attn.benchmark.candidates import AUTO, default_implementations
    from hopfield_attn.checks import check_choice
    from hopfield_attn.energies.attention import COUPLINGS as known_couplings
    from hopfield_attn.energies.nonlinearities import FAMILIES
    from hopfield_attn.ops.nonlinear_attention import IMPLEMENTATIONS

    if options.implementations is None:
        options.implementations = default_implementations()
    for argument, known in (
        ("nonlinearities", FAMILIES),
        ("couplings", known_couplings),
        ("implementations", (*IMPLEMENTATIONS, AUTO)),
    ):
        for value in getattr(options, argument):
            check_choice(f"--{argument}", value, known)


def command_of(arguments):
    """The command line without the output folder, which is a place on one machine."""
    kept = []
    skip = False
    for argument in arguments:
        if not skip and not argument.startswith("--output") and argument != "--fresh":
            kept.append(argument)
        skip = not skip and argument == "--output"
    return shlex.join(["./scripts/profile", *kept])


def run(options, command):
    from rich.console import Console

    from hopfield_attn.benchmark.candidates import available_baselines
    from hopfield_attn.benchmark.cells import make_grid
    from hopfield_attn.benchmark.machine import describe_machine, num_threads, title_of
    from hopfield_attn.benchmark.plots import draw_profile
    from hopfield_attn.benchmark.profile import profile
    from hopfield_attn.benchmark.summary import markdown
    from hopfield_attn.files import write_text
    from hopfield_attn.train.work import WORK_BEGUN

    check_names(options)
    cells = make_grid(
        lengths=options.lengths,
        steps=options.steps,
        nonlinearities=options.nonlinearities,
        couplings=options.couplings,
        implementations=options.implementations,
        baselines=available_baselines(),
        full=options.full,
    )
    settings = {
        "width": options.width,
        "dtype": options.dtype,
        "batch_heads": options.batch_heads,
        "num_threads": num_threads(),
    }
    machine = describe_machine()
    options.output.mkdir(parents=True, exist_ok=True)
    # Terminals get colours, pipes get plain lines.
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{len(cells)} cells on {title_of(machine)}", markup=False)
    rows = []
    began, num_new = time.perf_counter(), 0
    for index, row, is_new in profile(
        cells,
        options.output / "profile.json",
        settings=settings,
        machine=machine,
        command=command,
        rounds=options.rounds,
        seconds_at_most=options.cell_seconds,
        memory=options.memory,
        resident=options.resident,
        fresh=options.fresh,
    ):
        WORK_BEGUN.set()
        rows.append(row)
        if is_new:
            num_new += 1
            taken = (time.perf_counter() - began) / 60
            text = f"[{index + 1:>{len(str(len(cells)))}}/{len(cells)}] {line(row)}"
            console.print(f"{text}  ({taken:.1f} min)", markup=False)
    if len(rows) > num_new:
        console.print(f"{len(rows) - num_new} cells were there already (--fresh measures again)")
    write_text(options.output / "profile.md", markdown(rows) + "\n")
    draw_profile(options.output, rows, title=title_of(machine))
    console.print(f"Written to {options.output}", markup=False)
    return int(any(row["status"] == "failed" for row in rows))


def line(row):
    """One cell as a line of progress."""
    what = [f"n={row['n']}"]
    if row["T"] is not None:
        what += [f"T={row['T']}", row["F"], row["coupling"]]
    direction = row["direction"].replace("_", "+")
    head = f"{' '.join(what):36} {row['implementation']:12} {direction:16}"
    if row["status"] != "measured":
        reason = f": {row['reason']}" if row["status"] == "failed" else ""
        return f"{head} {row['status']}{reason}"
    return f"{head} {row['median_ms']:9.3f} ms  × {row['ratio']:.2f}"


def main(argv):
    return run_command(_profile, argv, help_text=make_parser().format_help())


def _profile(argv):
    options = parse(argv[1:])
    with failing_once_begun():
        return run(options, command_of(argv[1:]))


if __name__ == "__main__":
    stop_by_signals()
    sys.exit(main(sys.argv))
