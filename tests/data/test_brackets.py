import itertools

import numpy as np
import pytest

from hopfield_attn.data.brackets import BracketsTask
from hopfield_attn.data.tokenizer import CLS_ID, NUM_SPECIAL
from tests.data.synthetic_oracles import accuracy_of, draw

CLOSING = NUM_SPECIAL


def make_task(num_pairs=6, num_types=3, max_depth=3, answer="type"):
    return BracketsTask(
        num_pairs=num_pairs, num_types=num_types, max_depth=max_depth, answer=answer
    )


def openings(tokens):
    """Place of the opening bracket of every closing one, by counting from the right."""
    found = {}
    for place in np.flatnonzero(tokens == CLOSING):
        depth, back = 1, place
        while depth:
            back -= 1
            depth += 1 if tokens[back] == CLOSING else -1
        found[int(place)] = int(back)
    return found


def depths(tokens):
    return np.cumsum(np.where(tokens[1:] == CLOSING, -1, 1))


@pytest.mark.parametrize("answer", ["type", "position"])
def test_labels_and_sources_are_the_bracket_that_is_closed(answer):
    task = make_task(answer=answer)
    rows = draw(task, 60)
    for tokens, positions, labels, sources in zip(
        *(rows[name] for name in ("tokens", "positions", "labels", "sources")), strict=True
    ):
        assert tokens[0] == CLS_ID
        assert depths(tokens).min() == 0 == depths(tokens)[-1]
        assert depths(tokens).max() <= task.max_depth
        pairs = openings(tokens)
        assert positions.tolist() == list(pairs)
        assert np.argwhere(sources).tolist() == [[k, p] for k, p in enumerate(pairs.values())]
        types = [int(tokens[p]) - NUM_SPECIAL - 1 for p in pairs.values()]
        assert labels.tolist() == (types if answer == "type" else [p - 1 for p in pairs.values()])


def test_type_of_a_source_is_the_answer_and_other_types_do_not_matter():
    task = make_task()
    rows = draw(task, 20)
    for tokens, sources in zip(rows["tokens"], rows["sources"], strict=True):
        for place in np.flatnonzero(tokens > CLOSING):
            changed = tokens.copy()
            changed[place] = NUM_SPECIAL + 1 + (tokens[place] - NUM_SPECIAL) % task.num_types
            before, after = (
                np.array([t[p] for p in openings(t).values()]) for t in (tokens, changed)
            )
            np.testing.assert_array_equal(before != after, sources[:, place])


@pytest.mark.parametrize(("num_pairs", "max_depth"), [(4, 4), (4, 2), (5, 3)])
def test_every_nesting_is_equally_likely(num_pairs, max_depth):
    steps = itertools.product([1, -1], repeat=2 * num_pairs)
    heights = [np.cumsum(path) for path in steps]
    allowed = [h for h in heights if h[-1] == 0 and h.min() >= 0 and h.max() <= max_depth]
    rows = draw(make_task(num_pairs=num_pairs, max_depth=max_depth), 1500)
    found, counts = np.unique([depths(t) for t in rows["tokens"]], axis=0, return_counts=True)
    assert len(found) == len(allowed)
    expected = 1500 / len(allowed)
    assert abs(counts - expected).max() < 5 * np.sqrt(expected)


@pytest.mark.parametrize("answer", ["type", "position"])
@pytest.mark.parametrize(("num_pairs", "max_depth"), [(6, 6), (6, 2)])
def test_nearest_accuracy_is_that_of_the_opening_bracket_to_the_left(answer, num_pairs, max_depth):
    task = make_task(num_pairs=num_pairs, max_depth=max_depth, answer=answer)

    def nearest(tokens, positions):
        places = [np.flatnonzero(tokens[:p] > CLOSING)[-1] for p in positions]
        return np.array([tokens[p] - CLOSING - 1 if answer == "type" else p - 1 for p in places])

    found, error = accuracy_of(nearest, draw(task, 1000))
    assert found == pytest.approx(task.baselines["nearest_accuracy"], abs=error)
    assert error < 0.04


def test_share_of_pairs_without_anything_between_is_narayanas_without_a_limit_of_depth():
    # (m + 1)/2 of m, the mean over all nestings.
    task = make_task(num_pairs=9, max_depth=9, answer="position")
    assert task.baselines["nearest_accuracy"] == pytest.approx(10 / 2 / 9, rel=1e-12)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"num_types": 1}, "num_types must be at least 2, got 1"),
        ({"max_depth": 1}, "max_depth must be from 2 to num_pairs=6, got 1"),
        ({"max_depth": 7}, "max_depth must be from 2 to num_pairs=6, got 7"),
        ({"answer": "place"}, "answer must be one of 'type', 'position'; got 'place'"),
    ],
)
def test_impossible_task_is_an_error_with_its_numbers(changes, reason):
    with pytest.raises(ValueError, match=reason):
        make_task(**changes)
