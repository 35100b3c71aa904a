import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hopfield_attn.data.match import MatchTask, balanced_modulus, share_of_yes
from hopfield_attn.data.synthetic import synthetic_examples
from hopfield_attn.data.tokenizer import NUM_SPECIAL
from tests.data.synthetic_oracles import accuracy_of, draw


def witnesses(numbers, i, order, modulus):
    """All sets of order − 1 other places whose numbers make a sum of 0 with number i."""
    others = [j for j in range(len(numbers)) if j != i]
    return [
        places
        for places in itertools.combinations(others, order - 1)
        if (numbers[i] + sum(numbers[j] for j in places)) % modulus == 0
    ]


@given(st.sampled_from([2, 3]), st.integers(4, 10), st.integers(0, 2**40))
def test_labels_and_sources_are_those_of_a_search(order, num_tokens, seed):
    modulus = balanced_modulus(order=order, num_tokens=num_tokens)
    task = MatchTask(order=order, num_tokens=num_tokens, modulus=modulus)
    example = synthetic_examples(task, num_examples=1, seed=seed)[0]
    numbers = (example["tokens"][1:] - NUM_SPECIAL).tolist()
    for i, (label, sources) in enumerate(zip(example["labels"], example["sources"], strict=True)):
        found = witnesses(numbers, i, order, modulus)
        assert bool(label) == bool(found)
        assert set((np.flatnonzero(sources) - 1).tolist()) == set(itertools.chain(*found))


@pytest.mark.parametrize(("order", "num_tokens", "modulus"), [(2, 8, 11), (3, 6, 15)])
def test_a_yes_rests_on_its_sources_alone(order, num_tokens, modulus):
    rows = draw(MatchTask(order=order, num_tokens=num_tokens, modulus=modulus), 40)
    for tokens, labels, sources in zip(
        rows["tokens"], rows["labels"], rows["sources"], strict=True
    ):
        numbers = (tokens[1:] - NUM_SPECIAL).tolist()
        for i in np.flatnonzero(labels):
            places = np.flatnonzero(sources[i]) - 1
            for j in set(range(num_tokens)) - {int(i), *places.tolist()}:
                for new in range(modulus):
                    changed = [*numbers[:j], new, *numbers[j + 1 :]]
                    assert witnesses(changed, i, order, modulus)
            if len(places) == order - 1:
                turned = [
                    not witnesses([*numbers[:j], new, *numbers[j + 1 :]], i, order, modulus)
                    for j in places
                    for new in range(modulus)
                ]
                assert any(turned)


@pytest.mark.parametrize(
    ("order", "num_tokens", "modulus"), [(2, 3, 4), (2, 4, 3), (3, 4, 5), (3, 4, 6), (3, 5, 4)]
)
def test_share_of_yes_is_that_of_all_sequences(order, num_tokens, modulus):
    sequences = itertools.product(range(modulus), repeat=num_tokens)
    found = [bool(witnesses(numbers, 0, order, modulus)) for numbers in sequences]
    share = share_of_yes(order=order, num_tokens=num_tokens, modulus=modulus)
    assert share == pytest.approx(np.mean(found), abs=1e-12)


@pytest.mark.parametrize(("order", "num_tokens"), [(2, 16), (3, 6), (3, 12), (3, 20)])
def test_balanced_modulus_gives_half(order, num_tokens):
    modulus = balanced_modulus(order=order, num_tokens=num_tokens)
    share = share_of_yes(order=order, num_tokens=num_tokens, modulus=modulus)
    assert share == pytest.approx(0.5, abs=0.01)
    rows = draw(MatchTask(order=order, num_tokens=num_tokens, modulus=modulus), 400)
    assert np.mean(rows["labels"]) == pytest.approx(share, abs=0.05)


def test_own_token_accuracy_is_that_of_the_best_answer_to_each_number():
    task = MatchTask(order=3, num_tokens=5, modulus=8)
    rows = draw(task, 2500)
    numbers = rows["tokens"][:, 1:] - NUM_SPECIAL
    votes = np.array([np.mean(rows["labels"][numbers == x]) > 0.5 for x in range(8)])
    # Even numbers have two residues that pair up with themselves, odd numbers none.
    assert len({bool(vote) for vote in votes[::2]}) == len({bool(v) for v in votes[1::2]}) == 1
    found, error = accuracy_of(lambda tokens, at: votes[tokens[at] - NUM_SPECIAL], rows)
    assert found == pytest.approx(task.baselines["own_token_accuracy"], abs=error)
    assert error < 0.03
    # Numbers of one kind: nothing to be had beyond chance.
    odd = MatchTask(order=3, num_tokens=5, modulus=9).baselines
    assert odd["own_token_accuracy"] == odd["chance_accuracy"]


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ((4, 8, 9), "order must be 2 or 3, got 4"),
        ((3, 2, 9), "num_tokens must be at least 3 and modulus at least 2, got 2 and 9"),
        ((2, 8, 1), "num_tokens must be at least 2 and modulus at least 2, got 8 and 1"),
        ((2, 16, 5), "num_tokens=16 and modulus=5 give 96%; modulus=22 is nearest to a half"),
    ],
)
def test_impossible_task_is_an_error_with_its_numbers(sizes, reason):
    order, num_tokens, modulus = sizes
    with pytest.raises(ValueError, match=reason):
        MatchTask(order=order, num_tokens=num_tokens, modulus=modulus)


def test_balanced_modulus_refuses_what_is_no_task():
    with pytest.raises(ValueError, match="order must be 2 or 3 .* got 3 and 2"):
        balanced_modulus(order=3, num_tokens=2)
