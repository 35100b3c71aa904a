"""The certificate against dense Hessians and real trajectories: never wrong."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hopfield_attn import attention_energy, nonlinearities, regime
from hopfield_attn.energies.regimes import COERCIVE, CONVEX, UNBOUNDED, auto_lam, auto_step_size
from tests import oracles
from tests.energies.test_interaction import head, random_heads

pytestmark = [pytest.mark.usefixtures("x64"), pytest.mark.core]
NAMES = (*oracles.FAMILIES, "spline")
LINEAR = ("identity", "log_cosh", "spline")
GAIN = 0.5
NUM_STEPS = 600


@functools.partial(jax.jit, static_argnames="coupling")
def decide_all(y, weights, alphas, lams, *, coupling):
    """Family → the regimes of a batch of heads; what the families share is compiled once."""

    def one(name, y, weights, alpha, lam):
        F = nonlinearities.make_nonlinearity(name, alpha)
        return regime(y, weights, nonlinearity=F, coupling=coupling, lam=lam, gain=GAIN)

    batch = (y, weights, alphas, lams)
    return {name: jax.vmap(functools.partial(one, name))(*batch) for name in NAMES}


def check_certificates(seed, coupling):
    """What the certificates of a batch of random heads say holds at the states that are tried."""
    y, weights = random_heads(seed)
    rng = np.random.default_rng(seed)
    alphas = rng.choice([-2.0, -0.4, 0.0, 0.3, 1.0, 5.0], size=len(y)) * rng.random(len(y))
    lams = rng.choice([0.0, 0.5, 4.0, 60.0], size=len(y))
    x = rng.normal(size=(len(y), 3, 2))
    # So that e^{αu} stays a number.
    x /= np.maximum(1, np.abs(y).max(axis=(1, 2), keepdims=True))
    found = decide_all(*map(jnp.asarray, (y, weights, alphas, lams)), coupling=coupling)
    for name in NAMES:
        dense = [
            oracles.hessian(
                scale * x[k],
                y[k],
                weights[k],
                name=name,
                alpha=alphas[k],
                coupling=coupling,
                lam=lams[k],
                gain=GAIN,
            )
            for k in range(len(y))
            for scale in (0.0, 1.0, 3.0)
        ]
        values = np.linalg.eigvalsh(np.stack(dense)).reshape(len(y), 3, -1)
        check_regimes(name, jax.tree.map(np.asarray, found[name]), values, lams)


def check_regimes(name, found, values, lams):
    smallest, largest = values.min(axis=(1, 2)), values.max(axis=(1, 2))
    limit, rounding = 1 + lams, 1e-9 * np.abs(values).max(axis=(1, 2))
    is_convex, certified = found.status == CONVEX, found.is_certified
    is_unbounded = found.status == UNBOUNDED
    assert np.all(smallest >= limit - found.softening - rounding)
    assert np.all(largest <= limit + found.stiffening + rounding)
    assert np.all((smallest > -rounding)[is_convex & certified])
    assert np.all((found.contraction < 1) <= (is_convex & certified))
    assert np.all((found.contraction >= 0) & (found.contraction <= 1))
    assert np.all((found.step_size > 0) == np.isfinite(found.stiffening))
    bounded = np.isfinite(found.softening)
    assert np.all(found.softening[bounded] < 1 + found.convex_lam[bounded])
    np.testing.assert_array_equal(found.convex_lam[~bounded], np.inf)
    if name in ("quadratic", "square"):
        # F'' is constant, so the Hessian is the same everywhere: certified both ways.
        assert np.all(smallest[is_unbounded & certified] < 0)
        assert np.all(is_convex | is_unbounded)
    elif name in LINEAR:
        assert np.all(certified & ~is_unbounded)
    else:
        assert np.all(certified & (is_convex | is_unbounded))


@pytest.mark.parametrize("coupling", oracles.COUPLINGS)
@settings(max_examples=3)
@given(seed=st.integers(0, 2**32 - 1))
def test_certificates_are_never_wrong(coupling, seed):
    check_certificates(seed, coupling)


@pytest.mark.slow
@pytest.mark.parametrize("coupling", oracles.COUPLINGS)
@settings(max_examples=200)
@given(seed=st.integers(0, 2**32 - 1))
def test_certificates_are_never_wrong_over_thousands(coupling, seed):
    check_certificates(seed, coupling)


@pytest.mark.parametrize("coupling", oracles.COUPLINGS)
def test_hessian_is_m8(coupling):
    y, weights = head(0, n=2, m=3, d=2)
    x = 2 * np.random.default_rng(1).normal(size=(2, 2))
    options = {"coupling": coupling, "lam": 0.4, "gain": 0.3}

    @jax.jit
    def hessians(flat, alpha):
        def energy(flat, F):
            x = flat.reshape(2, 2)
            return attention_energy(
                x, jnp.asarray(y), jnp.asarray(weights), nonlinearity=F, **options
            )

        made = {name: nonlinearities.make_nonlinearity(name, alpha) for name in NAMES}
        return {name: jax.hessian(energy)(flat, F) for name, F in made.items()}

    for alpha in (-0.7, 1.2):
        for name, dense in hessians(jnp.asarray(x.reshape(-1)), alpha).items():
            expected = oracles.hessian(x, y, weights, name=name, alpha=alpha, **options)
            np.testing.assert_allclose(dense, expected, rtol=1e-9, atol=1e-11, err_msg=name)


@functools.partial(jax.jit, static_argnames="coupling")
def follow(F, y, weights, starts, lam, *, coupling):
    """The regime at lam (negative: twice what "auto" chooses, and one), and two descents."""
    options = {"nonlinearity": F, "coupling": coupling, "gain": GAIN}
    lam = jnp.where(lam < 0, 1 + 2 * auto_lam(y, weights, **options), lam)
    found = regime(y, weights, lam=lam, **options)
    step = auto_step_size(y, weights, lam=lam, **options)
    energy_fn = functools.partial(attention_energy, y=y, weights=weights, lam=lam, **options)

    def advance(x, _):
        energies, grads = jax.vmap(jax.value_and_grad(energy_fn))(x)
        return x - step * grads, (x, energies)

    _, (states, energies) = jax.lax.scan(advance, starts, length=NUM_STEPS)
    return found, step, states, energies


@pytest.mark.parametrize(
    ("name", "coupling"),
    [
        (name, coupling)
        for name in ("quadratic", "log_cosh", "spline")
        for coupling in oracles.COUPLINGS
    ]
    + [("identity", "pooled"), ("square", "pairwise")],
)
def test_at_the_certified_step_the_energy_never_rises_and_states_contract(name, coupling):
    num_convex = 0
    for seed, alpha in ((0, 1.5), (1, -2.0)):
        y, weights = head(seed, n=4, m=5, d=3)
        starts = np.random.default_rng(seed).normal(size=(2, 4, 3)) * [[[1.0]], [[3.0]]]
        F = nonlinearities.make_nonlinearity(name, alpha)
        for lam in (0.2, 3.0, -1.0):
            found, step, states, energies = follow(
                F, *map(jnp.asarray, (2 * y, weights, starts)), lam, coupling=coupling
            )
            assert step == found.step_size > 0
            if int(found.status) == UNBOUNDED:
                energies = energies[:20]  # before it overflows
            rounding = 1e-12 * (1 + np.abs(energies).max(axis=0))
            assert np.all(np.diff(energies, axis=0) <= rounding)
            if not (int(found.status) == CONVEX and bool(found.is_certified)):
                continue
            num_convex += 1
            apart = np.linalg.norm((states[:, 0] - states[:, 1]).reshape(NUM_STEPS, -1), axis=1)
            promised = float(found.contraction) ** np.arange(NUM_STEPS) * apart[0]
            assert np.all(apart <= promised * (1 + 1e-9) + 1e-12)
            if lam < 0:
                # One well: two starts end at the same point.
                assert apart[-1] < 1e-6 * apart[0]
    assert num_convex >= 2


@pytest.mark.parametrize("coupling", oracles.COUPLINGS)
def test_the_certified_lambda_is_convex_and_the_smallest_where_the_bound_is_tight(coupling):
    y, weights = map(jnp.asarray, head(3, n=3, m=4, d=2))
    options = {"nonlinearity": nonlinearities.quadratic(6.0), "coupling": coupling, "gain": GAIN}
    decide = jax.jit(lambda y, weights, lam: regime(y, weights, lam=lam, **options))
    lam = auto_lam(4 * y, weights, **options)
    assert lam > 0
    found = decide(4 * y, weights, lam)
    np.testing.assert_allclose(found.convex_lam, lam, rtol=1e-12)
    assert (int(found.status), bool(found.is_certified)) == (CONVEX, True)
    if coupling == "pairwise":
        return
    # Elementwise is exact, and so is pooled without signs: |G| = M.
    y = 4 * y if coupling == "elementwise" else 4 * jnp.abs(y)
    tight = decide(y, weights, 0.0).convex_lam
    below = decide(y, weights, 0.9 * (1 + tight) - 1)
    assert (int(below.status), bool(below.is_certified)) == (UNBOUNDED, True)


@pytest.mark.parametrize("name", ["quadratic", "cubic", "exponential", "exp"])
@pytest.mark.parametrize("coupling", oracles.COUPLINGS)
def test_along_a_direction_of_an_unbounded_head_the_energy_falls_without_end(name, coupling):
    y, weights = map(jnp.asarray, head(0, n=4, m=5, d=3))
    F = nonlinearities.make_nonlinearity(name, 3.0)
    options = {"nonlinearity": F, "coupling": coupling, "lam": 0.1, "gain": 1.0}
    found = regime(4 * y, weights, **options)
    assert (int(found.status), bool(found.is_certified)) == (UNBOUNDED, True)
    _, vectors = np.linalg.eigh(oracles.interaction_matrix(4 * y, weights, coupling))
    direction = jnp.asarray(vectors[:, -1].reshape(4, 3))
    energies = min(
        (
            [float(attention_energy(t * v, 4 * y, weights, **options)) for t in (1.0, 30.0, 1000.0)]
            for v in (direction, -direction)
        ),
        key=lambda trail: trail[-1],
    )
    assert energies[0] > energies[1] >= energies[2]
    assert energies[2] < -1e4


def status_of(name, alpha, *, coupling="pooled", weights=None, y=None):
    y, A = (head(5, n=3, m=4, d=2)[0], head(5, n=3, m=4, d=2)[1]) if y is None else (y, None)
    A = A if weights is None else weights
    F = nonlinearities.make_nonlinearity(name, alpha)
    y, A = jnp.asarray(2 * y), jnp.asarray(A)
    found = regime(y, A, nonlinearity=F, coupling=coupling, lam=0.3, gain=1.0)
    return int(found.status), bool(found.is_certified)


@pytest.mark.parametrize(
    ("name", "alpha", "coupling", "expected"),
    [
        ("quadratic", -5.0, "pooled", CONVEX),  # α < 0: one well for every λ
        ("quadratic", 5.0, "pooled", UNBOUNDED),
        ("exponential", -2.0, "pooled", CONVEX),
        ("exponential", 2.0, "pooled", UNBOUNDED),
        ("exponential", -2.0, "elementwise", UNBOUNDED),  # A y has both signs
        ("cubic", -0.1, "pooled", UNBOUNDED),
        ("cubic", 0.0, "pooled", CONVEX),
        ("exp", 0.0, "pairwise", UNBOUNDED),
        ("log_cosh", 50.0, "pooled", COERCIVE),
        ("spline", 50.0, "pairwise", COERCIVE),
        ("identity", 0.0, "elementwise", CONVEX),
    ],
)
def test_signs_and_families_have_the_regime_of_the_theory(name, alpha, coupling, expected):
    assert status_of(name, alpha, coupling=coupling) == (expected, True)


@pytest.mark.parametrize("coupling", ["pooled", "pairwise"])
def test_a_cubic_head_whose_cubes_cancel_is_not_certified_unbounded(coupling):
    """Keys y and −y with equal weights: the energy is the norm and the tie alone."""
    y, weights = head(2, n=3, m=4, d=2)
    y, weights = np.concatenate([y, -y]), np.concatenate([weights, weights], axis=1) / 2
    assert status_of("cubic", 1.0, coupling=coupling, weights=weights, y=y) == (UNBOUNDED, False)
    expected = (UNBOUNDED, True)
    assert status_of("exponential", 1.0, coupling=coupling, weights=weights, y=y) == expected


@pytest.mark.parametrize("coupling", oracles.COUPLINGS)
@pytest.mark.parametrize("name", ["exp", "cubic", "square", "log_cosh"])
def test_a_fully_masked_head_is_convex(coupling, name):
    assert status_of(name, 3.0, coupling=coupling, weights=np.zeros((3, 4))) == (CONVEX, True)


def test_a_nan_certifies_nothing():
    y, weights = map(jnp.asarray, head(0))
    for name in ("log_cosh", "exp", "quadratic"):
        F = nonlinearities.make_nonlinearity(name, 0.5)
        found = regime(y.at[0, 0].set(jnp.nan), weights, nonlinearity=F, coupling="pooled", lam=1.0)
        assert not bool(found.is_certified)


def user_regime(fn, *, y_scale=1.0, **stated):
    y, weights = map(jnp.asarray, head(4, n=3, m=4, d=2))
    F = nonlinearities.as_nonlinearity(fn, **stated)
    return regime(y_scale * y, weights, nonlinearity=F, coupling="pooled", lam=0.1, gain=1.0)


def test_a_function_without_bounds_is_sampled_and_never_certified():
    found = user_regime(jnp.tanh)
    assert not bool(found.is_certified)
    known = user_regime(jnp.tanh, curvature_range=(-0.77, 0.77))
    # Sampled near 0, where tanh bends least: an estimate, below the stated bound.
    assert 0 < found.softening <= known.softening
    assert found.max_abs_curvature <= known.max_abs_curvature == 0.77


def test_what_a_user_states_of_a_function_is_what_can_be_certified():
    def of(found):
        return int(found.status), bool(found.is_certified)

    bounded = {"curvature_range": (-1.0, 1.0)}
    assert of(user_regime(jnp.sin, y_scale=0.1, **bounded)) == (CONVEX, True)
    assert of(user_regime(jnp.sin, y_scale=9.0, **bounded)) == (UNBOUNDED, False)
    assert of(user_regime(jnp.sin, y_scale=9.0, growth="linear", **bounded)) == (COERCIVE, True)
    concave = {"curvature_range": (-jnp.inf, 0.0)}
    assert of(user_regime(lambda u: -(u**4), **concave)) == (CONVEX, True)
    convex = {"curvature_range": (0.0, jnp.inf), "growth": "faster"}
    assert of(user_regime(lambda u: u**4, **convex)) == (UNBOUNDED, True)
    # −e^u + e^{−u}: which side wins is not said.
    both = {"curvature_range": (-jnp.inf, jnp.inf), "growth": "faster"}
    assert of(user_regime(lambda u: -2 * jnp.sinh(u), **both)) == (UNBOUNDED, False)


def test_choices_are_constants_for_derivatives():
    y, weights = map(jnp.asarray, head(0, n=3, m=4, d=2))

    @functools.partial(jax.grad, argnums=(0, 1, 2))
    def grads(y, weights, alpha):
        options = {"nonlinearity": nonlinearities.quadratic(alpha), "coupling": "pooled"}
        lam = auto_lam(y, weights, **options)
        return lam + auto_step_size(y, weights, lam=lam, **options)

    for grad in jax.jit(grads)(9 * y, weights, 3.0):
        np.testing.assert_array_equal(grad, 0)


def test_it_goes_over_batches_and_float32():
    y, weights = (jnp.asarray(a[:5], jnp.float32) for a in random_heads(0))

    def one(y, weights):
        F = nonlinearities.log_cosh(0.4)
        return regime(y, weights, nonlinearity=F, coupling="pooled", lam=0.3)

    found = jax.jit(jax.vmap(one))(y, weights)
    assert found.status.shape == (5,)
    assert found.softening.dtype == found.interaction_bound.dtype == jnp.float32
    for i in range(5):
        single = one(y[i], weights[i])
        np.testing.assert_allclose(found.softening[i], single.softening, rtol=1e-5)
        np.testing.assert_allclose(found.softening[i], 0.2 * found.interaction_bound[i], rtol=1e-5)


@pytest.mark.usefixtures("no_typechecker")
@pytest.mark.parametrize(
    ("F", "message"),
    [
        (nonlinearities.exp(), r"lam='auto' needs a bounded F'', but F'' of 'exp' is unbounded"),
        (nonlinearities.cubic(0.1), "F'' of 'cubic' is unbounded; give a number instead"),
        (jnp.tanh, "'tanh' states no bound of F''"),
    ],
)
def test_auto_refuses_what_it_cannot_certify(F, message):
    with pytest.raises(ValueError, match=message):
        auto_lam(jnp.ones((2, 2)), jnp.ones((2, 2)), nonlinearity=F, coupling="pooled")


@pytest.mark.usefixtures("no_typechecker")
def test_wrong_arguments_are_named():
    good = {"nonlinearity": nonlinearities.identity(), "coupling": "pooled", "lam": 0.0}
    per_head = nonlinearities.quadratic(jnp.ones(3))
    for change, message in (
        ({"coupling": "poled"}, "did you mean 'pooled'"),
        ({"lam": -1.0}, "lam must be >= 0"),
        ({"margin": 0.0}, "margin must be > 0"),
        ({"num_iterations": 0}, "num_iterations must be >= 1"),
        ({"nonlinearity": per_head}, r"alpha must have 0 axes.*got shape \(3,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            regime(jnp.ones((3, 2)), jnp.ones((4, 3)), **(good | change))
    with pytest.raises(ValueError, match=r"weights must have shape .*; got shape \(4, 2\)"):
        regime(jnp.ones((3, 2)), jnp.ones((4, 2)), **good)
