"""Which commit of this library is running."""

import subprocess
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
_SECONDS = 10


def source_commit(package: Path = PACKAGE) -> str | None:
    """The git commit that ``package`` was imported from; ``None`` for an installed copy.

    Args:
      package: the folder of the package, directly below the root of its repository.

    Returns:
      40 hex digits, with ``" with changes"`` after them where a tracked file differs from the
      commit, and ``" with unknown changes"`` where git took too long to tell; ``None`` without git,
      or where the folder is no part of a repository of its own.
    """
    root = package.parent
    top = _git(root, "rev-parse", "--show-toplevel")
    # An environment inside some other repository is not that repository's code.
    if top is None or Path(top).resolve() != root.resolve():
        return None
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None or not _git(root, "ls-files", package.name):
        return None
    changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    if changes is None:
        return f"{commit} with unknown changes"
    return f"{commit} with changes" if changes else commit


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, without the white space around it; ``None`` if it fails or is missing."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
