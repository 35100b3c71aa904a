"""Rows for masked-language modelling: packing documents and masking tokens (Devlin et al. 2019)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Int32

from hopfield_attn.data.source import ArraySource, Element
from hopfield_attn.data.tokenizer import NUM_SPECIAL, SPECIAL_IDS

MASKED_SHARE = 0.8
RANDOM_SHARE = 0.1


def pack_tokens(
    documents: Sequence[Int[np.ndarray, " _"]],
    *,
    length: int,
    special: Mapping[str, int] = SPECIAL_IDS,
) -> Int32[np.ndarray, "rows length"]:
    """Joins documents with ``[SEP]`` and cuts the stream into rows ``[CLS] ... [SEP]``.

    Args:
      documents: ordinary token ids of each document; empty ones are left out.
      length: tokens in a row, ``[CLS]`` and ``[SEP]`` included.
      special: ids of the special tokens.

    Returns:
      (rows, length) ids; the last row ends with ``[PAD]`` where the stream ran out.

    Raises:
      ValueError: ``length`` is below 3, there is no token, or an id is special or negative.

    Example:
      >>> pack_tokens([np.array([10, 11, 12]), np.array([13])], length=5)
      array([[ 2, 10, 11, 12,  3],
             [ 2,  3, 13,  3,  0]], dtype=int32)
    """
    _check_row_length(length)
    filled = _filled(documents, special)
    separator = np.array([special["[SEP]"]])
    joined = [part for document in filled for part in (document, separator)]
    stream = np.concatenate(joined[:-1])
    width = length - 2
    return _frame([stream[i : i + width] for i in range(0, len(stream), width)], length, special)


def line_tokens(
    lines: Sequence[Int[np.ndarray, " _"]],
    *,
    length: int,
    special: Mapping[str, int] = SPECIAL_IDS,
) -> Int32[np.ndarray, "rows length"]:
    """One row ``[CLS] … [SEP] [PAD] …`` a line; a longer line goes on in the next row.

    Args:
      lines: ordinary token ids of each line; empty ones are left out.
      length: tokens in a row, ``[CLS]`` and ``[SEP]`` included.
      special: ids of the special tokens.

    Raises:
      ValueError: as :func:`pack_tokens`.

    Example:
      >>> line_tokens([np.array([10, 11, 12, 13]), np.array([14])], length=5)
      array([[ 2, 10, 11, 12,  3],
             [ 2, 13,  3,  0,  0],
             [ 2, 14,  3,  0,  0]], dtype=int32)
    """
    _check_row_length(length)
    width = length - 2
    filled = _filled(lines, special)
    parts = [line[i : i + width] for line in filled for i in range(0, len(line), width)]
    return _frame(parts, length, special)


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
    _check_row_length(length)
    return max(1, round(mask_rate * (length - 2)))


def mask_tokens(
    tokens: Int[np.ndarray, " length"],
    rng: np.random.Generator,
    *,
    mask_rate: float,
    vocab_size: int,
    special: Mapping[str, int] = SPECIAL_IDS,
    starts: Bool[np.ndarray, " vocab"] | None = None,
) -> Element:
    """Corrupts one row: of the chosen tokens 80 % become ``[MASK]``, 10 % random, 10 % stay.

    Exactly max(1, round(mask_rate n)) of the n ordinary tokens are chosen, without replacement.
    With ``starts`` whole words are, in random order, each if it fits into what is left of that
    number.

    Args:
      tokens: (length,) ids, framed by ``[CLS]`` and ``[SEP]``.
      rng: the only source of randomness.
      mask_rate: share of the ordinary tokens to predict, in (0, 1].
      vocab_size: random tokens are drawn from the ordinary ids below it.
      special: ids of the special tokens.
      starts: which ids start a word, for whole-word masking; ``None`` chooses tokens.

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
    is_special = np.isin(tokens, list(special.values()))
    ordinary = np.flatnonzero(~is_special)
    if len(ordinary) > len(tokens) - 2:
        raise ValueError(
            f"a row of {len(tokens)} tokens must have [CLS] and [SEP], "
            f"got {len(ordinary)} ordinary tokens"
        )
    num_chosen = min(len(ordinary), max(1, round(mask_rate * len(ordinary))))
    if starts is None:
        chosen = np.sort(rng.choice(ordinary, size=num_chosen, replace=False))
    else:
        chosen = _choose_words(tokens, is_special, starts, rng, num_chosen=num_chosen)
        num_chosen = len(chosen)
    corrupted = tokens.astype(np.int32)
    corrupted[chosen] = _replacements(corrupted[chosen], rng, vocab_size, special)
    slots = {
        "positions": np.zeros(num_slots, dtype=np.int32),
        "labels": np.zeros(num_slots, dtype=np.int32),
        "label_weights": np.zeros(num_slots, dtype=np.float32),
    }
    slots["positions"][:num_chosen] = chosen
    slots["labels"][:num_chosen] = tokens[chosen]
    slots["label_weights"][:num_chosen] = 1
    return {"tokens": corrupted, "mask": tokens != special["[PAD]"], **slots}


