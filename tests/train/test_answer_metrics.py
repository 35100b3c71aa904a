import string

import numpy as np
import pytest

from hopfield_attn.train.answer_metrics import mean_answer_scores, normalise_answer, score_answer
from hopfield_attn.train.group_metrics import best_of_groups, group_exact_match

pytestmark = pytest.mark.core

WORDS = [
    "a",
    "The",
    "an",
    "cat",
    "Cat",
    "dog.",
    "U.S.",
    "the-cat",
    "éclair",
    "a.",
    "anna",
    "42%",
    "—",
]


def plain_words(text):
    """The rules, a character at a time: lower case, punctuation out, then articles out."""
    kept = "".join(character for character in text.lower() if character not in string.punctuation)
    words, word = [], ""
    for character in kept + " ":
        if character.isspace():
            words += [word] if word else []
            word = ""
        else:
            word += character
    return words


def is_article(word):
    return word in ("a", "an", "the")


def harmonic_mean(predicted, answer):
    """F1 from precision and recall, words crossed off one by one."""
    left, hits = list(answer), 0
    for word in predicted:
        if word in left:
            left.remove(word)
            hits += 1
    if hits == 0:
        return 0.0
    precision, recall = hits / len(predicted), hits / len(answer)
    return 2 * precision * recall / (precision + recall)


def naive_scores(prediction, answers, allows_no_answer):
    predicted = [word for word in plain_words(prediction) if not is_article(word)]
    golds = [[word for word in plain_words(text) if not is_article(word)] for text in answers]
    if allows_no_answer:
        golds = [gold for gold in golds if gold]
        if not golds:
            said_nothing = float(predicted == [])
            return said_nothing, said_nothing
    exact = max(float(predicted == gold) for gold in golds)
    return exact, max(harmonic_mean(predicted, gold) for gold in golds)


def random_text(rng, most=5):
    gaps = [" ", "  ", "\n", " \u00a0"]
    words = [WORDS[rng.integers(len(WORDS))] for _ in range(rng.integers(most + 1))]
    return "".join(word + gaps[rng.integers(len(gaps))] for word in words)


@pytest.mark.parametrize("allows_no_answer", [False, True])
def test_scores_are_those_of_the_rules_written_out(allows_no_answer):
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(4000):
        fewest = 0 if allows_no_answer else 1
        answers = [random_text(rng) for _ in range(rng.integers(fewest, 4))]
        prediction = answers[0] if answers and rng.random() < 0.2 else random_text(rng)
        expected = naive_scores(prediction, answers, allows_no_answer)
        found = score_answer(prediction, answers, allows_no_answer=allows_no_answer)
        assert found == pytest.approx(expected, abs=1e-12), (prediction, answers)
        seen.add((found.exact_match, found.f1 in (0.0, 1.0)))
    assert seen == {(0.0, True), (0.0, False), (1.0, True)}


def test_mean_is_over_questions():
    rng = np.random.default_rng(1)
    predictions = [random_text(rng) for _ in range(50)]
    answers = [[random_text(rng) for _ in range(k % 3)] for k in range(50)]
    expected = [naive_scores(*pair, True) for pair in zip(predictions, answers, strict=True)]
    assert mean_answer_scores(predictions, answers, allows_no_answer=True) == pytest.approx(
        tuple(np.mean(expected, axis=0))
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("An apple a day", "apple day"),
        ("the", ""),
        ("theatre", "theatre"),
        ("a-b", "ab"),
        ("U.S.A.", "usa"),
        ("«the» x", "« » x"),  # Only ASCII punctuation goes, and an article ends at any sign.
        ("  \t", ""),
    ],
)
def test_normal_form(text, expected):
    assert normalise_answer(text) == expected


def test_no_answer_is_right_only_where_there_is_none():
    def scores(prediction, answers, allows_no_answer=True):
        return score_answer(prediction, answers, allows_no_answer=allows_no_answer)

    assert scores("", []) == (1, 1)
    assert scores("The", ["", "a"]) == (1, 1)
    assert scores("cat", []) == (0, 0)
    assert scores("", ["cat"]) == (0, 0)
    assert scores("", ["cat", ""]) == (0, 0)
    # SQuAD 1.1 has no such rules: silence matches silence, and has no word in common.
    assert scores("", ["cat", "the"], allows_no_answer=False) == (1, 0)
    with pytest.raises(ValueError, match="at least one answer, got none"):
        scores("", [], allows_no_answer=False)


@pytest.mark.parametrize(("predictions", "answers"), [([], []), (["a"], [])])
def test_numbers_of_questions_have_to_agree(predictions, answers):
    with pytest.raises(ValueError, match=f"got {len(predictions)} and {len(answers)}"):
        mean_answer_scores(predictions, answers, allows_no_answer=True)


def test_groups_are_right_when_all_their_rows_are():
    rng = np.random.default_rng(2)
    for _ in range(1000):
        size = int(rng.integers(1, 20))
        groups = rng.integers(6, size=size)
        targets = rng.integers(2, size=size)
        predictions = np.where(rng.random(size) < 0.3, 1 - targets, targets)
        right: dict[int, bool] = {}
        for group, prediction, target in zip(groups, predictions, targets, strict=True):
            right[group] = right.get(group, True) and prediction == target
        expected = sum(right.values()) / len(right)
        assert group_exact_match(predictions, targets, groups) == pytest.approx(expected)


def test_best_of_a_group_is_its_first_highest_score():
    rng = np.random.default_rng(3)
    for _ in range(1000):
        size = int(rng.integers(1, 20))
        groups, scores = rng.integers(6, size=size), rng.integers(4, size=size) / 4
        best: dict[int, int] = {}
        for row, (group, score) in enumerate(zip(groups.tolist(), scores, strict=True)):
            if group not in best or score > scores[best[group]]:
                best[group] = row
        assert best_of_groups(scores, groups) == best
    nan = np.nan
    assert best_of_groups(np.array([nan, -9.0, nan, nan]), np.array([0, 0, 1, 1])) == {0: 1, 1: 2}


@pytest.mark.heavy
def test_bag_f1_is_that_of_scikit_learn_on_binary_words():
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(4)
    vocabulary = np.array(["cat", "dog", "cow", "hen", "fox", "owl"])
    for _ in range(2000):
        predicted, gold = (rng.random((2, 6)) < rng.random((2, 1))).astype(int)
        texts = [" ".join(vocabulary[marks == 1]) for marks in (predicted, gold)]
        if not predicted.any() and not gold.any():
            continue
        expected = sklearn.f1_score(gold, predicted, zero_division=0.0)
        assert score_answer(texts[0], [texts[1]], allows_no_answer=True).f1 == pytest.approx(
            expected, abs=1e-12
        )
