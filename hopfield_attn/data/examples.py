"""What the readers return for tasks that are more than one sentence or a pair."""

from typing import NamedTuple

Span = tuple[int, int]
"""Characters [start, end) of a text."""


class ChoiceQuestion(NamedTuple):
    """Which of several choices is right, given a context.

    Attributes:
      context: the premise or the article.
      question: what is asked of it.
      choices: the possible answers.
      label: number of the right one; ``None`` in a test split.
      is_difficult: whether readers in a hurry got it wrong (QuALITY).
    """

    context: str
    question: str
    choices: tuple[str, ...]
    label: int | None
    is_difficult: bool = False


class SpanPair(NamedTuple):
    """Two marked words, in a text each or in the same one.

    Attributes:
      text1: text of the first span.
      span1: the first span.
      text2: text of the second span; ``None`` when that is ``text1`` too.
      span2: the second span.
      label: the class; ``None`` in a test split.
    """

    text1: str
    span1: Span
    text2: str | None
    span2: Span
    label: int | None


class CandidateQuestion(NamedTuple):
    """Which of a question's candidates are right: none, one or several.

    Attributes:
      passage: the text that decides.
      query: the question, or a sentence with ``@placeholder`` for the answer.
      candidates: the possible answers.
      labels: 1 for a right candidate, else 0; ``None`` in a test split.
      answers: the texts that count as right where an answer is scored as text.
    """

    passage: str
    query: str
    candidates: tuple[str, ...]
    labels: tuple[int, ...] | None
    answers: tuple[str, ...] = ()
