"""A long text as overlapping windows."""

from hopfield_attn.checks import check_count
from hopfield_attn.data.examples import Span


def windows_of(num_tokens: int, *, size: int, stride: int) -> list[Span]:
    """Windows that begin ``stride`` tokens apart until one reaches the end.

    Args:
      num_tokens: tokens of the text.
      size: most tokens of a window.
      stride: tokens from the start of one window to that of the next; one larger than ``size``
        would leave tokens out and counts as ``size``.

    Returns:
      Tokens [first, last + 1) of each window: at least one, empty for an empty text.

    Raises:
      ValueError: ``size`` or ``stride`` is not positive.

    Example:
      >>> windows_of(10, size=4, stride=3), windows_of(3, size=4, stride=3)
      ([(0, 4), (3, 7), (6, 10)], [(0, 3)])
    """
    check_count(1, size=size, stride=stride)
    step = min(size, stride)
    num_more = max(0, -(-(num_tokens - size) // step))
    return [(k * step, min(k * step + size, num_tokens)) for k in range(num_more + 1)]
