"""Sentences and pairs as rows of token ids, ``[CLS] a [SEP]`` or ``[CLS] a [SEP] b [SEP]``."""

from collections.abc import Sequence

import numpy as np
from tokenizers import Tokenizer

from hopfield_attn.data.glue_tasks import Example
from hopfield_attn.data.source import ArraySource
from hopfield_attn.data.tokenizer import encode_texts, special_ids


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
    firsts = encode_texts(tokenizer, [example.sentence1 for example in examples])
    seconds = encode_texts(tokenizer, [example.sentence2 or "" for example in examples])
    tokens = np.full((len(examples), length), ids["[PAD]"], dtype=np.int32)
    mask = np.zeros((len(examples), length), dtype=np.bool_)
    token_types = np.zeros((len(examples), length), dtype=np.int32)
    for i, (example, first, second) in enumerate(zip(examples, firsts, seconds, strict=True)):
        head, tail = _frame(
            first, None if example.sentence2 is None else second, ids=ids, length=length
        )
        end = len(head) + len(tail)
        tokens[i, :end] = head + tail
        mask[i, :end] = True
        token_types[i, len(head) : end] = 1
    arrays = {"tokens": tokens, "mask": mask, "token_types": token_types}
    return ArraySource(arrays | _label_array(examples))


def truncation(num_first: int, num_second: int, *, budget: int) -> tuple[int, int]:
    """Returns how many tokens of each sentence fit when the longer one is cut first.

    Args:
      num_first: tokens of the first sentence.
      num_second: tokens of the second sentence.
      budget: tokens that both may have together.

    Returns:
      The numbers to keep; of two sentences cut to the same size, the first keeps the odd token.

    Example:
      >>> truncation(10, 3, budget=8), truncation(10, 9, budget=7)
      ((5, 3), (4, 3))
    """
    kept_first = min(num_first, max(budget - num_second, budget - budget // 2))
    return kept_first, min(num_second, budget - kept_first)


def _frame(
    first: list[int], second: list[int] | None, *, ids: dict[str, int], length: int
) -> tuple[list[int], list[int]]:
    """Returns the tokens of type 0 and those of type 1."""
    start, stop = ids["[CLS]"], ids["[SEP]"]
    if second is None:
        return [start, *first[: length - 2], stop], []
    kept_first, kept_second = truncation(len(first), len(second), budget=length - 3)
    return [start, *first[:kept_first], stop], [*second[:kept_second], stop]


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


def _label_array(examples: Sequence[Example]) -> dict[str, np.ndarray]:
    labels = [example.label for example in examples if example.label is not None]
    if not labels:
        return {}
    if len(labels) < len(examples):
        raise ValueError(f"only {len(labels)} of {len(examples)} examples have a label")
    is_class = all(isinstance(label, int) for label in labels)
    return {"labels": np.array(labels, dtype=np.int32 if is_class else np.float32)}
