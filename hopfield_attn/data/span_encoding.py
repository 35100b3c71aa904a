"""Marked words as rows of token ids with the places of both, in one text or in a text each."""

from collections.abc import Sequence

import numpy as np
from tokenizers import Tokenizer

from hopfield_attn.data.examples import Span, SpanPair
from hopfield_attn.data.framing import Frame, frame, label_array, pad_frames, truncation
from hopfield_attn.data.source import ArraySource
from hopfield_attn.data.token_spans import tokens_of_span, window_around
from hopfield_attn.data.tokenizer import TokenizedText, encode_with_offsets, special_ids


def encode_span_pairs(
    tokenizer: Tokenizer, examples: Sequence[SpanPair], *, length: int
) -> ArraySource:
    """Encodes examples as ``[CLS] a [SEP]`` or ``[CLS] a [SEP] b [SEP]``, cut around the spans.

    Args:
      tokenizer: any tokenizer with BERT's special tokens, whatever their ids.
      examples: the examples.
      length: tokens in a row, special tokens included.

    Returns:
      A source with ``tokens``, ``mask`` and ``token_types``, each (length,), as of
      ``encode_examples``; ``spans`` (2, 2) int32, the positions [first, last + 1) of each span's
      tokens in the row; and ``labels`` () int32, absent where the examples have none.

    Raises:
      ValueError: there is no example, a span has no token or does not fit into ``length``, or only
        some have a label.

    Example:
      >>> from hopfield_attn.data.tokenizer import train_tokenizer
      >>> tokenizer = train_tokenizer(["a b c d"], vocab_size=261)
      >>> example = SpanPair("a b", (2, 3), "c d", (0, 1), 1)
      >>> encode_span_pairs(tokenizer, [example], length=12)[0]["spans"]
      array([[4, 5],
             [6, 8]], dtype=int32)
    """
    if not examples:
        raise ValueError("expected at least one example, got none")
    ids = special_ids(tokenizer)
    firsts = encode_with_offsets(tokenizer, [example.text1 for example in examples])
    seconds = encode_with_offsets(tokenizer, [example.text2 or "" for example in examples])
    rows = []
    for number, (example, first, second) in enumerate(zip(examples, firsts, seconds, strict=True)):
        encode = _encode_one_text if example.text2 is None else _encode_two_texts
        try:
            rows.append(encode(example, first, second, ids=ids, length=length))
        except ValueError as error:
            raise ValueError(f"example {number}: {error}; length is {length}") from None
    arrays = pad_frames([row for row, _ in rows], length=length, pad_id=ids["[PAD]"])
    arrays["spans"] = np.array([spans for _, spans in rows], dtype=np.int32)
    return ArraySource(arrays | label_array([example.label for example in examples]))


def _encode_one_text(
    example: SpanPair, text: TokenizedText, _: TokenizedText, *, ids: dict[str, int], length: int
) -> tuple[Frame, list[Span]]:
    spans = [_find(text, example.span1), _find(text, example.span2)]
    both = min(start for start, _ in spans), max(stop for _, stop in spans)
    begin, end = window_around(len(text.ids), both, size=length - 2)
    row = frame(text.ids[begin:end], None, ids=ids)
    return row, [_shifted(span, by=1 - begin) for span in spans]


def _encode_two_texts(
    example: SpanPair,
    first: TokenizedText,
    second: TokenizedText,
    *,
    ids: dict[str, int],
    length: int,
) -> tuple[Frame, list[Span]]:
    spans = _find(first, example.span1), _find(second, example.span2)
    sizes = truncation(len(first.ids), len(second.ids), budget=length - 3)
    (begin1, end1), (begin2, end2) = (
        window_around(len(text.ids), span, size=size)
        for text, span, size in zip((first, second), spans, sizes, strict=True)
    )
    row = frame(first.ids[begin1:end1], second.ids[begin2:end2], ids=ids)
    # [CLS] is before the first text, its tokens and [SEP] before the second.
    shifts = 1 - begin1, len(row[0]) - begin2
    return row, [_shifted(span, by=shift) for span, shift in zip(spans, shifts, strict=True)]


def _find(text: TokenizedText, span: Span) -> Span:
    found = tokens_of_span(text.offsets, span)
    if found is None:
        raise ValueError(f"the characters {span[0]} to {span[1]} have no token")
    return found


def _shifted(span: Span, *, by: int) -> Span:
    return span[0] + by, span[1] + by
