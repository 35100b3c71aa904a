import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hopfield_attn.data.qa_decoding import answer_text, decode_questions
from hopfield_attn.data.qa_encoding import encode_evaluation_windows, encode_training_windows
from hopfield_attn.data.squad import SpanAnswer, SpanQuestion
from hopfield_attn.data.token_spans import tokens_of_span
from hopfield_attn.data.tokenizer import encode_texts, encode_with_offsets, special_ids

words = st.sampled_from(["cat", "Reading", "42.", "x", "été", "“the”", "it's", "日本", "no"])
gaps = st.sampled_from([" ", "  ", "\n"])


@st.composite
def span_questions(draw):
    pieces = draw(st.lists(st.tuples(words, gaps), min_size=1, max_size=30))
    context = "".join(word + gap for word, gap in pieces)
    first = draw(st.integers(0, len(pieces) - 1))
    last = draw(st.integers(first, min(first + 3, len(pieces) - 1)))
    start = sum(len(word) + len(gap) for word, gap in pieces[:first])
    end = start + sum(len(word) + len(gap) for word, gap in pieces[first : last + 1])
    answer = context[start:end].rstrip()
    asked = draw(st.lists(words, min_size=1, max_size=8).map(" ".join))
    answers = draw(st.sampled_from([(), (SpanAnswer(answer, start),)]))
    return SpanQuestion("id", context, asked, answers)


settings = {"length": 24, "stride": 5, "max_question_tokens": 6}


@given(st.lists(span_questions(), min_size=1, max_size=4))
def test_windows_are_the_question_and_all_of_the_context(any_tokenizer, questions):
    source = encode_evaluation_windows(any_tokenizer, questions, **settings)
    ids = special_ids(any_tokenizer)
    tokens, mask, types, offsets, numbers = (
        source.arrays[name] for name in ("tokens", "mask", "token_types", "offsets", "questions")
    )
    assert sorted(set(numbers.tolist())) == list(range(len(questions)))
    for number, question in enumerate(questions):
        asked, context = encode_texts(any_tokenizer, [question.question, question.context])
        head = [ids["[CLS]"], *asked[:6], ids["[SEP]"]]
        found = {}
        for i in np.flatnonzero(numbers == number):
            used = int(mask[i].sum())
            row = tokens[i, :used].tolist()
            assert row[: len(head)] == head
            assert row[-1] == ids["[SEP]"]
            assert np.all(tokens[i, used:] == ids["[PAD]"])
            assert types[i].tolist() == [0] * len(head) + [1] * (used - len(head)) + [0] * (
                24 - used
            )
            in_context = np.flatnonzero(offsets[i, :, 0] >= 0)
            assert in_context.tolist() == list(range(len(head), used - 1))
            # A window begins a stride after the one before it.
            begin = 5 * len([k for k in range(i) if numbers[k] == number])
            found |= {begin + k: row[p] for k, p in enumerate(in_context)}
        assert [found[k] for k in sorted(found)] == context


@given(st.lists(span_questions(), min_size=1, max_size=4))
def test_answers_go_to_positions_and_back_exactly(any_tokenizer, questions):
    train = encode_training_windows(any_tokenizer, questions, **settings)
    windows = encode_evaluation_windows(any_tokenizer, questions, **settings)
    np.testing.assert_array_equal(train.arrays["tokens"], windows.arrays["tokens"])
    numbers, offsets = windows.arrays["questions"], windows.arrays["offsets"]
    for number, question in enumerate(questions):
        rows = np.flatnonzero(numbers == number)
        starts, ends = train.arrays["starts"][rows], train.arrays["ends"][rows]
        if not question.answers:
            assert not starts.any() and not ends.any()
            continue
        ((text, start),) = question.answers
        assert np.all((starts > 0) == (ends > 0))
        ((_, places),) = encode_with_offsets(any_tokenizer, [question.context])
        begin, stop = tokens_of_span(places, (start, start + len(text)))
        for k, (row, first, last) in enumerate(zip(rows, starts, ends, strict=True)):
            num_tokens = int((offsets[row, :, 0] >= 0).sum())
            has_all = 5 * k <= begin and stop <= 5 * k + num_tokens
            assert (first > 0) == has_all
            if not has_all:
                continue
            assert offsets[row, first, 0] == start
            assert offsets[row, last, 1] == start + len(text)
            # A model that is sure of these two positions answers with this very text.
            one, two = np.zeros((2, 1, 24))
            one[0, first] = two[0, last] = 9.0
            decoded = decode_questions(
                one, two, offsets[[row]], numbers[[row]], num_best=1, max_answer_tokens=24
            )
            assert answer_text(question.context, decoded[number]) == text


def test_empty_context_is_a_window_without_context(tokenizer):
    question = SpanQuestion("id", "", "Who?", ())
    source = encode_evaluation_windows(tokenizer, [question], **settings)
    assert len(source) == 1
    assert np.all(source.arrays["offsets"] == -1)
    assert encode_training_windows(tokenizer, [question], **settings).arrays["starts"] == [0]


def test_what_cannot_be_encoded_is_an_error_with_its_numbers(tokenizer):
    question = SpanQuestion("id", "a", "b", ())
    for encode in (encode_training_windows, encode_evaluation_windows):
        with pytest.raises(ValueError, match="at least one question"):
            encode(tokenizer, [], **settings)
        with pytest.raises(ValueError, match=r"max_question_tokens \+ 4, .* got 9 and 6"):
            encode(tokenizer, [question], length=9, stride=1, max_question_tokens=6)
        with pytest.raises(ValueError, match="stride must be >= 1; got 0"):
            encode(tokenizer, [question], length=12, stride=0, max_question_tokens=6)
