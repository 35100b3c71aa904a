"""Rows for masked-language modelling: packing documents and masking tokens (Devlin et al. 2019)."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Int32

from hopfield_attn.data.source import ArraySource, Element
from hopfield_attn.data.tokenizer import CLS_ID, MASK_ID, NUM_SPECIAL, PAD_ID, SEP_ID

MASKED_SHARE = 0.8
RANDOM_SHARE = 0.1


def pack_tokens(
    documents: Sequence[Int[np.ndarray, " _"]], *, length: int
) -> Int32[np.ndarray, "rows length"]:
    """Joins documents with ``[SEP]`` and cuts the stream into rows ``[CLS] ... [SEP]``.

    Args:
      documents: ordinary token ids of each document; empty ones are left out.
      length: tokens in a row, ``[CLS]`` and ``[SEP]`` included.

    Returns:
      (rows, length) ids; the last row ends with ``[PAD]`` where the stream ran out.

    Raises:
      ValueError: ``length`` is below 3, there is no token, or an id is special or negative.

    Example:
      >>> pack_tokens([np.array([10, 11, 12]), np.array([13])], length=5)
      array([[ 2, 10, 11, 12,  3],
             [ 2,  3, 13,  3,  0]], dtype=int32)
    """
    if length < 3:
        raise ValueError(f"length must be at least 3 ([CLS] token [SEP]), got {length}")
    stream = _join_documents(documents)
    width = length - 2
    num_rows = -(-len(stream) // width)
    body = np.full(num_rows * width, PAD_ID, dtype=np.int32)
    body[: len(stream)] = stream
    rows = np.full((num_rows, length), PAD_ID, dtype=np.int32)
    rows[:, 0] = CLS_ID
    rows[:, 1:-1] = body.reshape(num_rows, width)
    rows[:-1, -1] = SEP_ID
    rows[-1, 1 + len(stream) - (num_rows - 1) * width] = SEP_ID
    return rows


def num_masked(length: int, *, mask_rate: float) -> int:
    """Returns the number of prediction slots of a row.

    Args:
      length: tokens in a row, ``[CLS]`` and ``[SEP]`` included.
      mask_rate: share of the ordinary tokens to predict, in (0, 1].

    Returns:
      max(1, round(mask_rate (length - 2))).

    Raises:
      ValueError: an argument is out of range.

    Example:
      >>> num_masked(128, mask_rate=0.15)
      19
    """
    if not 0 < mask_rate <= 1:
        raise ValueError(f"mask_rate must be in (0, 1], got {mask_rate}")
    if length < 3:
        raise ValueError(f"length must be at least 3 ([CLS] token [SEP]), got {length}")
    return max(1, round(mask_rate * (length - 2)))


def mask_tokens(
    tokens: Int[np.ndarray, " length"],
    rng: np.random.Generator,
    *,
    mask_rate: float,
    vocab_size: int,
) -> Element:
    """Corrupts one row: of the chosen tokens 80 % become ``[MASK]``, 10 % random, 10 % stay.

    Exactly max(1, round(mask_rate n)) of the n ordinary tokens are chosen, without replacement.

    Args:
      tokens: (length,) ids, framed by ``[CLS]`` and ``[SEP]``.
      rng: the only source of randomness.
      mask_rate: share of the ordinary tokens to predict, in (0, 1].
      vocab_size: random tokens are drawn from the ordinary ids below it.

    Returns:
      ``tokens`` (length,) int32 corrupted ids; ``mask`` (length,) bool, False at ``[PAD]``;
      ``positions`` (slots,) int32 ascending; ``labels`` (slots,) int32 original ids;
      ``label_weights`` (slots,) float32, 1 or, in unused slots, 0. See ``num_masked`` for slots.

    Raises:
      ValueError: an argument or an id is out of range, or the row is not framed.

    Example:
      >>> row = np.array([2, 10, 11, 12, 13, 3, 0, 0])
      >>> masked = mask_tokens(row, np.random.default_rng(0), mask_rate=0.5, vocab_size=20)
      >>> masked["tokens"]
      array([ 2, 10, 11,  4,  4,  3,  0,  0], dtype=int32)
      >>> masked["positions"], masked["labels"]
      (array([3, 4, 0], dtype=int32), array([12, 13,  0], dtype=int32))
      >>> masked["label_weights"]
      array([1., 1., 0.], dtype=float32)
    """
    num_slots = num_masked(len(tokens), mask_rate=mask_rate)
    _check_ids(tokens, vocab_size=vocab_size)
    ordinary = np.flatnonzero(tokens >= NUM_SPECIAL)
    if len(ordinary) > len(tokens) - 2:
        raise ValueError(
            f"a row of {len(tokens)} tokens must have [CLS] and [SEP], "
            f"got {len(ordinary)} ordinary tokens"
        )
    num_chosen = min(len(ordinary), max(1, round(mask_rate * len(ordinary))))
    chosen = np.sort(rng.choice(ordinary, size=num_chosen, replace=False))
    corrupted = tokens.astype(np.int32)
    corrupted[chosen] = _replacements(corrupted[chosen], rng, vocab_size=vocab_size)
    slots = {
        "positions": np.zeros(num_slots, dtype=np.int32),
        "labels": np.zeros(num_slots, dtype=np.int32),
        "label_weights": np.zeros(num_slots, dtype=np.float32),
    }
    slots["positions"][:num_chosen] = chosen
    slots["labels"][:num_chosen] = tokens[chosen]
    slots["label_weights"][:num_chosen] = 1
    return {"tokens": corrupted, "mask": tokens != PAD_ID, **slots}


def mask_rows(
    rows: Int[np.ndarray, "rows length"], *, seed: int, mask_rate: float, vocab_size: int
) -> ArraySource:
    """Masks every row once, for evaluation: row i depends on (seed, i) and on itself only.

    Args:
      rows: (rows, length) ids of ``pack_tokens``.
      seed: non-negative.
      mask_rate: as for ``mask_tokens``.
      vocab_size: as for ``mask_tokens``.

    Returns:
      The elements of ``mask_tokens``, as columns.

    Raises:
      ValueError: there is no row, or as for ``mask_tokens``.

    Example:
      >>> rows = pack_tokens([np.arange(10, 90)], length=16)
      >>> mask_rows(rows, seed=0, mask_rate=0.15, vocab_size=90).arrays["positions"].shape
      (6, 2)
    """
    if len(rows) == 0:
        raise ValueError("expected at least one row, got none")
    elements = [
        mask_tokens(
            row, np.random.default_rng((seed, i)), mask_rate=mask_rate, vocab_size=vocab_size
        )
        for i, row in enumerate(rows)
    ]
    names = elements[0]
    return ArraySource({name: np.stack([e[name] for e in elements]) for name in names})


def _join_documents(documents: Sequence[Int[np.ndarray, " _"]]) -> Int32[np.ndarray, " tokens"]:
    filled = [document for document in documents if len(document)]
    if not filled:
        raise ValueError(f"expected at least one token, got {len(documents)} empty documents")
    if (lowest := min(int(document.min()) for document in filled)) < NUM_SPECIAL:
        raise ValueError(
            f"documents must hold ordinary tokens (ids from {NUM_SPECIAL}), got id {lowest}"
        )
    separator = np.array([SEP_ID])
    joined = [part for document in filled for part in (document, separator)]
    return np.concatenate(joined[:-1]).astype(np.int32)


def _check_ids(tokens: Int[np.ndarray, " length"], *, vocab_size: int) -> None:
    if vocab_size <= NUM_SPECIAL:
        raise ValueError(
            f"vocab_size must exceed the {NUM_SPECIAL} special tokens, got {vocab_size}"
        )
    # An id out of range is no error later on: it turns the loss into NaN.
    if tokens.min() < 0 or tokens.max() >= vocab_size:
        raise ValueError(
            f"token ids must be in [0, {vocab_size}), got {tokens.min()} to {tokens.max()}"
        )


def _replacements(
    originals: Int32[np.ndarray, " chosen"], rng: np.random.Generator, *, vocab_size: int
) -> Int32[np.ndarray, " chosen"]:
    draw = rng.random(len(originals))
    random_ids = rng.integers(NUM_SPECIAL, vocab_size, size=len(originals), dtype=np.int32)
    kept_or_random = np.where(draw < MASKED_SHARE + RANDOM_SHARE, random_ids, originals)
    return np.where(draw < MASKED_SHARE, np.int32(MASK_ID), kept_or_random)
