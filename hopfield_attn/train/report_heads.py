"""The sections of a report that need the trained model: attention, energies and wells of heads."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hopfield_attn.analysis.diagnostics import OUTCOME_ADVICE, OUTCOME_NAMES
from hopfield_attn.analysis.head_trace import HeadTrace
from hopfield_attn.analysis.head_wells import head_wells
from hopfield_attn.analysis.report.attention_view import Queries, attention_view
from hopfield_attn.analysis.report.line_chart import Line, line_chart
from hopfield_attn.analysis.report.markup import Markup, element, join, number, png_figure, table
from hopfield_attn.analysis.report.page import Section
from hopfield_attn.analysis.well_plot import describe_wells, draw_wells
from hopfield_attn.energies.regimes import REGIME_NAMES, Regime
from hopfield_attn.energies.spline import DEFAULT_KNOTS
from hopfield_attn.train.trace_example import ExampleTraces, example_traces
from hopfield_attn.train.trace_text import text_traces
from hopfield_attn.train.trained import TASKS_WITHOUT_TEXT, TrainedRun, load_run
from hopfield_attn.train.whole_checkpoint import CheckpointError

DEFAULT_TEXT = "the head settles into a well, and the words that it binds together stay with it"
_NUM_HEADS = 3
_MAX_TOKENS = 20
_MAX_LENGTH = 48
"""Tokens of a generated example beyond which its matrices are not drawn."""
_NUM_STARTS = 32
_NOTHING = Markup("")


def head_sections(config: Any, workdir: Path, text: str) -> list[Section]:
    """Attention, energies and wells of the heads whose F is farthest from that of plain attention.

    They are shown on a text, or, of a generated task, on one example with its true sources.

    Args:
      config: of the run.
      workdir: its folder.
      text: any text; "" is :data:`DEFAULT_TEXT`. A generated task has none.

    Returns:
      Sections; a single one that says why where the model or its text is missing.
    """
    title = "Inside the heads"
    try:
        run = load_run(config, workdir)
    except (FileNotFoundError, CheckpointError, KeyError, ValueError) as error:
        return [Section(title, f"The model could not be loaded: {error}", _NOTHING)]
    heads = chosen_heads(run)
    if config.task in TASKS_WITHOUT_TEXT:
        shown = example_traces(run, heads)
        traces, attention = shown.traces, _attention_to_sources(shown)
        query = int(shown.example["positions"][0])
    else:
        traces = text_traces(run, text or DEFAULT_TEXT, heads, max_tokens=_MAX_TOKENS)
        attention = _attention(traces)
        # Without a row that stands for the whole, the first real token is looked at.
        query = min(1, len(traces[0].tokens) - 1)
    return [attention, _energies(traces), _shapes(run, traces), _wells(traces[0], query)]


def chosen_heads(run: TrainedRun) -> list[tuple[int, int]]:
    """(layer, head) from 0: those whose F is farthest from u; else one identity head.

    The distance is max |F'(u) − 1| over |u| ≤ 1, which is |α| for a quadratic F.
    """
    u = np.linspace(-1.0, 1.0, 41)
    found = [
        (-float(np.max(np.abs(slope - 1))), layer, head)
        for layer, head, _, slope in _head_slopes(run, u)
    ]
    return [(layer, head) for _, layer, head in sorted(found)[:_NUM_HEADS]] or [(0, 0)]


def _head_slopes(run: TrainedRun, u: np.ndarray) -> Iterator[tuple[int, int, str, np.ndarray]]:
    """(layer, head, family, F'(u)) of every non-linear head, counted from 0."""
    encoder = run.definition.bind(run.params).encoder
    for index, layer in enumerate(encoder.layers):
        for group in layer.attention.groups:
            if group.family != "identity":
                heads = range(group.start, group.stop)
                slopes_of = jax.vmap(
                    lambda F: F.derivative(jnp.asarray(u, jnp.float32)), axis_size=len(heads)
                )
                slopes = slopes_of(layer.attention.nonlinearity(group).per_head(len(heads)))
                for head, slope in zip(heads, slopes, strict=True):
                    yield index, head, group.family, np.asarray(slope)


_ATTENTION = "Effective attention"
_READING = (
    "Rows look at columns. First plain attention A, then the matrix W that gives the output "
    "of the non-linear head, x = W y, at the chosen step, then what changed: blue is more, "
    "orange with a stroke is less. The heads whose F is farthest from that of plain attention."
)


def _attention(traces: list[HeadTrace]) -> Section:
    views = [attention_view(trace, name=f"head-{k}") for k, trace in enumerate(traces)]
    cut = f" Of a text the first {_MAX_TOKENS} tokens are shown, the two of its frame among them."
    is_cut = len(traces[0].tokens) == _MAX_TOKENS
    return Section(_ATTENTION, _READING + cut * is_cut, join(views))


def _attention_to_sources(shown: ExampleTraces) -> Section:
    task, example = shown.task, shown.example
    lead = f"An example of {task}, in none of the sets of this run. "
    if task.length > _MAX_LENGTH:
        lead += f"Its {task.length} tokens are more than the {_MAX_LENGTH} that can be drawn."
        return Section(_ATTENTION, lead, _NOTHING)
    lead += "Outlined are the sources: the tokens that the answer at a row is read from. "
    queries = Queries(np.asarray(example["positions"]), np.asarray(example["sources"]))
    views = [
        attention_view(trace, name=f"head-{k}", queries=queries)
        for k, trace in enumerate(shown.traces)
    ]
    return Section(_ATTENTION, lead + _READING, join(views))


def _energies(traces: list[HeadTrace]) -> Section:
    lines = []
    for trace in traces:
        energies = np.asarray(trace.found.energies, float)
        lines.append(Line(_short(trace), list(range(len(energies))), energies - energies[0]))
    chart = line_chart(
        lines, x_label="step t (0: plain attention)", y_label="E(x_t) − E(x_0), nats/β",
        title="Energy of the heads on these tokens",
    )  # fmt: skip
    lead = (
        "A step is to move the head's state downhill; a curve that is flat has arrived. Whether it "
        "did, but for rounding, is the outcome of each head."
    )
    rows = _ends(traces)
    notes = [
        element("p", f"{name}: {advice}.", class_="note")
        for name, advice in zip(OUTCOME_NAMES, OUTCOME_ADVICE, strict=True)
        if name in {row[_AT_THE_END.index("outcome")] for row in rows}
    ]
    return Section("Energy over the steps", lead, join([chart, table(_AT_THE_END, rows), *notes]))


_AT_THE_END = [
    "head", "steps T", "residual ‖∇E‖", "distance to plain attention", "outcome", "regime",
    "one well is certified",
]  # fmt: skip


def _ends(traces: list[HeadTrace]) -> list[list[Any]]:
    """Where each head stands after its last step, whatever its coupling."""
    return [
        [
            _short(trace),
            len(trace.found.energies) - 1,
            number(float(trace.found.residuals[-1])),
            f"{float(trace.found.distances[-1]):.1%}",
            _outcome(trace),
            REGIME_NAMES[int(trace.found.regime.status)],
            _certified_from(trace.found.regime),
        ]
        for trace in traces
    ]


def _outcome(trace: HeadTrace) -> str:
    if trace.nonlinearity.name == "identity":
        return "plain attention"
    return OUTCOME_NAMES[int(trace.found.outcome)]


def _shapes(run: TrainedRun, traces: list[HeadTrace]) -> Section:
    lines = []
    for trace in traces:
        reach = max(1.0, float(np.max(trace.found.gained)))
        u = np.linspace(-reach, reach, 81)
        slope = np.asarray(trace.nonlinearity.derivative(jnp.asarray(u, jnp.float32)))
        lines.append(Line(_short(trace), u.tolist(), slope.tolist()))
    chart = line_chart(
        lines, x_label="s u, as far as these tokens reach (at least ±1)", y_label="F′(s u)",
        title="What training made of F: the factor on a token's weight",
        level=Line("plain attention", [], [1.0]),
    )  # fmt: skip
    splines = _spline_charts(run)
    lead = "F′ = 1 everywhere is plain attention."
    if splines:
        lead += " Below, the spline of every head over its knots."
    return Section("Learned F", lead, join([chart, *splines]))


def _spline_charts(run: TrainedRun) -> list[Markup]:
    """F' of all spline heads, a chart a layer."""
    u = np.linspace(DEFAULT_KNOTS[0], DEFAULT_KNOTS[-1], 65)
    layers: dict[int, list[Line]] = {}
    for layer, head, family, slope in _head_slopes(run, u):
        if family == "spline":
            name = f"head {head + 1}"
            layers.setdefault(layer, []).append(Line(name, u.tolist(), slope.tolist()))
    return [
        line_chart(
            lines, x_label="s u", y_label="F′(s u)", title=f"Splines of layer {layer + 1}",
            level=Line("plain attention", [], [1.0]),
        )
        for layer, lines in layers.items()
    ]  # fmt: skip


def _wells(trace: HeadTrace, of_query: int) -> Section:
    """Those of a head; of one query, where each has its own."""
    title = "Context wells"
    if not np.all(np.isfinite(trace.values)):
        return Section(
            title, f"The values of {trace.name} are not finite on these tokens.", _NOTHING
        )
    coupling = trace.options["coupling"]
    query = None if coupling == "pooled" else of_query
    found = head_wells(
        trace.weights, trace.values, nonlinearity=trace.nonlinearity, coupling=coupling,
        lam=trace.found.lam, gain=trace.options["gain"], query=query, num_starts=_NUM_STARTS,
        max_steps=2000,
    )  # fmt: skip
    picture = io.BytesIO()
    draw_wells(picture, found)
    about = f"{trace.name}. {describe_wells(found)}."
    if query is not None:
        about += f" Of the query “{trace.tokens[query]}”; every query has wells of its own."
    rows = [
        [k + 1, f"{found.wells.basins[k]:.0%}", float(found.wells.energies[k]),
         number(float(found.wells.depths[k])), float(found.wells.spectra[k][0]), _binds(bound)]
        for k, bound in enumerate(_bound(found.gains, trace))
    ]  # fmt: skip
    header = ["well", "share of starts", "energy", "barrier", "smallest curvature", "binds most"]
    # Of the whole head, as in the table above: for one query alone it may be better.
    certificate = trace.found.regime
    lead = (
        f"Descents from {_NUM_STARTS} random starts, of which {found.wells.share('converged'):.0%} "
        f"arrived in a well. Known before iterating: the head is "
        f"{REGIME_NAMES[int(certificate.status)]}; one well is certified "
        f"{_certified_from(certificate)}. A barrier is what it takes, at most, to leave a well."
    )
    figure = png_figure(picture.getvalue(), caption=about)
    return Section(title, lead, join([figure, table(header, rows)]))


def _bound(gains: np.ndarray, trace: HeadTrace) -> list[list[str]]:
    """The tokens with the largest gains of each well; features have no names."""
    if trace.options["coupling"] == "elementwise":
        return [[] for _ in gains]
    order = np.argsort(-gains, axis=1, kind="stable")[:, :5]
    return [
        [f"{trace.tokens[j]} × {c[j]:.3f}" for j in row]
        for row, c in zip(order, gains, strict=True)
    ]


def _binds(tokens: list[str]) -> Markup:
    """The tokens, with a dot between two; none of them is broken by the end of a line."""
    spans = [element("span", token, " · ") for token in tokens[:-1]]
    return join([*spans, element("span", tokens[-1])]) if tokens else Markup("–")


def _certified_from(regime: Regime) -> str:
    lam = float(regime.convex_lam)
    return f"for λ from {number(max(lam, 0.0))}" if np.isfinite(lam) else "for no λ"


def _short(trace: HeadTrace) -> str:
    name = f"{trace.layer + 1}.{trace.head + 1} {trace.nonlinearity.name}"
    return name if trace.nonlinearity.alpha is None else f"{name}, α {trace.alpha:+.3f}"
