"""Mass on the sources is the sum that a loop over queries makes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hopfield_attn.analysis.source_mass import source_mass
from hopfield_attn.data.recall import RecallTask
from tests.data.synthetic_oracles import draw


def problem(seed=0, b=3, h=2, n=6, q=4):
    rng = np.random.default_rng(seed)
    attention = rng.dirichlet(np.ones(n), size=(b, h, n))
    positions = rng.integers(n, size=(b, q))
    sources = rng.random((b, q, n)) < 0.4
    sources[0, 1] = False
    return attention, positions, sources


def by_loops(attention, positions, sources):
    shares = [[] for _ in range(attention.shape[1])]
    for weights, places, masks in zip(attention, positions, sources, strict=True):
        for place, mask in zip(places, masks, strict=True):
            if mask.any():
                for head, matrix in enumerate(weights):
                    row = abs(matrix[place])
                    shares[head].append(sum(row[mask]) / sum(row))
    return np.mean(shares, axis=1), len(shares[0])


@pytest.mark.parametrize("is_signed", [False, True])
def test_mass_is_the_mean_share_of_the_sources(is_signed):
    attention, positions, sources = problem()
    if is_signed:
        attention = attention - 0.3
    expected, num_queries = by_loops(attention, positions, sources)
    found = source_mass(jnp.asarray(attention), jnp.asarray(positions), jnp.asarray(sources))
    np.testing.assert_allclose(found.heads, expected, rtol=1e-5)
    assert found.num_queries == num_queries < positions.size
    again = jax.jit(source_mass)(attention, positions, sources)
    np.testing.assert_allclose(again.heads, found.heads, rtol=1e-6)


def test_attention_to_all_alike_has_the_uniform_mass_and_scale_does_not_matter():
    attention, positions, sources = (jnp.asarray(a) for a in problem())
    flat = source_mass(jnp.full_like(attention, 0.7), positions, sources)
    np.testing.assert_allclose(flat.heads, jnp.full((2,), flat.uniform), rtol=1e-5)
    scaled = source_mass(3.0 * attention, positions, sources)
    np.testing.assert_allclose(
        scaled.heads, source_mass(attention, positions, sources).heads, rtol=1e-5
    )


def test_attention_at_the_sources_of_a_task_alone_has_mass_one():
    rows = draw(RecallTask(num_pairs=3, num_keys=5, num_values=4, num_queries=2), 5)
    n = rows["tokens"].shape[1]
    right = np.zeros((5, 2, n, n), np.float32)
    b, q = np.indices(rows["positions"].shape)
    right[b, 0, rows["positions"]] = rows["sources"][b, q] / 2
    right[b, 1, rows["positions"]] = ~rows["sources"][b, q]
    columns = (jnp.asarray(rows[name]) for name in ("positions", "sources"))
    found = source_mass(jnp.asarray(right), *columns)
    np.testing.assert_allclose(found.heads, [1, 0], atol=1e-6)
    assert float(found.uniform) == pytest.approx(2 / n)


def test_queries_without_a_source_leave_nothing_to_average():
    attention, positions, sources = (jnp.asarray(a) for a in problem())
    found = source_mass(attention, positions, jnp.zeros_like(sources))
    assert np.isnan(found.heads).all()
    assert found.num_queries == 0
    # No attention at all is none at the sources.
    nothing = source_mass(jnp.zeros_like(attention), positions, sources)
    np.testing.assert_array_equal(nothing.heads, [0, 0])


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("attention", lambda a: a[0], r"attention must have shape \(b, h, n, m\)"),
        ("sources", lambda a: a[:, :, :-1], r"sources must have shape \(b, q, m\) = \(3, 4, 6\)"),
        ("positions", lambda a: a[:2], r"positions must have shape \(b, q\) = \(3, 4\)"),
    ],
)
def test_shapes_that_do_not_fit_are_named(name, change, reason, no_typechecker):
    names = ("attention", "positions", "sources")
    arrays = dict(zip(names, map(jnp.asarray, problem()), strict=True))
    arrays[name] = change(arrays[name])
    with pytest.raises(ValueError, match=reason):
        source_mass(*arrays.values())
