import math

import pytest

from hopfield_attn.train.row_file import RowFile, read_rows

pytestmark = pytest.mark.core


def test_a_step_that_comes_again_takes_the_place_of_its_row_and_of_later_ones(tmp_path):
    path = tmp_path / "rows.jsonl"
    file = RowFile(path, start_step=0)
    for step in (1, 2, 3):
        file.add(step, {"value": float(step)})
    file.add(2, {"value": math.nan})
    file.add(4, {"value": 4.0})
    expected = [
        {"step": 1, "value": 1.0},
        {"step": 2, "value": None},
        {"step": 4, "value": 4.0},
    ]
    assert file.rows == read_rows(path) == expected


def test_the_newest_row_takes_in_more_values(tmp_path):
    path = tmp_path / "rows.jsonl"
    file = RowFile(path, start_step=0)
    for step in (1, 2):
        file.add(step, {"value": float(step)})
    file.extend(2, {"more": math.inf})
    file.extend(1, {"more": 1.0})
    expected = [{"step": 1, "value": 1.0}, {"step": 2, "value": 2.0, "more": None}]
    assert file.rows == read_rows(path) == expected


def test_who_does_not_write_keeps_rows_in_memory(tmp_path):
    path = tmp_path / "rows.jsonl"
    file = RowFile(path, start_step=0, writes=False)
    file.add(1, {"value": 1.0})
    file.flush()
    assert file.rows == [{"step": 1, "value": 1.0}]
    assert not path.exists()
