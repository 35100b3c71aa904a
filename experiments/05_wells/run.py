"""Counts wells over α and λ in random heads, and in the heads of a trained run.

python experiments/05_wells/run.py random [--smoke]
python experiments/05_wells/run.py trained NAME RUN_FOLDER ...      # runs that differ in their seed
python experiments/05_wells/run.py diagram NAME RUN_FOLDER LAYER HEAD
"""

import dataclasses
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments.finished_run import read_finished
from hopfield_attn import nonlinearities
from hopfield_attn.analysis.head_trace import HeadTrace
from hopfield_attn.analysis.head_wells import HeadWells, head_wells, reduced_head
from hopfield_attn.analysis.phases import Phases, draw_phases, phase_diagram
from hopfield_attn.analysis.well_plot import draw_wells
from hopfield_attn.energies.regimes import REGIME_NAMES, regime
from hopfield_attn.files import write_json
from hopfield_attn.ops.weights import head_weights
from hopfield_attn.train.trained import TrainedRun

HERE = Path(__file__).resolve().parent
TEXTS = (
    "the head settles into a well, and the words that it binds together stay with it",
    "a list of functions is returned when the object has no such attribute",
    "the committee did not say whether the bank by the river would open again",
)
NUM_HEADS, LENGTH, WIDTH = 5, 10, 16
Traces = list[tuple[HeadTrace, int | None]]
QUERIES = {"pooled": None, "pairwise": 0}


def random_head(seed: int) -> tuple[jax.Array, jax.Array]:
    """(A, y) of standard normal q, k and y."""
    rng = np.random.default_rng(seed)
    q, k, y = (jnp.asarray(rng.normal(size=(LENGTH, WIDTH))) for _ in range(3))
    scaled = q / np.sqrt(WIDTH)
    return head_weights(scaled, k, query_mask=None, key_mask=None, is_causal=False), y


def certified_alpha(weights: jax.Array, values: jax.Array, coupling: str, query, gain) -> float:
    """α of log cosh up to which one well is certified at λ = 0: 1/(s λ_max)."""
    gain = 1.0 / values.shape[-1] if gain is None else gain  # before y is reduced
    A, y = reduced_head(weights, values, coupling=coupling, query=query)
    F = nonlinearities.log_cosh(1.0)
    found = regime(y, A, nonlinearity=F, coupling=coupling, lam=0.0, gain=gain)
    return 1.0 / float(found.softening_estimate)


def onset(found: Phases, unit: float) -> float | None:
    """The smallest α with several wells over the certified one, at the first λ."""
    several = np.flatnonzero(found.counts[:, 0] > 1)
    return (
        float(found.alphas[several[0]] / (unit * (1.0 + found.lams[0]))) if len(several) else None
    )


def scaling_violations(found: Phases) -> int:
    """Cells whose count is not that of λ = 0 at the same α/(1+λ), within one step of the grid."""
    violations = 0
    for k, lam in enumerate(found.lams):
        for alpha, count in zip(found.alphas / (1.0 + lam), found.counts[:, k], strict=True):
            j = int(np.searchsorted(found.alphas, alpha))
            near = found.counts[max(j - 1, 0) : j + 2, 0]
            violations += not near.min() <= count <= near.max()
    return violations


