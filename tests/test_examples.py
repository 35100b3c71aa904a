"""The examples run, and show what they say."""

import runpy
from pathlib import Path

import jax
import matplotlib.image
import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@pytest.fixture(autouse=True)
def _jax_as_a_user_has_it():
    with jax.numpy_rank_promotion("allow"):
        yield


def main_of(name):
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]


def test_your_own_energy_becomes_a_layer_that_learns():
    trained, loss = main_of("write_your_own_energy")()
    assert loss < 0.12
    np.testing.assert_allclose(trained.parameters["centre"][...], [1.0, -0.5], atol=0.05)
    np.testing.assert_allclose(trained.parameters["radius"][...], 2.0, atol=0.05)


def test_a_damaged_pattern_is_retrieved_and_its_well_is_drawn(tmp_path):
    picture = tmp_path / "well.png"
    found = main_of("retrieve_a_pattern")([f"--out={picture}"])
    assert np.argmax(found.weights[0]) == 1
    assert found.weights[0, 1] > 0.99
    assert np.all(np.diff(found.energies[0]) <= 1e-5)
    height, width, _ = matplotlib.image.imread(picture).shape
    assert min(height, width) > 300
