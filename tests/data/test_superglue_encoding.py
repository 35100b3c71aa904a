import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hopfield_attn.data.candidate_encoding import encode_candidates
from hopfield_attn.data.choice_encoding import encode_choices
from hopfield_attn.data.examples import CandidateQuestion, ChoiceQuestion, SpanPair
from hopfield_attn.data.glue_encoding import encode_examples
from hopfield_attn.data.glue_tasks import Example
from hopfield_attn.data.span_encoding import encode_span_pairs
from hopfield_attn.data.tokenizer import encode_texts, special_ids

words = st.lists(st.sampled_from(["the", "cat", "Reading", "x"]), min_size=1, max_size=12)
sentences = words.map(" ".join)


@given(st.lists(st.tuples(sentences, sentences, sentences, sentences), min_size=1, max_size=4))
def test_every_choice_is_the_pair_of_context_and_question_with_choice(any_tokenizer, rows):
    questions = [
        ChoiceQuestion(context, question, choices, i % 2)
        for i, (context, question, *choices) in enumerate(rows)
    ]
    questions = [question._replace(choices=tuple(question.choices)) for question in questions]
    source = encode_choices(any_tokenizer, questions, length=16)
    assert source.arrays["labels"].tolist() == [i % 2 for i in range(len(rows))]
    assert source.arrays["tokens"].shape == (len(rows), 2, 16)
    for i, (context, question, *choices) in enumerate(rows):
        for k, choice in enumerate(choices):
            pair = Example(context, f"{question} {choice}", None)
            expected = encode_examples(any_tokenizer, [pair], length=16)[0]
            for name, column in expected.items():
                np.testing.assert_array_equal(source[i][name][k], column)


def test_choices_that_cannot_be_encoded_are_an_error(tokenizer):
    two = ChoiceQuestion("a", "b", ("c", "d"), 0)
    three = ChoiceQuestion("a", "b", ("c", "d", "e"), 0)
    with pytest.raises(ValueError, match=r"the same number of choices, got \[2, 3\]"):
        encode_choices(tokenizer, [two, three, two], length=9)
    with pytest.raises(ValueError, match="at least one question"):
        encode_choices(tokenizer, [], length=9)
    with pytest.raises(ValueError, match="only 1 of 2 examples have a label"):
        encode_choices(tokenizer, [two, two._replace(label=None)], length=9)
    assert "labels" not in encode_choices(tokenizer, [two._replace(label=None)], length=9).arrays


def test_candidates_are_rows_grouped_by_question(any_tokenizer):
    questions = [
        CandidateQuestion(
            "Bo ran.", "@placeholder and @placeholder.", ("Bo", "Al", "Cy"), (1, 0, 1)
        ),
        CandidateQuestion("The cat.", "What is it?", ("a cat",), (1,)),
        CandidateQuestion("The cat.", "Who?", ("me", "the cat"), (0, 1)),
    ]
    source = encode_candidates(any_tokenizer, questions, length=24)
    expected = [
        Example("Bo ran.", "Bo and Bo.", 1),
        Example("Bo ran.", "Al and Al.", 0),
        Example("Bo ran.", "Cy and Cy.", 1),
        Example("The cat.", "What is it? a cat", 1),
        Example("The cat.", "Who? me", 0),
        Example("The cat.", "Who? the cat", 1),
    ]
    rows = encode_examples(any_tokenizer, expected, length=24)
    for name, column in rows.arrays.items():
        np.testing.assert_array_equal(source.arrays[name], column)
    assert source.arrays["groups"].tolist() == [0, 0, 0, 1, 2, 2]
    assert source.arrays["candidates"].tolist() == [0, 1, 2, 0, 0, 1]
    unlabelled = [question._replace(labels=None) for question in questions]
    assert "labels" not in encode_candidates(any_tokenizer, unlabelled, length=24).arrays


def place_of(sentence, index):
    start = len(" ".join(sentence[:index])) + (index > 0)
    return start, start + len(sentence[index])


def tokens_of(tokenizer, text):
    return encode_texts(tokenizer, [text])[0]


def without_space(tokenizer, tokens):
    """The tokens without one for the space before a word, which belongs to no word."""
    space = tokenizer.token_to_id("Ġ")
    return tokens[1:] if tokens[0] == space else tokens


def assert_are_those_of(tokenizer, tokens, word):
    expected = without_space(tokenizer, tokens_of(tokenizer, word))
    assert without_space(tokenizer, tokens.tolist()) == expected


@given(words, words, st.integers(14, 50), st.data())
def test_spans_of_two_texts_are_the_tokens_of_their_words(
    any_tokenizer, first, second, length, data
):
    i, k = (data.draw(st.integers(0, len(text) - 1)) for text in (first, second))
    example = SpanPair(
        " ".join(first), place_of(first, i), " ".join(second), place_of(second, k), 1
    )
    row = encode_span_pairs(any_tokenizer, [example], length=length)[0]
    for (start, stop), word, type_id in zip(
        row["spans"], (first[i], second[k]), (0, 1), strict=True
    ):
        assert_are_those_of(any_tokenizer, row["tokens"][start:stop], word)
        assert set(row["token_types"][start:stop].tolist()) == {type_id}
    ids = special_ids(any_tokenizer)
    used = int(row["mask"].sum())
    whole = sum(len(tokens_of(any_tokenizer, " ".join(text))) for text in (first, second))
    assert used == min(length, whole + 3)
    assert row["tokens"][0] == ids["[CLS]"]
    assert (row["tokens"] == ids["[SEP]"]).sum() == 2
    assert row["tokens"][used - 1] == ids["[SEP]"]
    assert np.all(row["tokens"][used:] == ids["[PAD]"])


@given(words, st.data())
def test_spans_of_one_text_are_kept_when_it_is_cut(any_tokenizer, text, data):
    i, k = (data.draw(st.integers(0, len(text) - 1)) for _ in range(2))
    example = SpanPair(" ".join(text), place_of(text, i), None, place_of(text, k), 0)
    between = " ".join(text[min(i, k) : max(i, k) + 1])
    num_tokens = len(tokens_of(any_tokenizer, between))
    row = encode_span_pairs(any_tokenizer, [example], length=num_tokens + 4)[0]
    for (start, stop), word in zip(row["spans"], (text[i], text[k]), strict=True):
        assert_are_those_of(any_tokenizer, row["tokens"][start:stop], word)
    assert not row["token_types"].any()
    assert row["tokens"][row["mask"]][-1] == special_ids(any_tokenizer)["[SEP]"]
    with pytest.raises(ValueError, match=f"example 0: the tokens .*; length is {num_tokens}$"):
        encode_span_pairs(any_tokenizer, [example], length=num_tokens)


def test_span_pairs_that_cannot_be_encoded_are_an_error(tokenizer):
    good = SpanPair("a b", (0, 1), None, (2, 3), 1)
    with pytest.raises(ValueError, match="at least one example"):
        encode_span_pairs(tokenizer, [], length=9)
    with pytest.raises(ValueError, match="example 1: the characters 1 to 2 have no token"):
        encode_span_pairs(tokenizer, [good, good._replace(span2=(1, 2))], length=9)