def run_random(smoke: bool) -> None:
    rows = []
    ratios = np.linspace(0.25, 12.0, 4 if smoke else 48)
    lams = np.linspace(0.0, 3.0, 2 if smoke else 7)
    for coupling, query in QUERIES.items():
        for seed in range(1 if smoke else NUM_HEADS):
            weights, values = random_head(seed)
            gain = 1.0 / WIDTH
            unit = certified_alpha(weights, values, coupling, query, gain)
            found = phase_diagram(
                weights, values, nonlinearity=nonlinearities.log_cosh(), alphas=ratios * unit,
                lams=lams, coupling=coupling, gain=gain, query=query, num_starts=24,
                max_steps=200 if smoke else 2000,
            )  # fmt: skip
            convex = found.alphas[:, None] < 0.999 * unit * (1.0 + lams)
            rows.append({
                "coupling": coupling, "seed": seed, "certified_alpha": unit,
                "onset": onset(found, unit), "violations": scaling_violations(found),
                "lams": lams.tolist(),
                "largest_count": int(found.counts.max()),
                "not_converged": int((found.counts < 0).sum()), "cells": found.counts.size,
                "certified_cells": int(convex.sum()),
                "certified_cells_with_several": int((found.counts[convex] > 1).sum()),
            })  # fmt: skip
            print(rows[-1], flush=True)
            if seed == 0 and not smoke:
                name = HERE / "pictures" / f"phases_{coupling}.png"
                name.parent.mkdir(exist_ok=True)
                title = f"A random {coupling} head gets a second well late"
                draw_phases(name, found, title=title)
    if not smoke:
        draw_one_head()
        write("random", {"rows": rows, "length": LENGTH, "width": WIDTH})


def draw_one_head() -> None:
    """The energy of the first pooled head in a plane through its wells."""
    weights, values = random_head(0)
    F = nonlinearities.log_cosh(2.75 * certified_alpha(weights, values, "pooled", None, 1 / WIDTH))
    options = {"coupling": "pooled", "lam": 0.0, "num_starts": 64, "max_steps": 2000}
    found = head_wells(weights, values, nonlinearity=F, **options)
    draw_wells(HERE / "pictures" / "wells_pooled.png", found)


def run_trained(name: str, folders: list[str]) -> None:
    """Wells of the non-linear heads of runs of several seeds, before and after training."""
    from configs.command_line import load_run_config
    from hopfield_attn.train.trained import load_run

    rows, scores = [], {}
    for folder in folders:
        config, workdir = load_run_config(folder)
        scores[config.seed] = last_scores(workdir)
        trained = load_run(config, workdir)
        for when, run in (("before", untrained(trained)), ("after", trained)):
            rows += [{"seed": config.seed, "when": when, **row} for row in head_rows(run)]
        print(f"{name}: seed {config.seed}, {len(rows)} rows", flush=True)
    model = config.model
    setting = {"heads": model.heads, "coupling": model.coupling, "alpha_init": model.alpha_init}
    found = {**setting, "step": trained.step, "scores": scores, "rows": rows}
    write(f"trained-{name}", found)


def last_scores(folder: Path) -> dict[str, float]:
    """The main metric of a finished run by held-out set."""
    result = read_finished(folder).result
    name = result["main_metric"]
    return {f"{part} {name}": found[name] for part, found in result["evaluations"].items()}


def untrained(run: TrainedRun) -> TrainedRun:
    """The run at step 0: its initial parameters, the pretrained ones among them."""
    from hopfield_attn.models.pretrained import load_weights
    from hopfield_attn.train.state import split_model
    from hopfield_attn.train.tasks import make_model

    model = make_model(run.config)
    if run.config.model.pretrained:
        load_weights(model, run.config.model.pretrained)
    return dataclasses.replace(run, params=split_model(model)[1], step=0)


def head_rows(run: TrainedRun) -> list[dict]:
    """What every non-linear head has on every text, or on as many generated examples."""
    heads = [
        (index, head)
        for index, layer in enumerate(run.definition.bind(run.params).encoder.layers)
        for group in layer.attention.groups
        if group.family != "identity"
        for head in range(group.start, group.stop)
    ]
    return [
        {"text": number, **head_row(trace, query, wells_of(trace, query))}
        for number in range(len(TEXTS))
        for trace, query in traces_of(run, heads, number)
    ]


