"""Exact match and F1 of answers given as text, by the rules of SQuAD (Rajpurkar et al. 2016, 2018).

Scores are fractions, not percentages. ReCoRD scores its answers by the same rules.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


class AnswerScores(NamedTuple):
    """Scores of one answer, or their means."""

    exact_match: float
    f1: float


def normalise_answer(text: str) -> str:
    """The text in lower case, without ASCII punctuation and English articles, single-spaced.

    Example:
      >>> normalise_answer("The  U.S. (a country)")
      'us country'
    """
    plain = text.lower().translate(_WITHOUT_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", plain).split())


def score_answer(
    prediction: str, answers: Sequence[str], *, allows_no_answer: bool
) -> AnswerScores:
    """Exact match and F1 with the answer to which each is highest.

    F1 is that of the bags of words, 2 · common / (words of both), 0 where nothing is common.

    Args:
      prediction: the predicted text; empty for "no answer".
      answers: the texts that count as right.
      allows_no_answer: the rules of SQuAD 2: answers without a word after normalisation are
        passed over, and where none is left, the right prediction is one without a word, with
        an F1 of 1. Without it the rules of SQuAD 1.1, and of ReCoRD.

    Returns:
      Both scores.

    Raises:
      ValueError: there is no answer and ``allows_no_answer`` is false.

    Example:
      >>> score_answer("the cat sat", ["Cat", "a dog"], allows_no_answer=False)
      AnswerScores(exact_match=0.0, f1=0.6666666666666666)
      >>> score_answer("", [], allows_no_answer=True)
      AnswerScores(exact_match=1.0, f1=1.0)
    """
    predicted = normalise_answer(prediction)
    accepted = [normalise_answer(text) for text in answers]
    if allows_no_answer:
        accepted = [text for text in accepted if text] or [""]
    if not accepted:
        raise ValueError("expected at least one answer, got none")
    is_exact = predicted in accepted
    best = max(_bag_f1(predicted.split(), text.split()) for text in accepted)
    is_right_silence = allows_no_answer and is_exact and not predicted
    return AnswerScores(float(is_exact), 1.0 if is_right_silence else best)


def mean_answer_scores(
    predictions: Sequence[str], answers: Sequence[Sequence[str]], *, allows_no_answer: bool
) -> AnswerScores:
    """Means of :func:`score_answer` over questions.

    Args:
      predictions: one text a question.
      answers: the accepted texts of each question.
      allows_no_answer: as for ``score_answer``.

    Returns:
      Both means.

    Raises:
      ValueError: there is no question, or the numbers of questions differ.

    Example:
      >>> mean_answer_scores(
      ...     ["a cat", "dog"], [["Cat"], ["cow", "big dog"]], allows_no_answer=False)
      AnswerScores(exact_match=0.5, f1=0.8333333333333333)
    """
    if not predictions or len(predictions) != len(answers):
        raise ValueError(
            f"expected as many predictions as questions, at least one; got {len(predictions)} "
            f"and {len(answers)}"
        )
    scores = [
        score_answer(prediction, accepted, allows_no_answer=allows_no_answer)
        for prediction, accepted in zip(predictions, answers, strict=True)
    ]
    return AnswerScores(*np.mean(scores, axis=0).tolist())


def _bag_f1(first: list[str], second: list[str]) -> float:
    common = sum((Counter(first) & Counter(second)).values())
    return 2 * common / (len(first) + len(second)) if common else 0.0
