"""The generated parts of a page, written or checked."""

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
