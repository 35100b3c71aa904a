"""Sentences and pairs as rows of token ids, ``[CLS] a [SEP]`` or ``[CLS] a [SEP] b [SEP]``."""

from collections.abc import Sequence

import numpy as np
from tokenizers import Tokenizer

from hopfield_attn.data.framing import frame_cut, label_array, pad_frames
from hopfield_attn.data.glue_tasks import Example
from hopfield_attn.data.source import ArraySource
from hopfield_attn.data.tokenizer import encode_texts, special_ids

_PART_SIZE = 4096
"""Examples tokenised at a time: lists of ids take ten times the memory of the arrays."""


def encode_examples(
    tokenizer: Tokenizer, examples: Sequence[Example], *, length: int
) -> ArraySource:
    """Encodes examples as rows of one length; of a pair, the longer sentence is cut first.

    Args:
      tokenizer: any tokenizer with BERT's special tokens, whatever their ids.
      examples: the examples.
      length: tokens in a row, special tokens included.

    Returns:
      A source with ``tokens`` (length,) int32; ``mask`` (length,) bool, False at ``[PAD]``;
      ``token_types`` (length,) int32, 1 from the second sentence to its ``[SEP]``; and ``labels``
      (), int32 for classes and float32 for scores, absent where the examples have none.

    Raises:
      ValueError: there is no example, ``length`` is too small, or only some have a label.

    Example:
      >>> from hopfield_attn.data.tokenizer import train_tokenizer
      >>> tokenizer = train_tokenizer(["a b c d"], vocab_size=261)
      >>> source = encode_examples(tokenizer, [Example("a b", "c", 1)], length=10)
      >>> for name, array in source[0].items():
      ...     print(name, array.astype(int))
      tokens [  2 225  69 225  70   3 225  71   3   0]
      mask [1 1 1 1 1 1 1 1 1 0]
      token_types [0 0 0 0 0 0 1 1 1 0]
      labels 1
    """
    _check_length(examples, length)
    ids = special_ids(tokenizer)
    parts = [
        _encode_part(tokenizer, examples[start : start + _PART_SIZE], ids=ids, length=length)
        for start in range(0, len(examples), _PART_SIZE)
    ]
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return ArraySource(arrays | label_array([example.label for example in examples]))


def _encode_part(
    tokenizer: Tokenizer, examples: Sequence[Example], *, ids: dict[str, int], length: int
) -> dict[str, np.ndarray]:
    firsts = encode_texts(tokenizer, [example.sentence1 for example in examples])
    seconds = encode_texts(tokenizer, [example.sentence2 or "" for example in examples])
    frames = [
        frame_cut(first, None if example.sentence2 is None else second, ids=ids, length=length)
        for example, first, second in zip(examples, firsts, seconds, strict=True)
    ]
    return pad_frames(frames, length=length, pad_id=ids["[PAD]"])


def _check_length(examples: Sequence[Example], length: int) -> None:
    if not examples:
        raise ValueError("expected at least one example, got none")
    is_pair = any(example.sentence2 is not None for example in examples)
    smallest = 5 if is_pair else 3
    if length < smallest:
        raise ValueError(
            f"length must be at least {smallest} for {'pairs' if is_pair else 'single sentences'}, "
            f"got {length}"
        )
