import numpy as np
import pytest

from hopfield_attn.data.qa_decoding import (
    DecodedQuestion,
    ScoredSpan,
    answer_text,
    decode_questions,
)

pytestmark = pytest.mark.core


def random_windows(rng):
    """Windows of three questions on random contexts; some tokens share characters or have none."""
    num_windows, length = int(rng.integers(1, 6)), int(rng.integers(3, 12))
    offsets = np.full((num_windows, length, 2), -1)
    for window in offsets:
        first, stop = sorted(rng.integers(1, length + 1, size=2))
        place = int(rng.integers(5))
        for position in range(first, stop):
            width = int(rng.integers(3))
            window[position] = place, place + width
            place += width * int(rng.integers(2)) + int(rng.integers(2))
    logits = rng.normal(size=(2, num_windows, length)).astype(np.float32)
    return *logits, offsets, rng.integers(3, size=num_windows)


def naive_spans(start_logits, end_logits, offsets, max_answer_tokens):
    """Every allowed pair of positions in turn."""
    scores = {}
    for first, (start, first_end) in enumerate(offsets):
        for last, (last_start, end) in enumerate(offsets):
            is_context = start >= 0 and last_start >= 0
            is_white = start == first_end or last_start == end
            if is_context and not is_white and 0 <= last - first < max_answer_tokens:
                score = float(start_logits[first]) + float(end_logits[last])
                span = int(start), int(end)
                scores[span] = max(score, scores.get(span, -np.inf))
    return scores


def test_best_spans_are_those_of_the_search_over_all_pairs():
    rng = np.random.default_rng(0)
    for _ in range(2000):
        starts, ends, offsets, questions = random_windows(rng)
        num_best, longest = int(rng.integers(1, 8)), int(rng.integers(1, 12))
        decoded = decode_questions(
            starts, ends, offsets, questions, num_best=num_best, max_answer_tokens=longest
        )
        assert set(decoded) == set(questions.tolist())
        for question, (spans, null_score) in decoded.items():
            rows = np.flatnonzero(questions == question)
            scores = {}
            for row in rows:
                for span, score in naive_spans(
                    starts[row], ends[row], offsets[row], longest
                ).items():
                    scores[span] = max(score, scores.get(span, -np.inf))
            expected = sorted(scores.items(), key=lambda item: -item[1])[:num_best]
            assert [(span.start, span.end) for span in spans] == [span for span, _ in expected]
            np.testing.assert_allclose([span.score for span in spans], [s for _, s in expected])
            nulls = [float(starts[row, 0]) + float(ends[row, 0]) for row in rows]
            assert null_score == pytest.approx(min(nulls))


def test_no_answer_needs_a_null_score_above_the_best_by_more_than_the_threshold():
    decoded = DecodedQuestion([ScoredSpan(0, 3, 2.0), ScoredSpan(4, 7, 1.0)], null_score=2.5)
    texts = {
        threshold: answer_text("one two", decoded, null_threshold=threshold)
        for threshold in (None, 1.0, 0.5, 0.25, 0.0)
    }
    assert texts == {None: "one", 1.0: "one", 0.5: "one", 0.25: "", 0.0: ""}
    assert answer_text("one two", DecodedQuestion([], -9.0)) == ""


def test_no_span_begins_or_ends_where_a_logit_is_not_a_number():
    """A run whose last parameters are bad is scored all the same: badly, as it should be."""
    offsets = np.array([[[-1, -1], [0, 3], [4, 7], [8, 11]]] * 2)
    starts, ends = np.zeros((2, 2, 4))
    starts[0, 1], ends[0, 3], ends[0, 2] = np.nan, np.nan, 5.0
    starts[1] = np.nan
    found = decode_questions(
        starts, ends, offsets, np.array([0, 1]), num_best=9, max_answer_tokens=3
    )
    assert [(span.start, span.end) for span in found[0].spans] == [(4, 7)]
    assert found[1].spans == []
    assert answer_text("one two six", found[1], null_threshold=0.0) == ""


def test_counts_have_to_be_positive():
    offsets, questions, good = np.zeros((1, 2, 2), int), np.zeros(1, int), np.zeros((1, 2))
    with pytest.raises(ValueError, match="num_best must be >= 1; got 0"):
        decode_questions(good, good, offsets, questions, num_best=0, max_answer_tokens=1)
