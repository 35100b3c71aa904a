import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hopfield_attn.data.induction import InductionTask
from hopfield_attn.data.synthetic import synthetic_examples
from hopfield_attn.data.tokenizer import CLS_ID, NUM_SPECIAL, SEP_ID
from tests.data.synthetic_oracles import accuracy_of, draw

tasks = st.builds(
    lambda q, room, others: InductionTask(
        context_length=2 * q + room, num_symbols=q + 2 + others, num_queries=q
    ),
    st.integers(1, 4),
    st.integers(0, 12),
    st.integers(0, 12),
)


def answer(task, tokens):
    """What follows the only occurrence of each queried symbol, read from the tokens alone."""
    context = tokens[1 : task.context_length + 1].tolist()
    answers = []
    for symbol in tokens[task.context_length + 2 : -1].tolist():
        assert context.count(symbol) == 1
        answers.append(context[context.index(symbol) + 1] - NUM_SPECIAL)
    return answers


@given(tasks, st.integers(0, 2**40), st.integers(0, 99))
def test_labels_follow_the_queried_symbols(task, seed, index):
    example = synthetic_examples(task, num_examples=100, seed=seed)[index]
    tokens = example["tokens"]
    assert (tokens[0], tokens[task.context_length + 1], tokens[-1]) == (CLS_ID, SEP_ID, SEP_ID)
    assert (np.delete(tokens, [0, task.context_length + 1, -1]) >= NUM_SPECIAL).all()
    assert example["labels"].tolist() == answer(task, tokens)
    queries = tokens[example["positions"]]
    assert len(set(queries.tolist())) == task.num_queries


def test_sources_are_the_two_places_and_no_other_place_matters():
    task = InductionTask(context_length=10, num_symbols=9, num_queries=2)
    rows = draw(task, 40)
    for tokens, labels, sources, positions in zip(
        rows["tokens"], rows["labels"], rows["sources"], rows["positions"], strict=True
    ):
        asked = tokens[positions]
        others = np.setdiff1d(np.arange(NUM_SPECIAL, task.vocab_size), asked)
        for q, mask in enumerate(sources):
            first, second = np.flatnonzero(mask)
            assert (first + 1, tokens[first]) == (second, asked[q])
            for place in range(1, task.context_length + 1):
                changed = tokens.copy()
                if tokens[place] not in asked:
                    changed[place] = others[others != tokens[place]][0]
                assert (answer(task, changed)[q] != labels[q]) == (place == second)


def test_places_and_answers_are_uniform():
    task = InductionTask(context_length=5, num_symbols=6, num_queries=2)
    rows = draw(task, 2400)
    places = np.argmax(rows["sources"], axis=2)
    # Six pairs of places with a gap, each symbol as likely: standard deviations of at most 28.
    pairs, counts = np.unique(np.sort(places, axis=1), axis=0, return_counts=True)
    assert pairs.tolist() == [[1, 3], [1, 4], [2, 4]]
    assert abs(counts - 800).max() < 110
    assert abs(np.bincount(rows["labels"].ravel()) - 800).max() < 130


def test_orderless_accuracy_is_that_of_the_commonest_symbol_that_is_not_asked_for():
    task = InductionTask(context_length=7, num_symbols=5, num_queries=2)

    def commonest(tokens, positions):
        context = tokens[1 : task.context_length + 1]
        others = context[~np.isin(context, tokens[positions])] - NUM_SPECIAL
        return np.full(len(positions), np.argmax(np.bincount(others)))

    found, error = accuracy_of(commonest, draw(task, 1500))
    assert found == pytest.approx(task.baselines["orderless_accuracy"], abs=error)
    assert error < 0.04


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ((8, 9, 0), "num_queries must be at least 1, got 0"),
        ((5, 9, 3), "num_queries=3 .* context_length of at least 6, got 5"),
        ((8, 4, 3), r"num_symbols must be at least num_queries \+ 2 = 5, got 4"),
    ],
)
def test_impossible_task_is_an_error_with_its_numbers(sizes, reason):
    names = ("context_length", "num_symbols", "num_queries")
    with pytest.raises(ValueError, match=reason):
        InductionTask(**dict(zip(names, sizes, strict=True)))
