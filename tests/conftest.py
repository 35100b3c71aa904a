"""What the whole suite shares."""

import jax
import jaxtyping
import pytest
from hypothesis import HealthCheck, settings

# A shared machine may pause any test: time limits belong to the suite, not to one example.
settings.register_profile(
    "hopfield",
    deadline=None,
    max_examples=20,
    # The x64 fixture sets a mode and keeps no state between examples.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("hopfield")

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def x64():
    """Runs a test with float64 as JAX's default."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def no_typechecker():
    """Lets wrong arguments through to the library's own checks, as outside the tests."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
