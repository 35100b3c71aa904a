"""Reads SQuAD 1.1 and 2.0: questions whose answer is a span of a context, or (2.0) is not there."""

import os
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hopfield_attn.checks import check_choice, check_count
from hopfield_attn.data.folders import find_file
from hopfield_attn.data.json_fields import JsonObject, column_name, read_field, read_objects
from hopfield_attn.files import parse_object


class SpanAnswer(NamedTuple):
    """An answer: its text, and the character of the context at which it begins."""

    text: str
    start: int


class SpanQuestion(NamedTuple):
    """A question on a context.

    Attributes:
      question_id: its name in the file.
      context: the text that is asked about.
      question: the question.
      answers: the spans that count as right; none where the context does not say.
    """

    question_id: str
    context: str
    question: str
    answers: tuple[SpanAnswer, ...]


class SquadVersion(NamedTuple):
    """The files of a version, by split, and whether a context may leave a question open."""

    files: dict[str, str]
    allows_no_answer: bool


SQUAD_VERSIONS: dict[str, SquadVersion] = {
    "squad": SquadVersion({"train": "train-v1.1.json", "dev": "dev-v1.1.json"}, False),
    "squad_v2": SquadVersion({"train": "train-v2.0.json", "dev": "dev-v2.0.json"}, True),
}


def read_squad(
    data_dir: str | os.PathLike[str], version: str, split: str, *, max_bad_rows: int = 0
) -> tuple[list[SpanQuestion], list[str]]:
    """Reads one split.

    Args:
      data_dir: the folder with the files of ``SQUAD_VERSIONS``; may begin with ``~``.
      version: "squad" (1.1) or "squad_v2" (2.0).
      split: "train" or "dev".
      max_bad_rows: how many bad questions to leave out before one is an error; a bad paragraph or
        article counts as one.

    Returns:
      The questions in the order of the file, and one line ``FILE column NAME: reason`` for each
      left out; the name is the way through the file's one object.

    Raises:
      ValueError: unknown version or split, a file that is no JSON, the bad question after
        ``max_bad_rows``, or no usable question.
      FileNotFoundError: the folder or the file does not exist.

    Example:
      >>> import json, tempfile
      >>> entry = {"id": "q", "question": "Who?", "answers": [{"text": "Bo", "answer_start": 4}]}
      >>> paragraphs = [{"context": "Mr. Bo", "qas": [entry]}]
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = Path(folder, "dev-v1.1.json")
      ...     _ = path.write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
      ...     read_squad(folder, "squad", "dev")[0][0].answers
      (SpanAnswer(text='Bo', start=4),)
    """
    check_choice("SQuAD version", version, SQUAD_VERSIONS)
    spec = SQUAD_VERSIONS[version]
    check_choice(f"split of {version}", split, spec.files)
    check_count(0, max_bad_rows=max_bad_rows)
    path = find_file(data_dir, "", spec.files[split])
    questions: list[SpanQuestion] = []
    skipped: list[str] = []
    for row in _read_rows(path, allows_no_answer=spec.allows_no_answer):
        if isinstance(row, SpanQuestion):
            questions.append(row)
            continue
        skipped.append(f"{path} {row}")
        if len(skipped) > max_bad_rows:
            raise ValueError(skipped[-1])
    if not questions:
        raise ValueError(f"{path} column data: the file has no usable question")
    return questions, skipped


def _read_rows(path: Path, *, allows_no_answer: bool) -> Iterator[SpanQuestion | str]:
    """Yields each question, or what is wrong with it or with what it stands in."""
    try:
        articles = read_objects(parse_object(path.read_bytes()), "data")
    except ValueError as error:
        raise ValueError(f"{path} {error}") from None
    for place, article in articles:
        try:
            paragraphs = read_objects(article, "paragraphs", inside=place)
        except ValueError as error:
            yield str(error)
            continue
        for inside, paragraph in paragraphs:
            yield from _read_paragraph(paragraph, inside, allows_no_answer=allows_no_answer)


def _read_paragraph(
    paragraph: JsonObject, place: str, *, allows_no_answer: bool
) -> Iterator[SpanQuestion | str]:
    try:
        context = read_field(paragraph, "context", str, inside=place)
        entries = read_objects(paragraph, "qas", inside=place)
    except ValueError as error:
        yield str(error)
        return
    for inside, entry in entries:
        try:
            yield parse_question(entry, context, inside, allows_no_answer=allows_no_answer)
        except ValueError as error:
            yield str(error)


def parse_question(
    entry: dict[str, Any], context: str, place: str, *, allows_no_answer: bool
) -> SpanQuestion:
    """One question of a file, checked against its context.

    Args:
      entry: its object: ``id``, ``question``, ``answers`` and, in 2.0, ``is_impossible``.
      context: the text that is asked about.
      place: where the object is.
      allows_no_answer: whether the context may leave it open.

    Raises:
      ValueError: ``column NAME: reason``.
    """
    is_open = "is_impossible" in entry and read_field(entry, "is_impossible", bool, inside=place)
    if is_open and not allows_no_answer:
        column = column_name("is_impossible", inside=place)
        raise ValueError(f"column {column}: true, in a version where it cannot be")
    # What an open question lists beside its answers are wrong ones that look right.
    answers = [] if is_open else read_objects(entry, "answers", inside=place)
    if not answers and not is_open:
        column = column_name("answers", inside=place)
        raise ValueError(f"column {column}: expected at least one answer, got none")
    return SpanQuestion(
        question_id=read_field(entry, "id", str, inside=place),
        context=context,
        question=read_field(entry, "question", str, inside=place).strip(),
        answers=tuple(_parse_answer(answer, context, inside) for inside, answer in answers),
    )


def _parse_answer(answer: JsonObject, context: str, place: str) -> SpanAnswer:
    text = read_field(answer, "text", str, inside=place)
    start = read_field(answer, "answer_start", int, inside=place)
    found = context[start : start + len(text)] if start >= 0 else ""
    if not text or found != text:
        raise ValueError(
            f"column {place}.answer_start: the context has {reprlib.repr(found)} at {start}, "
            f"expected {reprlib.repr(text)}"
        )
    return SpanAnswer(text, start)
