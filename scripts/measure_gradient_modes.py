"""Measures time and memory of every gradient mode over T, and writes the table of the docs.

  python scripts/measure_gradient_modes.py            # measures, then writes the table
  python scripts/measure_gradient_modes.py --table    # the table only, from the last measurement

Forward + backward of `attention_descent` (batch 2, heads 4, n = 256, d = 64, quadratic F, float32).
Time is a median relative to mode "unrolled" at the same T; memory is what the compiled program
reserves for temporaries.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

from hopfield_attn import attention_descent, nonlinearities, truncated  # noqa: E402
from hopfield_attn.files import replace_generated, write_json, write_text  # noqa: E402
from hopfield_attn.train.run_folder import versions  # noqa: E402

DOCS = ROOT / "docs" / "mathematics.md"
RESULTS = ROOT / "docs" / "gradient_modes.json"
MODES = {
    "unrolled": "unrolled",
    "rematerialised": "rematerialised",
    "truncated(2)": truncated(2),
    "one_step": "one_step",
    "implicit": "implicit",
}
STEPS = (2, 8, 32)
COUPLINGS = ("pooled", "pairwise")
SHAPE = (2, 256, 4, 64)
REPEATS = 7


def compile_step(mode, num_steps, coupling, arrays):
    def loss(q, k, v):
        found = attention_descent(
            q,
            k,
            v,
            nonlinearity=nonlinearities.quadratic(0.5),
            coupling=coupling,
            lam=1.0,
            num_steps=num_steps,
            gradient_mode=mode,
        )
        return jnp.sum(found.x**2)

    return jax.jit(jax.grad(loss, argnums=(0, 1, 2))).lower(*arrays).compile()


def seconds(program, arrays):
    began = time.perf_counter()
    jax.block_until_ready(program(*arrays))
    return time.perf_counter() - began


def measure():
    arrays = jax.random.normal(jax.random.key(0), (3, *SHAPE))
    rows = []
    for coupling in COUPLINGS:
        for num_steps in STEPS:
            programs = {
                name: compile_step(mode, num_steps, coupling, arrays)
                for name, mode in MODES.items()
            }
            times = {name: [] for name in programs}
            for repeat in range(REPEATS + 1):  # the first round warms up
                for name, program in programs.items():
                    taken = seconds(program, arrays)
                    if repeat:
                        times[name].append(taken)
            for name, program in programs.items():
                median = statistics.median(times[name])
                memory = program.memory_analysis().temp_size_in_bytes / 2**20
                rows.append(
                    {
                        "coupling": coupling,
                        "num_steps": num_steps,
                        "mode": name,
                        "milliseconds": round(1e3 * median, 2),
                        "ratio": round(median / statistics.median(times["unrolled"]), 3),
                        "temporary_mib": round(memory, 1),
                    }
                )
                print(rows[-1], flush=True)
    write_json(RESULTS, {"shape": SHAPE, "versions": versions(), "rows": rows})


def table():
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"]
    found = {(r["coupling"], r["num_steps"], r["mode"]): r for r in rows}
    header = [f"{coupling}, T = {steps}" for coupling in COUPLINGS for steps in STEPS]
    lines = ["| mode | " + " | ".join(header) + " |", "| --- |" + " --- |" * len(header)]
    for mode in MODES:
        cells = [found[coupling, steps, mode] for coupling in COUPLINGS for steps in STEPS]
        texts = [f"{c['ratio']:.2f} / {c['temporary_mib']:.0f}" for c in cells]
        lines.append(f"| {mode} | " + " | ".join(texts) + " |")
    lines += [
        "",
        "Time relative to unrolled at the same T / MiB of temporaries, forward + backward on two "
        "CPU cores, batch 2, 4 heads, n = 256, d = 64, quadratic F, the reference implementation "
        "`autodiff`: "
        "`python scripts/measure_gradient_modes.py`. [implementations.md](implementations.md) has "
        "what the faster ones keep.",
    ]
    return "\n".join(lines)


def main(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", action="store_true", help="do not measure")
    parser.add_argument("--check", action="store_true", help="exit 1 if the table is stale")
    options = parser.parse_args(arguments)
    if not (options.table or options.check):
        measure()
    text = DOCS.read_text(encoding="utf-8")
    updated = replace_generated(text, "gradient modes", table())
    if options.check:
        return int(updated != text)
    write_text(DOCS, updated)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