def traces_of(run: TrainedRun, heads: list[tuple[int, int]], number: int) -> Traces:
    """Heads on a text or example, each with the query whose wells are counted: pooled, ``None``."""
    from hopfield_attn.train.trace_example import example_traces
    from hopfield_attn.train.trace_text import text_traces

    if run.tokenizer is None:
        found = example_traces(run, heads, number=number)
        traces, query = found.traces, int(found.example["positions"][0])
    else:
        traces, query = text_traces(run, TEXTS[number], heads, max_tokens=24), 1
    return [(trace, None if trace.options["coupling"] == "pooled" else query) for trace in traces]


def wells_of(trace: HeadTrace, query: int | None) -> HeadWells:
    """What 64 random starts find, with the α and λ of the head."""
    return head_wells(
        trace.weights, trace.values, nonlinearity=trace.nonlinearity,
        coupling=trace.options["coupling"], lam=float(trace.found.lam), gain=trace.options["gain"],
        query=query, num_starts=64,
    )  # fmt: skip


def head_row(trace: HeadTrace, query: int | None, found: HeadWells) -> dict:
    """Wells that were found, certificate and certified α of one head."""
    coupling, gain = trace.options["coupling"], trace.options["gain"]
    lam = float(trace.found.lam)
    unit = certified_alpha(trace.weights, trace.values, coupling, query, gain)
    return {
        "layer": trace.layer + 1, "head": trace.head + 1,
        "family": trace.nonlinearity.name, "alpha": trace.alpha, "coupling": coupling, "lam": lam,
        "wells": found.wells.num_wells, "converged": found.wells.share("converged"),
        "regime": REGIME_NAMES[int(found.regime.status)],
        "is_certified": bool(found.regime.is_certified),
        "certified_alpha": unit * (1.0 + lam), "distance": float(trace.found.distances[-1]),
    }  # fmt: skip


def run_diagram(name: str, folder: str, layer: int, head: int) -> None:
    """The phases of a trained head, where training has left it, and its wells if it has several."""
    from configs.command_line import load_run_config
    from hopfield_attn.train.trained import load_run

    run = load_run(*load_run_config(folder))
    ((trace, query),) = traces_of(run, [(layer - 1, head - 1)], 0)
    found = wells_of(trace, query)
    row = head_row(trace, query, found)
    at_zero = row["certified_alpha"] / (1.0 + row["lam"])
    furthest = max(4.0 * at_zero, 1.3 * abs(trace.alpha))
    phases = phase_diagram(
        trace.weights, trace.values, nonlinearity=trace.nonlinearity,
        alphas=np.linspace(-0.5 * furthest, furthest, 48),
        lams=np.linspace(0.0, max(3.0, 1.2 * row["lam"]), 7),
        coupling=row["coupling"], gain=trace.options["gain"], query=query, num_starts=24,
        max_steps=2000,
    )  # fmt: skip
    wells = f"{row['wells']} well{'s' * (row['wells'] != 1)}"
    pictures = HERE / "pictures"
    pictures.mkdir(exist_ok=True)
    title = f"Training ended with {wells}: {name}, layer {layer}, head {head}"
    own = (trace.alpha, row["lam"])
    draw_phases(pictures / f"phases_{name}.png", phases, title=title, own=own)
    if row["wells"] > 1:
        title = f"{wells} of a trained head, and the share of starts that end in each"
        draw_wells(pictures / f"wells_{name}.png", found, title=title)


def write(name: str, value: dict) -> None:
    path = HERE / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    write_json(path, value | {"jax": jax.__version__})


def main(arguments: list[str]) -> int:
    smoke = "--smoke" in arguments
    match [argument for argument in arguments if argument != "--smoke"]:
        case ["random"]:
            jax.config.update("jax_enable_x64", True)
            run_random(smoke)
        case ["trained", name, *folders] if folders:
            run_trained(name, folders)
        case ["diagram", name, folder, layer, head]:
            run_diagram(name, folder, int(layer), int(head))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parents[1]))
    sys.exit(main(sys.argv[1:]))
