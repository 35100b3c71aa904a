"""A Hugging Face BERT folder with non-linear heads, checked, in the same format; or one of a run.

  ./scripts/convert --from BERT --to DIR                                # check it, and list it
  ./scripts/convert --from BERT --to DIR --heads quadratic:4,identity:8 --head_layers 3-6
  ./scripts/convert --from RUN --to DIR                                 # what scripts/train trained

BERT is a folder with config.json, model.safetensors and tokenizer.json or vocab.txt. Nothing in it
is executed: no pickle is opened. Every tensor is written bit for bit as it was; a non-linear head
adds its α, which is 0, so the model computes what it computed. transformers still loads the folder,
and scripts/train starts from it: --config.model.pretrained=DIR. RUN is a folder of scripts/train,
of any task but the generated ones, whose heads have no counterpart; its newest parameters are
written.

Exit codes: 0 done, 1 failed, 2 wrong arguments or a folder that is not a BERT, 75 stopped.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from configs.command_line import UsageError, load_run_config  # noqa: E402
from scripts.exit_codes import OneLineParser, run_command, stop_by_signals  # noqa: E402


def number_or_auto(text):
    return text if text == "auto" else float(text)


def make_parser():
    parser = OneLineParser(
        prog="scripts/convert",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--from", dest="source", required=True, metavar="BERT", help="the folder to read")
    add("--to", dest="target", required=True, metavar="DIR", help="the new folder")
    add("--heads", metavar="F:N,F:N", help="families of the heads; default: as in BERT")
    add("--head_layers", default="", metavar="3-6", help="layers that get them; default: all")
    add("--coupling", metavar="NAME", help="pooled, pairwise or elementwise; default pooled")
    add("--lam", type=number_or_auto, metavar="λ", help='number or "auto"; default 1')
    add("--num_steps", type=int, metavar="T", help="gradient steps; default 1")
    add("--step_size", type=number_or_auto, metavar="η", help='or "auto"; default 1/(1+λ)')
    add("--gain", type=float, metavar="s", help="scale of u; default 1/d")
    add("--alpha_init", type=float, metavar="α", help="of new non-linear heads; default 0")
    return parser


def export(workdir, target, options):
    """Writes the model of a run."""
    if set(options) - {"head_layers"} or options["head_layers"]:
        raise UsageError("the heads of a run are those it was trained with; only --to is for runs")
    config, workdir = load_run_config(str(workdir))

    from hopfield_attn.train.export_run import export_run

    step = export_run(config, workdir, target)
    print(f"Written: {target}, after {step} updates")
    return 0


def main(argv):
    return run_command(_convert, argv, help_text=make_parser().format_help())


def _convert(argv):
    arguments = vars(make_parser().parse_args(argv[1:]))
    given = {name: value for name, value in arguments.items() if value is not None}
    source, target = Path(given.pop("source")).expanduser(), Path(given.pop("target")).expanduser()
    if (source / "checkpoints").is_dir():
        return export(source, target, given)
    # JAX takes a second to import: only once the command line is known to be right.
    from hopfield_attn.checks import printable
    from hopfield_attn.models.convert import convert_folder

    report = convert_folder(source, target, **given)
    print(f"{len(report.loaded)} tensors of the encoder")
    for title, names in (
        ("not in the folder, so at their start", report.fresh),
        ("not part of the encoder, written as they were", report.unused),
    ):
        for name in names:
            print(f"  {title}: {printable(name)}")
    print(f"Written: {arguments['target']}")
    return 0


if __name__ == "__main__":
    stop_by_signals()
    sys.exit(main(sys.argv))
