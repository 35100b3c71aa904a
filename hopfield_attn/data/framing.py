"""Rows of one length from token lists, ``[CLS] a [SEP]`` or ``[CLS] a [SEP] b [SEP]``."""

from collections.abc import Mapping, Sequence

import numpy as np
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing

from hopfield_attn.data.tokenizer import special_ids

Frame = tuple[list[int], list[int]]
"""The tokens of type 0 and those of type 1, special tokens included."""


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


def frame(first: Sequence[int], second: Sequence[int] | None, *, ids: Mapping[str, int]) -> Frame:
    """Puts the special tokens around one or two token lists.

    Args:
      first: tokens of the first text.
      second: tokens of the second; ``None`` is no second text, not an empty one.
      ids: of the special tokens.

    Returns:
      The tokens of type 0 and those of type 1.

    Example:
      >>> frame([7], [8, 9], ids={"[CLS]": 2, "[SEP]": 3})
      ([2, 7, 3], [8, 9, 3])
    """
    head = [ids["[CLS]"], *first, ids["[SEP]"]]
    return head, [] if second is None else [*second, ids["[SEP]"]]


def frame_cut(
    first: Sequence[int], second: Sequence[int] | None, *, ids: Mapping[str, int], length: int
) -> Frame:
    """Puts the special tokens around what fits of one or two token lists.

    Args:
      first: tokens of the first text.
      second: tokens of the second, or ``None``.
      ids: of the special tokens.
      length: tokens of both, special tokens included.

    Returns:
      The tokens of type 0 and those of type 1.

    Example:
      >>> frame_cut([7, 7, 7], [8, 9], ids={"[CLS]": 2, "[SEP]": 3}, length=7)
      ([2, 7, 7, 3], [8, 9, 3])
    """
    if second is None:
        return frame(first[: length - 2], None, ids=ids)
    kept_first, kept_second = truncation(len(first), len(second), budget=length - 3)
    return frame(first[:kept_first], second[:kept_second], ids=ids)


def with_frame(tokenizer: Tokenizer) -> Tokenizer:
    """A copy of a tokenizer that puts the special tokens around texts as :func:`frame` does.

    The frame of a tokenizer that brings one, as a pretrained BERT's does, is left as it is.

    Args:
      tokenizer: any tokenizer with BERT's special tokens; it is not changed.

    Example:
      >>> from hopfield_attn.data.tokenizer import train_tokenizer
      >>> framed = with_frame(train_tokenizer(["one text"], vocab_size=261))
      >>> encoding = framed.encode("a", "b")
      >>> encoding.tokens, encoding.type_ids
      (['[CLS]', 'Ġ', 'a', '[SEP]', 'Ġ', 'b', '[SEP]'], [0, 0, 0, 0, 1, 1, 1])
    """
    framed = Tokenizer.from_str(tokenizer.to_str())
    if framed.post_processor is None:
        ids = special_ids(framed)
        framed.post_processor = TemplateProcessing(
            single="[CLS]:0 $A:0 [SEP]:0",
            pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
            special_tokens=[(name, ids[name]) for name in ("[CLS]", "[SEP]")],
        )
    return framed


def pad_frames(frames: Sequence[Frame], *, length: int, pad_id: int) -> dict[str, np.ndarray]:
    """Writes frames into arrays.

    Args:
      frames: at most ``length`` tokens each.
      length: tokens in a row.
      pad_id: id of ``[PAD]``.

    Returns:
      ``tokens`` (rows, length) int32; ``mask`` (rows, length) bool, False at ``[PAD]``; and
      ``token_types`` (rows, length) int32.

    Example:
      >>> pad_frames([([2, 7, 3], [8, 3])], length=6, pad_id=0)["token_types"]
      array([[0, 0, 0, 1, 1, 0]], dtype=int32)
    """
    tokens = np.full((len(frames), length), pad_id, dtype=np.int32)
    mask = np.zeros((len(frames), length), dtype=np.bool_)
    token_types = np.zeros((len(frames), length), dtype=np.int32)
    for i, (head, tail) in enumerate(frames):
        end = len(head) + len(tail)
        tokens[i, :end] = head + tail
        mask[i, :end] = True
        token_types[i, len(head) : end] = 1
    return {"tokens": tokens, "mask": mask, "token_types": token_types}


def label_array(labels: Sequence[int | float | None]) -> dict[str, np.ndarray]:
    """The column of labels, or none where no example has a label.

    Args:
      labels: classes, scores, or ``None`` (test splits).

    Returns:
      ``labels`` (rows,), int32 for classes and float32 for scores; empty without labels.

    Raises:
      ValueError: only some have a label.

    Example:
      >>> label_array([1, 0]), label_array([None])
      ({'labels': array([1, 0], dtype=int32)}, {})
    """
    known = [label for label in labels if label is not None]
    if not known:
        return {}
    if len(known) < len(labels):
        raise ValueError(f"only {len(known)} of {len(labels)} examples have a label")
    is_class = all(isinstance(label, int) for label in known)
    return {"labels": np.array(known, dtype=np.int32 if is_class else np.float32)}
