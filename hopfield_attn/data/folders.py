"""Finds the files of a task in a local folder, and says what is there when they are missing."""

import os
from pathlib import Path


def find_file(data_dir: str | os.PathLike[str], folder: str, name: str) -> Path:
    """Returns the path of ``data_dir/folder/name``.

    Args:
      data_dir: the folder of all tasks; may begin with ``~``.
      folder: the task's folder in it; ``""`` is ``data_dir`` itself.
      name: the file.

    Returns:
      The path.

    Raises:
      FileNotFoundError: the folder or the file does not exist.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as root:
      ...     Path(root, "RTE").mkdir()
      ...     _ = Path(root, "RTE", "val.jsonl").write_text("{}")
      ...     find_file(root, "RTE", "val.jsonl").name
      'val.jsonl'
    """
    path = find_folder(data_dir, folder) / name
    if not path.is_file():
        found = sorted(entry.name for entry in path.parent.iterdir())
        raise FileNotFoundError(f"expected the file {path}; {path.parent} has {found}")
    return path


def find_folder(data_dir: str | os.PathLike[str], folder: str) -> Path:
    """Returns the path of ``data_dir/folder``.

    Args:
      data_dir: the folder of all tasks; may begin with ``~``.
      folder: the task's folder in it; ``""`` is ``data_dir`` itself.

    Returns:
      The path.

    Raises:
      FileNotFoundError: one of the two does not exist.

    Example:
      >>> find_folder(".", "no-such-folder")
      Traceback (most recent call last):
      FileNotFoundError: expected the folder no-such-folder; . has [...]
    """
    root = Path(data_dir).expanduser()
    path = root / folder
    if not root.is_dir():
        raise FileNotFoundError(f"expected the folder {path}, but {root} does not exist")
    if not path.is_dir():
        found = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
        raise FileNotFoundError(f"expected the folder {path}; {root} has {found}")
    return path
