"""Collects profiles into results/, and writes tables and pictures of the README from results/.

python experiments/02_cost_over_length_and_steps/collect.py PROFILE_FOLDER ...
python experiments/02_cost_over_length_and_steps/collect.py            # tables and pictures only
python experiments/02_cost_over_length_and_steps/collect.py --check    # exit 1 if they are stale
"""

import json
import sys
from pathlib import Path

from experiments.page import run_collector
from hopfield_attn.benchmark.machine import slug_of, title_of
from hopfield_attn.benchmark.plots import draw_profile, pictures_of
from hopfield_attn.benchmark.summary import AUTO, markdown
from hopfield_attn.files import write_json

HERE = Path(__file__).resolve().parent
README = HERE / "README.md"
FLOORS = sorted((HERE / "results").glob("floor-*.json"))
AIMS = {
    (1024, 1, "forward"): 0.70,
    (1024, 3, "forward"): 1.2,
    (1024, 7, "forward"): 2.5,
    (1024, 1, "forward_backward"): 1.35,
    (1024, 3, "forward_backward"): 2.15,
    (1024, 7, "forward_backward"): 4.0,
}
"""(n, T, direction) → the ratio that was aimed at before any of this was written."""
PICTURES = HERE / "pictures"
CAPTIONS = {
    "ratio_over_length": "Time relative to jax.nn attention over the length",
    "ratio_over_steps": "Time relative to jax.nn attention over the steps",
    "memory_over_length": "Temporaries over the length",
}


def collect(folder: Path) -> None:
    """Writes results/DEVICE-VERSION-DTYPE.json from the output folder of scripts/profile."""
    found = json.loads((folder / "profile.json").read_text(encoding="utf-8"))
    settings = found["settings"]
    parts = [slug_of(found["machine"]), settings["dtype"]]
    if settings["batch_heads"]:
        parts.append(f"heads-{settings['batch_heads']}")
    path = HERE / "results" / f"{'-'.join(parts)}.json"
    path.parent.mkdir(exist_ok=True)
    write_json(path, found)


def profiles() -> dict[str, dict]:
    """Name → profile, of everything in results/."""
    paths = sorted(set((HERE / "results").glob("*.json")) - set(FLOORS))
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def part(name: str, profile: dict) -> str:
    """Pictures and tables of one profile."""
    settings, machine = profile["settings"], profile["machine"]
    commands = ", then ".join(f"`{command}`" for command in profile["commands"])
    pictures = [
        f"![{CAPTIONS[picture]}](pictures/{name}_{picture}.png)"
        for picture in pictures_of(profile["cells"])
    ]
    return "\n\n".join(
        [
            f"### {title_of(machine)}",
            f"{commands}; {settings['dtype']}, d = {settings['width']}, "
            f"b·h = {settings['batch_heads'] or '8192/n between 8 and 32'}, "
            f"Python {machine['python']}, flax {machine['flax']}, torch {machine['torch']}.",
            *pictures,
            markdown(profile["cells"]),
        ]
    )


def tables() -> str:
    parts = [part(name, profile) for name, profile in profiles().items()]
    return "\n\n".join(parts) or "Not run yet."


def floor_tables() -> str:
    """Every program beside its products alone, one table a machine."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in FLOORS]
    return "\n\n".join(floor_table(one) for one in found) or "Not run yet."


def floor_table(found: dict) -> str:
    """The rows of one results/floor-MACHINE.json."""
    shape = found["shape"]
    lines = [
        f"{title_of(found['machine'])}; b·h = {shape['batch_heads']}, d = {shape['d']}, "
        f"{shape['dtype']}. A large square product runs at {found['gflops']:.0f} GFLOP/s, a copy "
        f"at {found['copy_gigabytes_a_second']:.0f} GB/s.",
        "",
        "| n | T | direction | ms | products | their ms | their bytes, ms | exponential, ms "
        "| floor | ratio to `jax.nn` | floor's ratio | aim |",
        "|" + " --- |" * 12,
    ]
    for row in found["rows"]:
        floor = row["products_ms"] + row["exponential_ms"]
        own, plain = row["ms"], row["jax_nn_ms"]
        aim = AIMS.get((row["n"], row["T"], row["direction"]))
        lines.append(
            f"| {row['n']} | {row['T']} | {row['direction'].replace('_', ' + ')} | {own:.1f} "
            f"| {row['products']:.1f} | {row['products_ms']:.1f} | {row['bytes_ms']:.1f} "
            f"| {row['exponential_ms']:.1f} | {floor / own:.0%} | {own / plain:.2f} "
            f"| {floor / plain:.2f} | {'–' if aim is None else f'{aim:.2f}'} |"
        )
    return "\n".join(lines)


def ledger_row() -> str:
    """What was found, in one line of the ledger: pooled quadratic heads, ``None`` picks."""
    parts = []
    for profile in profiles().values():
        ratios = {
            (cell["T"], cell["direction"]): f"{cell['ratio']:.2f}"
            for cell in profile["cells"]
            if cell["status"] == "measured"
            and (cell["n"], cell["F"], cell["coupling"]) == (1024, "quadratic", "pooled")
            and cell["implementation"] == AUTO
        }
        steps = [T for T in (1, 3, 7) if (T, "forward") in ratios]
        prices = [f"T={T} {ratios[T, 'forward']} / {ratios[T, 'forward_backward']}" for T in steps]
        if prices:
            parts.append(f"{title_of(profile['machine'])}: {', '.join(prices)}")
    return "plain attentions for one call, n = 1024, forward / with backward; " + "; ".join(parts)


def draw() -> None:
    PICTURES.mkdir(exist_ok=True)
    for name, profile in profiles().items():
        title = title_of(profile["machine"])
        draw_profile(PICTURES, profile["cells"], title=title, prefix=f"{name}_")


if __name__ == "__main__":
    sys.exit(
        run_collector(
            __doc__, README, {"tables": tables, "floor": floor_tables}, collect=collect, draw=draw
        )
    )
