"""Between spans of characters and spans of tokens."""

import numpy as np
from jaxtyping import Int

from hopfield_attn.data.examples import Span


def tokens_of_span(offsets: Int[np.ndarray, "tokens 2"], span: Span) -> Span | None:
    """The tokens that have a character of a span.

    Args:
      offsets: characters [start, end) of each token.
      span: characters [start, end).

    Returns:
      Tokens [first, last + 1); ``None`` where no token has one of the characters.

    Example:
      >>> offsets = np.array([[0, 3], [4, 6], [6, 9]])
      >>> tokens_of_span(offsets, (5, 9)), tokens_of_span(offsets, (3, 4))
      ((1, 3), None)
    """
    start, end = span
    touched = np.flatnonzero((offsets[:, 0] < end) & (offsets[:, 1] > start))
    return (int(touched[0]), int(touched[-1]) + 1) if len(touched) else None


def characters_of_span(offsets: Int[np.ndarray, "tokens 2"], span: Span) -> Span:
    """The characters from the first of a span's tokens to the last.

    Args:
      offsets: characters [start, end) of each token.
      span: tokens [first, last + 1).

    Returns:
      Characters [start, end).

    Example:
      >>> characters_of_span(np.array([[0, 3], [4, 6], [6, 9]]), (1, 3))
      (4, 9)
    """
    first, stop = span
    return int(offsets[first, 0]), int(offsets[stop - 1, 1])


def window_around(num_tokens: int, span: Span, *, size: int) -> Span:
    """A window of a text with a span as near to its middle as the ends of the text let it be.

    Args:
      num_tokens: tokens of the text.
      span: tokens [first, last + 1) that the window must have.
      size: most tokens of the window.

    Returns:
      Tokens [first, last + 1) of the window: ``min(size, num_tokens)`` of them.

    Raises:
      ValueError: the span is longer than the window.

    Example:
      >>> window_around(10, (6, 8), size=4), window_around(10, (9, 10), size=4)
      ((5, 9), (6, 10))
    """
    start, stop = span
    if stop - start > size:
        raise ValueError(f"the tokens {start} to {stop} do not fit into a window of {size}")
    begin = start - (size - (stop - start)) // 2
    begin = max(0, min(begin, num_tokens - size))
    return begin, min(begin + size, num_tokens)
