"""The report of a run: one HTML file, from its folder alone."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hopfield_attn.analysis.report.head_grid import HeadValue, head_grid
from hopfield_attn.analysis.report.line_chart import Line, line_chart
from hopfield_attn.analysis.report.markup import Markup, element, join, number, table
from hopfield_attn.analysis.report.page import Section, render_page
from hopfield_attn.files import write_text
from hopfield_attn.train.logging import read_metrics
from hopfield_attn.train.report_energies import energy_sections
from hopfield_attn.train.report_heads import head_sections
from hopfield_attn.train.run_files import REPORT_FILE, read_result, read_run_config, read_versions
from hopfield_attn.train.run_folder import flatten
from hopfield_attn.train.work import WORK_BEGUN


def write_report(
    config: Any, workdir: Path, *, compare: Sequence[Path] = (), text: str = ""
) -> Path:
    """Writes ``report.html`` into a run folder, whole or not at all.

    Args:
      config: of the run.
      workdir: the folder of a run, finished or not.
      compare: folders of other runs, drawn beside it; its ``baseline`` is one without being named.
      text: what the trained heads are shown on; "" is a sentence of the library's own.

    Returns:
      The path of the report.

    Raises:
      FileNotFoundError: a folder to compare with holds no run.
      ValueError: a file of a run cannot be read.
    """
    folders = [workdir] + [workdir / "baseline"] * (workdir / "baseline/config.json").is_file()
    folders += [folder for folder in compare if folder not in folders]
    runs = {name: _Run(folder) for name, folder in zip(_names(folders), folders, strict=True)}
    WORK_BEGUN.set()
    sections = [
        _results(runs),
        _curves(runs),
        *_alphas(runs),
        *energy_sections(next(iter(runs.values())).metrics),
        *head_sections(config, workdir, text),
    ]
    sections += [_speed(runs), _what_ran(runs)]
    first = next(iter(runs.values()))
    page = render_page(_title(first), _lead(first), sections)
    path = workdir / REPORT_FILE
    write_text(path, page)
    return path


_WHOLE_RUN = {
    "tokens_per_second": "tokens / s",
    "steps_per_second": "steps / s",
    "model_flops_per_second": "operations of the model, FLOP / s",
    "mfu": "share of the device's peak",
    "wall_seconds": "wall time, s",
    "peak_memory_mib": "peak memory, MiB",
    "num_parameters": "parameters",
}
"""Figure of a whole run → what it is called, with its unit."""


class _Run:
    """What the files of a run folder say."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.config = read_run_config(folder)
        self.versions = read_versions(folder)
        self.result = read_result(folder) or {}
        self.metrics = read_metrics(folder)


def _names(folders: Sequence[Path]) -> list[str]:
    """What tells the runs apart: their heads, or with equal heads their folders."""
    heads = [read_run_config(folder)["model"]["heads"] for folder in folders]
    if len(set(heads)) == len(heads):
        return heads
    return [f"{k + 1}: {folder.resolve().name}" for k, folder in enumerate(folders)]


def _title(run: _Run) -> str:
    task, name = run.config["task"], run.config["data"]["task"]
    if task not in ("mlm", "quality"):  # which are one task each
        # GLUE, SuperGLUE and SCROLLS share some names; the others are clear without the family.
        task = f"{task} {name}" if task in ("superglue", "scrolls") else name
    return f"{task}: heads {run.config['model']['heads']}"


def _lead(run: _Run) -> str:
    model = run.config["model"]
    steps = run.metrics[-1]["step"] if run.metrics else 0
    finished = "finished" if run.result else "not finished"
    lam = "auto" if model.get("auto_lam") else model["lam"]
    size = run.result.get("num_parameters")
    return (
        f"An encoder of {model['num_layers']} layers with {model['num_heads']} heads of width "
        f"{model['width'] // model['num_heads']}, coupling {model['coupling']}, T = "
        f"{model['num_steps']}, λ = {lam}; {steps:,} updates, {finished}"
        + (f", {size:,} parameters." if size else ".")
    )


