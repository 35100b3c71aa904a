"""What the whole suite shares."""

import os
import shutil

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

MAX_CACHE_BYTES = 2**30


def pytest_configure(config):
    """Keeps compiled programs from one run of pytest to the next: most of a test is compiling."""
    if not config.pluginmanager.hasplugin("cacheprovider"):
        return
    folder = config.cache.mkdir("compiled")
    if not hasattr(config, "workerinput"):
        # jax writes into place: a run that was killed may have left half of a program.
        is_whole = config.cache.get("compiled/is_whole", False)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        if not is_whole or size > MAX_CACHE_BYTES:
            shutil.rmtree(folder)
        config.cache.set("compiled/is_whole", False)
    # Without a lock, what one worker writes another must not read.
    worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
    jax.config.update("jax_compilation_cache_dir", str(folder / worker))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def pytest_sessionfinish(session, exitstatus):
    """The programs are whole, as no test was interrupted."""
    config = session.config
    if config.pluginmanager.hasplugin("cacheprovider") and not hasattr(config, "workerinput"):
        ended = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        config.cache.set("compiled/is_whole", ended)


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
