"""From logits of first and last tokens to answers as text."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from hopfield_attn.checks import check_count
from hopfield_attn.data.examples import Span


class ScoredSpan(NamedTuple):
    """Characters [start, end) of a context, and the sum of the logits of both ends."""

    start: int
    end: int
    score: float


class DecodedQuestion(NamedTuple):
    """What the windows of one question say.

    Attributes:
      spans: the best spans, the best first; empty where no window has a token of the context.
      null_score: the lowest sum of the logits of ``[CLS]`` among the windows: how much even the
        window that finds most says that there is no answer.
    """

    spans: list[ScoredSpan]
    null_score: float


def decode_questions(
    start_logits: Float[np.ndarray, "windows n"],
    end_logits: Float[np.ndarray, "windows n"],
    offsets: Int[np.ndarray, "windows n 2"],
    questions: Int[np.ndarray, " windows"],
    *,
    num_best: int,
    max_answer_tokens: int,
) -> dict[int, DecodedQuestion]:
    """Finds the spans of each question with the highest start logit + end logit in any window.

    A logit that is not a number is the lowest there is: no span begins or ends there.

    Args:
      start_logits: (windows, n), of the first token of an answer.
      end_logits: (windows, n), of the last token.
      offsets: (windows, n, 2), as of ``encode_evaluation_windows``: −1 outside the context.
      questions: (windows,) the number of each window's question.
      num_best: spans to return for a question, at most; different ones.
      max_answer_tokens: tokens of the longest answer.

    Returns:
      Decoded questions by number, in the order in which they come.

    Raises:
      ValueError: a number is not positive.

    Example:
      >>> start, end = np.zeros((2, 1, 4))
      >>> start[0, 2], end[0, 3] = 5.0, 3.0
      >>> offsets = np.array([[[-1, -1], [0, 2], [3, 5], [6, 9]]])
      >>> decode_questions(
      ...     start, end, offsets, np.array([7]), num_best=1, max_answer_tokens=2)
      {7: DecodedQuestion(spans=[ScoredSpan(start=3, end=9, score=8.0)], null_score=0.0)}
    """
    check_count(1, num_best=num_best, max_answer_tokens=max_answer_tokens)
    best: dict[int, dict[Span, float]] = {}
    null: dict[int, float] = {}
    for window, question in enumerate(questions.tolist()):
        starts, ends = (_lowest_where_nan(side[window]) for side in (start_logits, end_logits))
        null_score = float(starts[0] + ends[0])
        null[question] = min(null.get(question, null_score), null_score)
        found = best.setdefault(question, {})
        for span, score in _best_spans(starts, ends, offsets[window], num_best, max_answer_tokens):
            found[span] = max(found.get(span, score), score)
    return {
        question: DecodedQuestion(_ranked(found)[:num_best], null[question])
        for question, found in best.items()
    }


def answer_text(
    context: str, decoded: DecodedQuestion, *, null_threshold: float | None = None
) -> str:
    """The text of the best span, or nothing where "no answer" scores higher.

    Args:
      context: the context of the question.
      decoded: what its windows say.
      null_threshold: the answer is empty where ``null_score`` is above the best span's score by
        more than this; ``None``: only where there is no span.

    Returns:
      The text.

    Example:
      >>> decoded = DecodedQuestion([ScoredSpan(4, 6, 3.0)], null_score=5.0)
      >>> [answer_text("Mr. Bo", decoded, null_threshold=t) for t in (None, 2.0, 1.0)]
      ['Bo', 'Bo', '']
    """
    if not decoded.spans:
        return ""
    start, end, score = decoded.spans[0]
    if null_threshold is not None and decoded.null_score - score > null_threshold:
        return ""
    return context[start:end]


def _lowest_where_nan(logits: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(logits), -np.inf, logits.astype(np.float64))


def _best_spans(
    starts: np.ndarray, ends: np.ndarray, offsets: np.ndarray, num_best: int, max_tokens: int
) -> list[tuple[Span, float]]:
    """The best spans of one window; every pair of ends that is allowed is compared."""
    context = np.flatnonzero(offsets[:, 0] >= 0)
    if not len(context):
        return []
    first, size = int(context[0]), len(context)
    # No answer begins or ends with white space.
    inside = offsets[first : first + size]
    is_end = inside[:, 1] > inside[:, 0]
    begins = np.where(is_end, starts[first : first + size], -np.inf)
    stops = np.where(is_end, ends[first : first + size], -np.inf)
    # Row k: spans of k + 1 tokens.
    scores = np.full((min(max_tokens, size), size), -np.inf)
    for k, row in enumerate(scores):
        row[: size - k] = begins[: size - k] + stops[k:]
    best: dict[Span, float] = {}
    for index in _descending(scores.ravel(), num_best):
        extra, begin = divmod(index, size)
        span = int(inside[begin, 0]), int(inside[begin + extra, 1])
        best.setdefault(span, float(scores[extra, begin]))
        if len(best) == num_best:
            break
    return list(best.items())


def _descending(scores: np.ndarray, num_best: int) -> Iterator[int]:
    """Places of finite scores, the highest first; the first few come without sorting all."""
    few = 4 * num_best
    if len(scores) > few:
        top = np.argpartition(-scores, few)[:few]
        yield from (int(k) for k in top[np.argsort(-scores[top])] if np.isfinite(scores[k]))
    # Several tokens may be one character: what came was not enough different spans.
    yield from (int(k) for k in np.argsort(-scores) if np.isfinite(scores[k]))


def _ranked(found: dict[Span, float]) -> list[ScoredSpan]:
    """By score, then by place, so that equal scores have one order."""
    spans = [ScoredSpan(*span, score) for span, score in found.items()]
    return sorted(spans, key=lambda span: (-span.score, span.start, span.end))
