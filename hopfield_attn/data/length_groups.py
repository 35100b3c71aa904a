"""Batches of rows of similar length: little of a batch is padding."""

import functools
import operator
import sys

import grain
import numpy as np

from hopfield_attn.data.batches import check_source
from hopfield_attn.data.source import ArraySource, Element

_BATCHES_SORTED_TOGETHER = 50


def make_length_batches(
    source: ArraySource, *, batch_size: int, seed: int, multiple: int
) -> grain.MapDataset:
    """Makes an endless dataset as ``make_batches`` does, of rows that are about equally long.

    Every epoch is shuffled, sorted by length within parts of 50 batches and cut into batches, and
    these are shuffled. A batch is cut to its longest row, rounded up to ``multiple``, so that a
    compiled step sees few shapes. The len(source) mod ``batch_size`` last rows of an epoch's order
    are left out of it; in the next epoch they are others.

    Args:
      source: rows with ``mask`` (length,) bool, True at tokens; every array of rows of that length
        is cut with it.
      batch_size: rows in a batch, at most ``len(source)``.
      seed: non-negative; fixes the orders.
      multiple: of tokens, at least 1.

    Returns:
      A dataset; item ``step`` depends on (source, batch_size, seed, multiple, step) alone.

    Raises:
      ValueError: a number is out of range, or the source is smaller than a batch.

    Example:
      >>> mask = np.arange(6) < np.array([[1], [5], [2], [6]])
      >>> source = ArraySource({"mask": mask, "labels": np.arange(4)})
      >>> batches = make_length_batches(source, batch_size=2, seed=0, multiple=2)
      >>> sorted(batches[step]["mask"].shape for step in range(2))
      [(2, 2), (2, 6)]
    """
    check_source(source, batch_size=batch_size, seed=seed)
    if operator.index(multiple) < 1:
        raise ValueError(f"multiple must be at least 1, got {multiple}")
    return grain.MapDataset.source(_LengthBatches(source, batch_size, seed, multiple))


class _LengthBatches:
    """Batch ``step`` of :func:`make_length_batches`, for any step."""

    def __init__(self, source: ArraySource, batch_size: int, seed: int, multiple: int):
        self._arrays, self._multiple, self._seed = source.arrays, multiple, seed
        mask = source.arrays["mask"]
        # Up to the last token: a mask may have holes.
        self._lengths = mask.shape[1] - np.argmax(mask[:, ::-1], axis=1)
        self._batch_size, self._num_batches = batch_size, len(source) // batch_size
        # An epoch's order serves all its batches, and reading threads cross into the next one.
        self._order = functools.lru_cache(maxsize=2)(self._order_of_epoch)

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, step: int) -> Element:
        epoch, number = divmod(step, self._num_batches)
        rows = self._order(epoch)[number]
        width = self._arrays["mask"].shape[1]
        longest = int(self._lengths[rows].max())
        length = min(width, -(-longest // self._multiple) * self._multiple)
        return {
            name: array[rows, :length] if array.shape[1:2] == (width,) else array[rows]
            for name, array in self._arrays.items()
        }

    def _order_of_epoch(self, epoch: int) -> np.ndarray:
        """Rows of every batch of an epoch, (batches, batch_size)."""
        rng = np.random.default_rng([self._seed, epoch])
        order = rng.permutation(len(self._lengths))[: self._num_batches * self._batch_size]
        part = _BATCHES_SORTED_TOGETHER * self._batch_size
        parts = [order[start : start + part] for start in range(0, len(order), part)]
        ordered = [rows[np.argsort(self._lengths[rows], kind="stable")] for rows in parts]
        return rng.permutation(np.concatenate(ordered).reshape(-1, self._batch_size))
