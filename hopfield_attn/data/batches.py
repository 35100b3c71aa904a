"""Batches as a function of (seed, step), so that a run can resume at any step and see the same."""

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import grain
import numpy as np

from hopfield_attn.data.source import Element, RandomAccess

EXAMPLE_WEIGHTS = "example_weights"

_BUFFERED_BATCHES_PER_THREAD = 4


def make_batches(
    source: RandomAccess[Any],
    *,
    batch_size: int,
    seed: int,
    transform: Callable[[Any, np.random.Generator], Any] | None = None,
) -> grain.MapDataset:
    """Makes an endless dataset whose item ``step`` is the global batch of that step.

    Each epoch visits every element once in an order of its own; a batch may span two epochs, so
    that none is dropped. Item ``step`` depends on (source, batch_size, seed, step) alone: any
    number of threads, and any starting point, gives the same batches.

    Args:
      source: elements found by number: dicts of arrays, or arrays, of fixed shapes.
      batch_size: elements in a batch, at most ``len(source)``.
      seed: non-negative; fixes the orders and the randomness of ``transform``.
      transform: ``(element, rng) -> element``; gets a fresh generator at each visit.

    Returns:
      A dataset; ``dataset[step]`` for step 0, 1, 2, ... is a batch of arrays (batch_size, ...).

    Raises:
      ValueError: a number is out of range, or the source is smaller than a batch.

    Example:
      >>> batches = make_batches(np.arange(5), batch_size=2, seed=0)
      >>> sorted(np.concatenate([batches[step] for step in range(5)]).tolist())
      [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
      >>> batches[10**6].shape
      (2,)
    """
    check_source(source, batch_size=batch_size, seed=seed)
    # Of numbers, as the library's bookkeeping for an element takes longer than reading a small one.
    # Through `.seed`, not `.shuffle(seed)`: that one uses seed + epoch, which makes epoch 1 of
    # seed 0 the same as epoch 0 of seed 1.
    numbers = grain.MapDataset.range(len(source)).seed(operator.index(seed)).shuffle()

    options = {"batch_size": batch_size, "drop_remainder": True}
    if transform is not None:
        elements = numbers.random_map(lambda number, rng: transform(source[number], rng))
        return elements.repeat().batch(**options, batch_fn=stack_elements)
    return numbers.repeat().batch(
        **options, batch_fn=lambda batch: stack_elements([source[number] for number in batch])
    )


def check_source(source: RandomAccess[Any], *, batch_size: int, seed: int) -> None:
    """Raises ``ValueError`` for numbers out of range, or more rows in a batch than there are."""
    _check_batch_size(batch_size)
    if operator.index(seed) < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    if len(source) < batch_size:
        raise ValueError(
            f"batch_size is {batch_size}, but the source has only {len(source)} elements"
        )


def iterate_batches(
    dataset: grain.MapDataset, *, start_step: int, num_threads: int
) -> Iterator[Any]:
    """Reads batches ahead of their use, from a given step on.

    Args:
      dataset: one of ``make_batches``.
      start_step: the first step.
      num_threads: threads that prepare batches; 0 prepares each when it is asked for.

    Returns:
      An iterator over ``dataset[start_step]``, ``dataset[start_step + 1]``, ...; closing it stops
      the threads.

    Raises:
      ValueError: a number is negative.

    Example:
      >>> batches = make_batches(np.arange(8), batch_size=2, seed=0)
      >>> iterator = iterate_batches(batches, start_step=3, num_threads=1)
      >>> bool(np.all(next(iterator) == batches[3]) and np.all(next(iterator) == batches[4]))
      True
    """
    if start_step < 0 or num_threads < 0:
        raise ValueError(
            f"start_step and num_threads must be at least 0, got {start_step} and {num_threads}"
        )
    return _prefetch(dataset, start_step, num_threads)


def eval_batches(elements: RandomAccess[Element], *, batch_size: int) -> Iterator[Element]:
    """Reads all elements once, in order, in batches of one size.

    Args:
      elements: dicts of arrays of fixed shapes.
      batch_size: elements in a batch.

    Returns:
      An iterator over dicts of arrays (batch_size, ...). The last batch is filled up with its
      first element; ``example_weights``, float32 (batch_size,), is 0 there and 1 elsewhere.

    Raises:
      ValueError: ``batch_size`` is not positive, there is no element, or an element already has
        ``example_weights``.
      TypeError: an element is not a dict.

    Example:
      >>> for batch in eval_batches([{"x": np.array(i)} for i in range(3)], batch_size=2):
      ...     print(batch["x"], batch["example_weights"])
      [0 1] [1. 1.]
      [2 2] [1. 0.]
    """
    _check_batch_size(batch_size)
    if len(elements) == 0:
        raise ValueError("expected at least one element, got none")
    if not isinstance(elements[0], Mapping):
        raise TypeError(f"elements must be dicts of arrays, got {type(elements[0]).__name__}")
    if EXAMPLE_WEIGHTS in elements[0]:
        raise ValueError(f"elements must not have the key {EXAMPLE_WEIGHTS!r}: it is added here")
    return _padded_batches(elements, batch_size)


def stack_elements(elements: Sequence[Any]) -> Any:
    """Stacks elements along a new first axis.

    Args:
      elements: dicts of arrays with the same keys and shapes, or arrays of one shape.

    Returns:
      A dict of new arrays (len(elements), ...), or one such array.

    Raises:
      ValueError: keys or shapes differ.

    Example:
      >>> stack_elements([{"x": np.array([1, 2])}, {"x": np.array([3, 4])}])
      {'x': array([[1, 2],
             [3, 4]])}
    """
    if not isinstance(elements[0], Mapping):
        return _stack_arrays("element", elements)
    names = elements[0].keys()
    for element in elements:
        if element.keys() != names:
            raise ValueError(
                f"elements must have the same keys, got {sorted(names)} and {sorted(element)}"
            )
    return {name: _stack_arrays(name, [element[name] for element in elements]) for name in names}


def _stack_arrays(name: str, arrays: Sequence[Any]) -> np.ndarray:
    shapes = sorted({np.shape(array) for array in arrays})
    if len(shapes) > 1:
        raise ValueError(f"{name!r} must have one shape in all elements, got {shapes}")
    return np.stack(arrays)


def _check_batch_size(batch_size: int) -> None:
    if operator.index(batch_size) < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")


def _prefetch(dataset: grain.MapDataset, start_step: int, num_threads: int) -> Iterator[Any]:
    options = grain.ReadOptions(
        num_threads=num_threads,
        prefetch_buffer_size=_BUFFERED_BATCHES_PER_THREAD * num_threads,
    )
    iterator = iter(dataset.to_iter_dataset(options))
    iterator.set_state({"next_index": start_step})
    try:
        yield from iterator
    finally:
        iterator.close()


def _padded_batches(elements: RandomAccess[Element], batch_size: int) -> Iterator[Element]:
    for start in range(0, len(elements), batch_size):
        rows = [elements[i] for i in range(start, min(start + batch_size, len(elements)))]
        num_padding = batch_size - len(rows)
        batch = stack_elements(rows + [rows[0]] * num_padding)
        batch[EXAMPLE_WEIGHTS] = np.repeat(
            np.array([1, 0], dtype=np.float32), [len(rows), num_padding]
        )
        yield batch