def _results(runs: dict[str, _Run]) -> Section:
    first = next(iter(runs.values())).result
    if not first:
        return Section("Results", "The run has no result yet.", Markup(""))
    rows: list[list[Any]] = []
    for name, scores in first["evaluations"].items():
        for metric in scores:
            values = [
                run.result.get("evaluations", {}).get(name, {}).get(metric) for run in runs.values()
            ]
            rows.append([f"{name} {metric}", *values])
    rows += [
        [f"without a model: {name.replace('_', ' ')}", value, *[""] * (len(runs) - 1)]
        for name, value in first.get("baselines", {}).items()
    ]
    main = first["main_metric"]
    lead = f"The main metric is {main}. A difference between single runs is no finding: see seeds."
    return Section("Results", lead, table(["held-out set and metric", *runs], rows))


def _curves(runs: dict[str, _Run]) -> Section:
    losses = [
        Line(name, [row["step"] for row in run.metrics], [row["loss"] for row in run.metrics])
        for name, run in runs.items()
    ]
    first = next(iter(runs.values()))
    unigram = first.result.get("baselines", {}).get("unigram_loss")
    level = None if unigram is None else Line("unigram model", [], [unigram])
    chart = line_chart(
        losses, x_label="update", y_label="training loss (nats)", level=level,
        title="Training loss, as logged",
    )  # fmt: skip
    batches = {json.dumps(_batches_of(run.config), sort_keys=True) for run in runs.values()}
    are_same = len(runs) > 1 and len(batches) == 1
    lead = "Lower is better" + ("; the batches are the same." if are_same else ".")
    return Section("Learning curves", lead, chart)


def _batches_of(config: dict[str, Any]) -> dict[str, Any]:
    """What the batches of a run depend on."""
    data = {name: value for name, value in config["data"].items() if name != "num_threads"}
    return {"data": data, "seed": config["seed"], "batch_size": config["train"]["batch_size"]}


def _alphas(runs: dict[str, _Run]) -> list[Section]:
    sections = []
    for name, run in runs.items():
        values = [
            HeadValue(row["layer"], row["head"], row["family"], row["alpha"])
            for row in run.result.get("alpha", [])
        ]
        if values:
            negative = sum(value.value < 0 for value in values)
            title = f"{name}: {negative} of {len(values)} non-linear heads have α below 0"
            lead = (
                "α = 0 is plain attention, where training started unless model.alpha_init says "
                "otherwise."
            )
            if run.config["model"]["coupling"] != "elementwise":
                lead += " With α < 0 a quadratic or log cosh head has one well for every λ."
            sections.append(Section("Learned α", lead, head_grid(values, title=title)))
    return sections


def _speed(runs: dict[str, _Run]) -> Section:
    lines = [
        Line(name, [row["step"] for row in run.metrics],
             [row.get("tokens_per_second", math.nan) for row in run.metrics])
        for name, run in runs.items()
    ]  # fmt: skip
    chart = line_chart(
        lines, x_label="update", y_label="tokens / s", title="Throughput while training"
    )
    rows = [
        [label, *(run.result.get(name) for run in runs.values())]
        for name, label in _WHOLE_RUN.items()
        if any(name in run.result for run in runs.values())
    ]
    parts = [table(["whole run", *runs], rows)] if rows else []
    lead = "Figures of runs that shared a machine with others are not comparable."
    return Section("Throughput", lead, join([*parts, chart]))


def _what_ran(runs: dict[str, _Run]) -> Section:
    configs = {name: flatten(run.config) for name, run in runs.items()}
    keys = list(dict.fromkeys(key for config in configs.values() for key in config))
    rows = [[key, *(_plain(config.get(key)) for config in configs.values())] for key in keys]
    differing = [row for row in rows if len(set(row[1:])) > 1]
    first = next(iter(runs.values()))
    versions = [[name, _plain(value)] for name, value in first.versions.items()]
    folders = [
        [name, run.folder.name, _plain(run.config["seed"]), _commit(run.versions)]
        for name, run in runs.items()
    ]
    parts = [table(["run", "folder", "seed", "commit"], folders)]
    if differing:
        parts += [element("h3", "What differs"), table(["config key", *runs], differing)]
    whole = table(["config key", *runs], rows)
    parts.append(element("details", element("summary", "The whole config"), whole))
    listed = table(["", "version"], versions)
    parts.append(element("details", element("summary", "Commit, versions and devices"), listed))
    lead = "The folder's config.json runs it again: scripts/train --config=RUN/config.json."
    return Section("What was run", lead, join(parts))


def _commit(versions: dict[str, Any]) -> str:
    """The commit of a run, short enough for a telephone."""
    digits, _, rest = _plain(versions.get("commit", "–")).partition(" ")
    return f"{digits[:12]} {rest}".strip()


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return number(value)
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
