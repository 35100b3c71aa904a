"""The generated parts of a page, and the command line of the scripts that write them."""

import argparse
from collections.abc import Callable
from pathlib import Path

from hopfield_attn.files import replace_generated, write_text


def update_page(path: Path, parts: dict[str, str], *, check: bool) -> int:
    """Puts each part between its marks; with ``check`` writes nothing.

    Returns:
      The exit code: 1 if ``check`` finds the page stale.
    """
    text = path.read_text(encoding="utf-8")
    updated = text
    for name, content in parts.items():
        updated = replace_generated(updated, name, content)
    if check:
        return int(updated != text)
    write_text(path, updated)
    return 0


def run_collector(
    description: str | None,
    readme: Path,
    parts: dict[str, Callable[[], str]],
    *,
    collect: Callable[[Path], None] | None = None,
    draw: Callable[[], None] | None = None,
) -> int:
    """The main of a collect.py: adds what folders hold to results/, then writes the README.

    The command line has folders, or ``--check``.

    Args:
      description: for ``--help``: the docstring of the script.
      readme: the page; results/ lies beside it.
      parts: name of a generated part of the page → what makes it from results/.
      collect: adds what a folder holds to results/; without it no folder is taken.
      draw: makes the figures from results/; not called where there are none.

    Returns:
      The exit code: 1 if ``--check`` finds the page stale.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if collect:
        parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="of runs")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if stale")
    options = parser.parse_args()
    folders = options.folders if collect else []
    if options.check and folders:
        parser.error("--check writes nothing: give it no folder")
    for folder in folders:
        if not folder.is_dir():
            parser.error(f"expected a folder of runs; there is none at {folder}")
    for folder in folders:
        collect(folder)
    if draw and not options.check and any((readme.parent / "results").glob("*.json")):
        draw()
    return update_page(readme, {name: make() for name, make in parts.items()}, check=options.check)
