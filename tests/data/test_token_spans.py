import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hopfield_attn.data.token_spans import characters_of_span, tokens_of_span, window_around
from hopfield_attn.data.tokenizer import encode_texts, encode_with_offsets

gaps = st.sampled_from([" ", "  ", "\n", "\t ", "\u00a0", "\u2003"])
words = st.text(st.sampled_from("abcRT.é日🙂ñ'"), min_size=1, max_size=6) | st.sampled_from(
    ["cat", "reading", "e\u0301te", "cafe\u0301", "ﬁne", "İstanbul", "x" * 40]
)
spaced = st.lists(st.tuples(words, gaps), min_size=1, max_size=10)


@given(spaced, st.data())
def test_words_go_to_tokens_and_back_exactly(any_tokenizer, pairs, data):
    text = "".join(gap + word for word, gap in pairs)
    first = data.draw(st.integers(0, len(pairs) - 1))
    last = data.draw(st.integers(first, len(pairs) - 1))
    places, end = [], 0
    for word, gap in pairs:
        start = end + len(gap)
        end = start + len(word)
        places.append((start, end))
    span = places[first][0], places[last][1]
    ((ids, offsets),) = encode_with_offsets(any_tokenizer, [text])
    assert offsets.shape == (len(ids), 2)
    assert [ids] == encode_texts(any_tokenizer, [text])
    found = tokens_of_span(offsets, span)
    assert characters_of_span(offsets, found) == span
    # No token outside has a character of the span.
    outside = [*range(found[0]), *range(found[1], len(ids))]
    assert all(offsets[i, 1] <= span[0] or offsets[i, 0] >= span[1] for i in outside)


@given(spaced)
def test_tokens_are_in_order_and_have_no_white_space_around(any_tokenizer, pairs):
    text = "".join(word + gap for word, gap in pairs)
    ((_, offsets),) = encode_with_offsets(any_tokenizer, [text])
    assert np.all(offsets[:, 0] <= offsets[:, 1])
    assert np.all(np.diff(offsets[:, 0]) >= 0)
    for start, end in offsets:
        assert text[start:end] == text[start:end].strip()


@given(spaced)
def test_tokens_have_every_character_that_is_no_white_space(any_tokenizer, pairs):
    text = "".join(word + gap for word, gap in pairs)
    ((_, offsets),) = encode_with_offsets(any_tokenizer, [text])
    covered = {k for start, end in offsets for k in range(start, end)}
    assert covered == {k for k, character in enumerate(text) if not character.isspace()}


def test_empty_text_has_no_token(any_tokenizer):
    ((ids, offsets),) = encode_with_offsets(any_tokenizer, [""])
    assert (ids, offsets.shape) == ([], (0, 2))
    assert tokens_of_span(offsets, (0, 5)) is None


@given(st.integers(1, 30), st.integers(1, 40), st.data())
def test_window_has_the_span_and_is_as_long_and_as_central_as_it_can_be(num_tokens, size, data):
    start = data.draw(st.integers(0, num_tokens - 1))
    stop = data.draw(st.integers(start + 1, num_tokens))
    if stop - start > size:
        with pytest.raises(
            ValueError, match=f"{start} to {stop} do not fit into a window of {size}"
        ):
            window_around(num_tokens, (start, stop), size=size)
        return
    begin, end = window_around(num_tokens, (start, stop), size=size)
    assert end - begin == min(size, num_tokens)
    assert 0 <= begin <= start < stop <= end <= num_tokens
    before, after = start - begin, end - stop
    if abs(before - after) > 1:
        assert begin == 0 or end == num_tokens
