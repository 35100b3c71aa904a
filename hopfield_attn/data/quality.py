"""Reads QuALITY (Pang et al. 2022): multiple choice on articles of several thousand words."""

import functools
import os
from pathlib import Path

from hopfield_attn.checks import check_choice
from hopfield_attn.data.examples import ChoiceQuestion
from hopfield_attn.data.folders import find_folder
from hopfield_attn.data.json_fields import JsonObject, read_class, read_field, read_objects
from hopfield_attn.data.json_lines import read_json_lines

QUALITY_SPLITS = ("train", "dev", "test")
NUM_OPTIONS = 4

_WITHOUT_MARKUP = "htmlstripped"


def read_quality(
    data_dir: str | os.PathLike[str], split: str, *, max_bad_rows: int = 0
) -> tuple[list[ChoiceQuestion], list[str]]:
    """Reads one split.

    Args:
      data_dir: the folder with ``QuALITY.VERSION.train`` and so on, or ``train.jsonl``; of two
        versions of a split the one without HTML is read. May begin with ``~``.
      split: "train", "dev" or "test".
      max_bad_rows: how many bad lines (an article with its questions) to leave out before one is
        an error.

    Returns:
      The questions in the order of the file, and one line ``FILE:LINE column NAME: reason`` for
      each line left out; a test split has no labels.

    Raises:
      ValueError: unknown split, several files for it, the bad line after ``max_bad_rows``, or no
        usable line.
      FileNotFoundError: the folder or the file does not exist.

    Example:
      >>> import json, tempfile
      >>> entry = {"question": "Who?", "options": ["Al", "Bo", "Cy", "Di"], "gold_label": 2,
      ...          "difficult": 1}
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = Path(folder, "QuALITY.v1.0.1.dev")
      ...     _ = path.write_text(json.dumps({"article": "Bo.", "questions": [entry]}))
      ...     read_quality(folder, "dev")[0]
      [ChoiceQuestion(context='Bo.', question='Who?', choices=('Al', 'Bo', 'Cy', 'Di'), label=1,
                      is_difficult=True)]
    """
    check_choice("split of quality", split, QUALITY_SPLITS)
    path = _split_file(find_folder(data_dir, ""), split)
    parse = functools.partial(parse_article, labelled=split != "test")
    return read_json_lines(path, parse, max_bad_rows=max_bad_rows)


def _split_file(folder: Path, split: str) -> Path:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    found = [p for p in files if p.name == f"{split}.jsonl" or p.name.endswith(f".{split}")]
    plain = [path for path in found if _WITHOUT_MARKUP in path.name] or found
    if not plain:
        names = [path.name for path in files]
        raise FileNotFoundError(
            f"expected the file {folder / split}.jsonl or {folder}/QuALITY.VERSION.{split}; "
            f"{folder} has {names}"
        )
    if len(plain) > 1:
        raise ValueError(f"{folder} has several files for {split}: {[p.name for p in plain]}")
    return plain[0]


def parse_article(row: JsonObject, *, labelled: bool) -> list[ChoiceQuestion]:
    """The questions of one line; raises ``ValueError``, which begins with ``column NAME:``."""
    article = read_field(row, "article", str).strip()
    return [
        _parse_question(entry, article, place, labelled=labelled)
        for place, entry in read_objects(row, "questions")
    ]


def _parse_question(
    entry: JsonObject, article: str, place: str, *, labelled: bool
) -> ChoiceQuestion:
    options = read_field(entry, "options", list, inside=place)
    if len(options) != NUM_OPTIONS:
        raise ValueError(
            f"column {place}.options: expected {NUM_OPTIONS} options, got {len(options)}"
        )
    texts = {f"options[{k}]": option for k, option in enumerate(options)}
    label = None
    if labelled:
        label = read_class(entry, "gold_label", range(1, NUM_OPTIONS + 1), inside=place)
    return ChoiceQuestion(
        context=article,
        question=read_field(entry, "question", str, inside=place).strip(),
        choices=tuple(read_field(texts, name, str, inside=place).strip() for name in texts),
        label=label,
        is_difficult=bool(read_class(entry, "difficult", (0, 1), inside=place)),
    )