def mask_rows(rows: Int[np.ndarray, "rows length"], *, seed: int, **options: Any) -> ArraySource:
    """Masks every row once, for evaluation: row i depends on (seed, i) and on itself only.

    Args:
      rows: (rows, length) ids of ``pack_tokens``.
      seed: non-negative.
      **options: as for ``mask_tokens``.

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
        mask_tokens(row, np.random.default_rng((seed, i)), **options) for i, row in enumerate(rows)
    ]
    names = elements[0]
    return ArraySource({name: np.stack([e[name] for e in elements]) for name in names})


def _check_row_length(length: int) -> None:
    if length < 3:
        raise ValueError(f"length must be at least 3 ([CLS] token [SEP]), got {length}")


def _filled(
    documents: Sequence[Int[np.ndarray, " _"]], special: Mapping[str, int]
) -> list[Int[np.ndarray, " _"]]:
    """The documents that have tokens, all of them ordinary."""
    filled = [document for document in documents if len(document)]
    if not filled:
        raise ValueError(f"expected at least one token, got {len(documents)} empty documents")
    reserved = list(special.values())
    for document in filled:
        wrong = document[np.isin(document, reserved) | (document < 0)]
        # Text that a WordPiece vocabulary has no piece for is [UNK]: an ordinary token to a reader.
        wrong = wrong[wrong != special["[UNK]"]]
        if len(wrong):
            raise ValueError(f"documents must hold ordinary tokens, got id {int(wrong[0])}")
    return filled


def _frame(
    parts: Sequence[Int[np.ndarray, " _"]], length: int, special: Mapping[str, int]
) -> Int32[np.ndarray, "rows length"]:
    rows = np.full((len(parts), length), special["[PAD]"], dtype=np.int32)
    rows[:, 0] = special["[CLS]"]
    for row, part in zip(rows, parts, strict=True):
        row[1 : 1 + len(part)] = part
        row[1 + len(part)] = special["[SEP]"]
    return rows


def _choose_words(
    tokens: Int[np.ndarray, " length"],
    is_special: Bool[np.ndarray, " length"],
    starts: Bool[np.ndarray, " vocab"],
    rng: np.random.Generator,
    *,
    num_chosen: int,
) -> Int[np.ndarray, " chosen"]:
    """Positions of whole words, at most ``num_chosen``, ascending."""
    # A word starts at a starting id, and behind a special token whatever the id is.
    after_special = np.concatenate([[True], is_special[:-1]])
    index = np.cumsum((starts[tokens] | after_special) & ~is_special)
    words = [np.flatnonzero((index == w) & ~is_special) for w in np.unique(index[~is_special])]
    chosen: list[int] = []
    for w in rng.permutation(len(words)):
        if len(chosen) + len(words[w]) <= num_chosen:
            chosen.extend(words[w])
    # No word is short enough: a part of one, rather than a row without a prediction.
    if not chosen and words:
        chosen.extend(words[rng.integers(len(words))][:num_chosen])
    return np.sort(np.array(chosen, dtype=np.int64))


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
    originals: Int32[np.ndarray, " chosen"],
    rng: np.random.Generator,
    vocab_size: int,
    special: Mapping[str, int],
) -> Int32[np.ndarray, " chosen"]:
    draw = rng.random(len(originals))
    # The k-th ordinary id is k plus the number of special ids before it.
    random_ids = rng.integers(0, vocab_size - NUM_SPECIAL, size=len(originals), dtype=np.int32)
    for reserved in sorted(special.values()):
        random_ids += random_ids >= reserved
    kept_or_random = np.where(draw < MASKED_SHARE + RANDOM_SHARE, random_ids, originals)
    return np.where(draw < MASKED_SHARE, np.int32(special["[MASK]"]), kept_or_random)
