"""Bytes that break readers: random ones, and valid files that are cut, spliced and spoilt."""

import re

from hypothesis import strategies as st

NASTY = (
    b"\x00",
    b"\xff\xfe",
    b"\xed\xa0\x80",  # half of a surrogate pair
    b"\xef\xbb\xbf",
    b"\x1b[2J\x07",
    b"\xe2\x80\xa8\xe2\x80\xae",  # a line separator, and what turns text around
    b"\n",
    b"\r",
    b"\t",
    b'"',
    b"\\ud800",
    b"[red]x[/bold]<script>",
    b"0" * 70_000,
    b"a" * 70_000,
    b"[" * 60_000,
    b'{"a":' * 1_500 + b"1" + b"}" * 1_500,
    b"[" * 200 + b"]" * 200,
)
VALUES = (
    *(b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e308", b"9" * 5_000, b"10000000000000"),
    *(b"0", b"-1", b"1", b"2", b"3", b"1.5", b"true", b"false", b"null", b"[]", b"{}"),
    *(b'""', b'"a"', b'"\\u001b[2J\\n"', b'"\\ud800"', b'"../../x"', b"[[]]", b'[{"a": 1}]'),
    *(b"[" * 60_000, b'{"a":' * 1_500 + b"1" + b"}" * 1_500, b"[" * 200 + b"]" * 200),
)
_VALUE = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|true|false|null|[^\s",:{}\[\]]+')


@st.composite
def contents(draw, valid: bytes) -> bytes:
    """Contents for a file of which ``valid`` is a good one."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    content = valid
    for _ in range(draw(st.integers(1, 3))):
        content = draw(st.sampled_from(MUTATIONS))(draw, content)
    return content


def flip(draw, content: bytes) -> bytes:
    if not content:
        return content
    place, bit = draw(st.integers(0, len(content) - 1)), draw(st.integers(0, 7))
    return content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]


def truncate(draw, content: bytes) -> bytes:
    return content[: draw(st.integers(0, len(content)))]


def cut(draw, content: bytes) -> bytes:
    start, end = draw_slice(draw, content)
    return content[:start] + content[end:]


def splice(draw, content: bytes) -> bytes:
    start, end = draw_slice(draw, content)
    place = draw(st.integers(0, len(content)))
    return content[:place] + content[start:end] + content[place:]


def insert(draw, content: bytes) -> bytes:
    place = draw(st.integers(0, len(content)))
    return content[:place] + draw(st.sampled_from(NASTY)) + content[place:]


def replace_value(draw, content: bytes) -> bytes:
    """Another value in the place of one, or of a name: of JSON, or a word of a table."""
    found = [match.span() for match in _VALUE.finditer(content)]
    if not found:
        return content
    start, end = draw(st.sampled_from(found))
    return content[:start] + draw(st.sampled_from(VALUES)) + content[end:]


# What stays JSON reaches further into a reader.
MUTATIONS = (flip, truncate, cut, splice, insert, replace_value, replace_value, replace_value)


def draw_slice(draw, content: bytes) -> tuple[int, int]:
    start = draw(st.integers(0, len(content)))
    return start, draw(st.integers(start, min(len(content), start + 100)))
