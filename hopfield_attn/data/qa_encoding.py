"""Questions on a context as windows of token ids, ``[CLS] question [SEP] context [SEP]``."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32
from tokenizers import Tokenizer

from hopfield_attn.data.examples import Span
from hopfield_attn.data.framing import Frame, frame, pad_frames
from hopfield_attn.data.source import ArraySource
from hopfield_attn.data.squad import SpanQuestion
from hopfield_attn.data.token_spans import tokens_of_span
from hopfield_attn.data.tokenizer import (
    TokenizedText,
    encode_texts,
    encode_with_offsets,
    special_ids,
)
from hopfield_attn.data.windows import windows_of


def encode_training_windows(
    tokenizer: Tokenizer,
    questions: Sequence[SpanQuestion],
    *,
    length: int,
    stride: int,
    max_question_tokens: int,
) -> ArraySource:
    """Encodes one row a window, labelled with the tokens of the question's first answer.

    Args:
      tokenizer: any tokenizer with BERT's special tokens, whatever their ids.
      questions: the questions.
      length: tokens in a row, special tokens included.
      stride: tokens of the context from the start of one window to that of the next.
      max_question_tokens: tokens after which a question is cut.

    Returns:
      A source with ``tokens``, ``mask`` and ``token_types``, each (length,), as of
      ``encode_examples``; and ``starts`` and ``ends`` () int32, the positions of the answer's first
      and last token, both 0 (``[CLS]``) where a window does not have the whole answer.

    Raises:
      ValueError: there is no question, a number is not positive, or ``length`` leaves a window no
        token of the context.

    Example:
      >>> from hopfield_attn.data.squad import SpanAnswer
      >>> from hopfield_attn.data.tokenizer import train_tokenizer
      >>> tokenizer = train_tokenizer(["a b c d"], vocab_size=261)
      >>> question = SpanQuestion("id", "a b c", "d", (SpanAnswer("b", 2),))
      >>> source = encode_training_windows(
      ...     tokenizer, [question], length=9, stride=4, max_question_tokens=2)
      >>> source.arrays["starts"], source.arrays["ends"]
      (array([7, 0], dtype=int32), array([7, 0], dtype=int32))
    """
    rows = list(_windows(tokenizer, questions, length, stride, max_question_tokens))
    labels = [_answer_positions(row, questions[row.question]) for row in rows]
    starts, ends = np.array(labels, dtype=np.int32).T
    pad_id = special_ids(tokenizer)["[PAD]"]
    arrays = pad_frames([row.frame for row in rows], length=length, pad_id=pad_id)
    return ArraySource(arrays | {"starts": starts, "ends": ends})


def encode_evaluation_windows(
    tokenizer: Tokenizer,
    questions: Sequence[SpanQuestion],
    *,
    length: int,
    stride: int,
    max_question_tokens: int,
) -> ArraySource:
    """Encodes one row a window, with what it takes to turn positions into text again.

    Args:
      tokenizer: as for ``encode_training_windows``.
      questions: the questions.
      length: as for ``encode_training_windows``.
      stride: as for ``encode_training_windows``.
      max_question_tokens: as for ``encode_training_windows``.

    Returns:
      A source with ``tokens``, ``mask`` and ``token_types`` as of ``encode_training_windows``;
      ``offsets`` (length, 2) int32, the characters [start, end) of the context at each position,
      −1 at positions that are no token of it; and ``questions`` () int32, the question's number.

    Raises:
      ValueError: as for ``encode_training_windows``.
    """
    rows = list(_windows(tokenizer, questions, length, stride, max_question_tokens))
    pad_id = special_ids(tokenizer)["[PAD]"]
    offsets = np.full((len(rows), length, 2), -1, dtype=np.int32)
    for i, row in enumerate(rows):
        first = len(row.frame[0])
        offsets[i, first : first + len(row.offsets)] = row.offsets
    arrays = pad_frames([row.frame for row in rows], length=length, pad_id=pad_id)
    numbers = np.array([row.question for row in rows], dtype=np.int32)
    return ArraySource(arrays | {"offsets": offsets, "questions": numbers})


class _Window(NamedTuple):
    """A row: number of its question, its tokens, and the tokens of the context that it has."""

    question: int
    frame: Frame
    context: TokenizedText
    span: Span

    @property
    def offsets(self) -> Int32[np.ndarray, "tokens 2"]:
        return self.context.offsets[slice(*self.span)]


def _windows(
    tokenizer: Tokenizer,
    questions: Sequence[SpanQuestion],
    length: int,
    stride: int,
    max_question_tokens: int,
) -> Iterator[_Window]:
    if not questions:
        raise ValueError("expected at least one question, got none")
    if max_question_tokens < 1 or length < max_question_tokens + 4:
        raise ValueError(
            "length must be at least max_question_tokens + 4, for one token of the context and "
            f"three special ones, got {length} and {max_question_tokens}"
        )
    ids = special_ids(tokenizer)
    # Several questions share a context.
    texts = list(dict.fromkeys(question.context for question in questions))
    contexts = dict(zip(texts, encode_with_offsets(tokenizer, texts), strict=True))
    asked = encode_texts(tokenizer, [question.question for question in questions])
    for number, (question, tokens) in enumerate(zip(questions, asked, strict=True)):
        context, kept = contexts[question.context], tokens[:max_question_tokens]
        for span in windows_of(len(context.ids), size=length - 3 - len(kept), stride=stride):
            row = frame(kept, context.ids[slice(*span)], ids=ids)
            yield _Window(number, row, context, span)


def _answer_positions(row: _Window, question: SpanQuestion) -> tuple[int, int]:
    if not question.answers:
        return 0, 0
    text, start = question.answers[0]
    found = tokens_of_span(row.context.offsets, (start, start + len(text)))
    begin, end = row.span
    if found is None or found[0] < begin or found[1] > end:
        return 0, 0
    shift = len(row.frame[0]) - begin
    return found[0] + shift, found[1] - 1 + shift
