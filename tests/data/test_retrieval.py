import numpy as np
import pytest

from hopfield_attn.data.retrieval import RetrievalTask
from hopfield_attn.data.tokenizer import CLS_ID, NUM_SPECIAL, SEP_ID
from tests.data.synthetic_oracles import accuracy_of, draw

SIZES = {"num_patterns": 3, "pattern_length": 4, "num_symbols": 5, "noise_rate": 0.4}


def make_task(answer, **changes):
    return RetrievalTask(**SIZES | changes, answer=answer)


def read(task, tokens):
    """Patterns (P, L) and copy (L,), as symbols from 0."""
    rows = tokens[1:].reshape(task.num_patterns + 1, task.pattern_length + 1)
    assert tokens[0] == CLS_ID
    assert (rows[:, -1] == SEP_ID).all()
    return rows[:-1, :-1] - NUM_SPECIAL, rows[-1, :-1] - NUM_SPECIAL


def test_without_noise_the_answers_are_in_the_one_pattern_that_is_the_copy():
    symbols, pattern = (
        make_task(answer, noise_rate=0.0, pattern_length=8) for answer in ("symbols", "pattern")
    )
    for first, second in zip(
        *(zip(*draw(task, 50).values(), strict=True) for task in (symbols, pattern)), strict=True
    ):
        tokens, _, types, positions, labels, sources = first
        patterns, copy = read(symbols, tokens)
        (number,) = np.flatnonzero((patterns == copy).all(axis=1))
        assert labels.tolist() == copy.tolist()
        assert tokens[positions].tolist() == (copy + NUM_SPECIAL).tolist()
        start = 1 + number * 9
        assert np.argwhere(sources).tolist() == [[i, start + i] for i in range(8)]
        assert types.tolist() == [0] * positions[0] + [1] * 9
        # The same draws, asked for the number.
        tokens_again, _, _, positions, labels, sources = second
        assert tokens_again.tolist() == tokens.tolist()
        assert (positions.tolist(), labels.tolist()) == ([0], [number])
        assert np.flatnonzero(sources[0]).tolist() == list(range(start, start + 8))


def test_the_token_of_a_source_is_the_answer_and_noise_is_as_frequent_as_it_says():
    task = make_task("symbols")
    rows = draw(task, 2000)
    places = np.argmax(rows["sources"], axis=2)
    assert (rows["sources"].sum(axis=2) == 1).all()
    tokens = np.take_along_axis(rows["tokens"], places, axis=1)
    np.testing.assert_array_equal(tokens - NUM_SPECIAL, rows["labels"])
    shown = np.take_along_axis(rows["tokens"], rows["positions"], axis=1) - NUM_SPECIAL
    # 8000 symbols: a standard error of 0.005.
    assert np.mean(shown == rows["labels"]) == pytest.approx(0.6 + 0.4 / 5, abs=0.02)
    assert np.mean(shown == rows["labels"]) == pytest.approx(
        task.baselines["copy_accuracy"], abs=0.02
    )


@pytest.mark.parametrize("noise_rate", [0.1, 0.4, 0.8])
def test_best_accuracy_is_that_of_the_pattern_that_shares_most_with_the_copy(noise_rate):
    task = make_task("pattern", noise_rate=noise_rate)
    rng = np.random.default_rng(0)

    def most_alike(tokens, positions):
        patterns, copy = read(task, tokens)
        shared = np.sum(patterns == copy, axis=1)
        return [rng.choice(np.flatnonzero(shared == shared.max()))]

    found, error = accuracy_of(most_alike, draw(task, 1500))
    assert found == pytest.approx(task.baselines["best_accuracy"], abs=error)
    assert error < 0.06


def test_best_accuracy_of_symbols_is_that_of_the_likeliest_symbol():
    task = make_task("symbols")
    rows = draw(task, 2000, seed=1)

    def likeliest(tokens, positions):
        return np.argmax(task.symbol_posterior(*read(task, tokens)), axis=1)

    found, error = accuracy_of(likeliest, rows)
    assert found == pytest.approx(task.baselines["best_accuracy"], abs=error)
    assert error < 0.03
    assert found > task.baselines["copy_accuracy"] + 0.05


def test_posterior_is_bayes_rule_over_the_patterns():
    task = make_task("symbols", num_patterns=2, pattern_length=2, num_symbols=3)
    # Kept with 0.6 + 0.4/3, each of the two others with 0.4/3.
    kept, other = 0.6 + 0.4 / 3, 0.4 / 3
    patterns, copy = np.array([[0, 1], [2, 1]]), np.array([0, 0])
    first, second = kept * other, other * other
    weights = np.array([first, second]) / (first + second)
    expected = [[weights[0], 0, weights[1]], [0, 1, 0]]
    np.testing.assert_allclose(task.symbol_posterior(patterns, copy), expected, atol=1e-12)
    certain = make_task("symbols", num_patterns=2, pattern_length=2, noise_rate=0.0)
    found = certain.symbol_posterior(patterns, np.array([2, 1]))
    np.testing.assert_allclose(found[:, 2], [1, 0], atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"num_patterns": 1}, "must be at least 2 .* got 1, 5 and 4"),
        ({"num_symbols": 1}, "must be at least 2 .* got 3, 1 and 4"),
        ({"pattern_length": 0}, "pattern_length at least 1, got 3, 5 and 0"),
        ({"noise_rate": 1.0}, "noise_rate must be at least 0 and below 1, got 1.0"),
        ({"answer": "patern"}, "answer must be one of .*did you mean 'pattern'"),
    ],
)
def test_impossible_task_is_an_error_with_its_numbers(changes, reason):
    with pytest.raises(ValueError, match=reason):
        RetrievalTask(**{**SIZES, "answer": "symbols"} | changes)
