import pytest
from hypothesis import given
from hypothesis import strategies as st

from hopfield_attn.data.windows import windows_of

pytestmark = pytest.mark.core


@given(st.integers(0, 200), st.integers(1, 50), st.integers(1, 60))
def test_windows_have_every_token_and_none_is_needless(num_tokens, size, stride):
    windows = windows_of(num_tokens, size=size, stride=stride)
    assert {k for window in windows for k in range(*window)} == set(range(num_tokens))
    assert all(end - begin <= size for begin, end in windows)
    # All but the last are full, and only the last reaches the end.
    assert all(end - begin == size and end < num_tokens for begin, end in windows[:-1])
    assert windows[-1][1] == num_tokens
    starts = [begin for begin, _ in windows]
    assert starts == [k * min(size, stride) for k in range(len(windows))]


@pytest.mark.parametrize(("size", "stride"), [(0, 1), (1, 0)])
def test_sizes_have_to_be_positive(size, stride):
    with pytest.raises(ValueError, match="must be >= 1; got 0"):
        windows_of(5, size=size, stride=stride)
