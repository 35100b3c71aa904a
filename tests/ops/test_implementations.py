"""Every implementation computes what ``jax.grad`` of the energy computes: values and gradients."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hopfield_attn import nonlinear_attention, nonlinearities, truncated
from hopfield_attn.ops import cost_model, heads, primal, row_blocks, standard
from hopfield_attn.ops.cost_model import choose_implementation
from hopfield_attn.ops.problem import Call, DescentOptions
from hopfield_attn.solvers.gradient_modes import as_gradient_mode

pytestmark = pytest.mark.usefixtures("x64")

APPLIES = {
    "primal": ("pooled", "pairwise", "elementwise"),
    "dual": ("pooled",),
    "remat": ("pooled",),
    "blockwise": ("pooled", "pairwise", "elementwise"),
    "kernels": ("pooled", "pairwise", "elementwise"),
}
CASES = [(name, coupling) for name, couplings in APPLIES.items() for coupling in couplings]
SHAPES = ((2, 5, 7, 2, 3, 4), (1, 8, 3, 3, 2, 2))
"""(b, n, m, h, d_k, d_v): cross-attention; few, because each one compiles."""


@pytest.fixture(params=["whole", "in pieces"])
def pieces(request, monkeypatch):
    """Once with everything at a time, once with heads, rows and blocks one after the other."""
    if request.param == "in pieces":
        monkeypatch.setattr(heads, "CPU_CELLS", 70)
        monkeypatch.setattr(primal, "ROW_CELLS", 14)
        monkeypatch.setattr(primal, "SUMMED_KEYS", 1)
        monkeypatch.setattr(row_blocks, "BLOCK_CELLS", 14)
        monkeypatch.setattr(row_blocks, "BLOCK_ROWS", 1)
        monkeypatch.setattr(cost_model, "MAX_KEPT_CELLS", 1)


def problem(shape, seed, name="quadratic"):
    b, n, m, h, dk, dv = shape
    rng = np.random.default_rng(seed)
    draw = lambda *size: jnp.asarray(rng.normal(size=size))  # noqa: E731
    arrays = {"query": draw(b, n, h, dk), "key": draw(b, m, h, dk), "value": draw(b, m, h, dv)}
    F = nonlinearities.make_nonlinearity(name, 0.5 * draw(h))
    masks = {
        "query_mask": jnp.asarray(rng.random((b, n)) < 0.8),
        # The first example has no key at all.
        "key_mask": jnp.asarray(rng.random((b, m)) < 0.7).at[0].set(seed % 2 == 0),
    }
    numbers = {
        "lam": jnp.asarray(rng.uniform(0, 3)),
        "step_size": jnp.asarray(rng.uniform(0.1, 0.5)),
        "gain": jnp.asarray(rng.uniform(0.2, 1.0)),
    }
    return {**arrays, "nonlinearity": F, **numbers}, masks, draw(b, n, h, dv)


def compiled(**options):
    """(arguments, masks, cotangent) → output, and the derivatives in q, k, y, α, λ, η and s."""

    def loss(arguments, masks, cotangent):
        out = nonlinear_attention(**arguments, **masks, **options)
        return jnp.sum(out * cotangent), out

    def found(arguments, masks, cotangent):
        (_, out), grads = differentiated(arguments, masks, cotangent)
        return out, grads

    differentiated = jax.jit(jax.value_and_grad(loss, has_aux=True))
    return found


def value_and_gradients(arguments, masks, cotangent, **options):
    """What a program of these options finds, used once."""
    return compiled(**options)(arguments, masks, cotangent)


def assert_same(got, expected, tolerance=1e-11):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        scale = 1 + np.max(np.abs(b))
        np.testing.assert_allclose(a / scale, b / scale, rtol=0, atol=tolerance)


@functools.cache
def by_autodiff(shape, seed, name, coupling, num_steps, is_causal=False):
    options = {"coupling": coupling, "num_steps": num_steps, "is_causal": is_causal}
    return value_and_gradients(*problem(shape, seed, name), **options, implementation="autodiff")


@pytest.mark.core
@pytest.mark.parametrize("implementation,coupling", CASES)
def test_values_and_gradients_are_those_of_autodiff(implementation, coupling, pieces):
    expected = by_autodiff(SHAPES[0], 0, "quadratic", coupling, 3)
    options = {"coupling": coupling, "num_steps": 3}
    got = value_and_gradients(*problem(SHAPES[0], 0), **options, implementation=implementation)
    assert_same(got, expected)


@pytest.mark.parametrize("implementation", ["primal", "blockwise", "kernels"])
@pytest.mark.parametrize("coupling", ["pairwise", "elementwise"])
def test_causal_values_and_gradients_are_those_of_autodiff(implementation, coupling):
    shape = (2, 6, 6, 2, 3, 4)
    expected = by_autodiff(shape, 3, "quadratic", coupling, 2, is_causal=True)
    options = {"coupling": coupling, "num_steps": 2, "is_causal": True}
    got = value_and_gradients(*problem(shape, 3), **options, implementation=implementation)
    assert_same(got, expected)


@pytest.mark.parametrize("implementation,coupling", CASES)
@pytest.mark.parametrize("name", ["cubic", pytest.param("spline", marks=pytest.mark.slow)])
def test_every_family(implementation, coupling, name):
    if implementation == "kernels" and coupling == "pairwise" and name == "spline":
        pytest.skip("a kernel has no splines")
    expected = by_autodiff(SHAPES[0], 2, name, coupling, 2)
    got = value_and_gradients(
        *problem(SHAPES[0], 2, name), coupling=coupling, num_steps=2, implementation=implementation
    )
    assert_same(got, expected)


def random_case(seed):
    """A problem of any shape, family, coupling and T, and the implementations it is for."""
    rng = np.random.default_rng(seed)
    n, m = rng.integers(1, 10, size=2)
    is_causal = bool(rng.random() < 0.3)
    m = n if is_causal else m
    b, h, dk, dv = rng.integers(1, 4), rng.integers(1, 4), rng.integers(1, 6), rng.integers(1, 6)
    name = str(rng.choice(["quadratic", "cubic", "exponential", "log_cosh", "square", "spline"]))
    coupling = str(rng.choice(["pairwise", "elementwise"] + ["pooled"] * 2 * (not is_causal)))
    options = {
        "coupling": coupling,
        "num_steps": int(rng.integers(0, 6)),
        "is_causal": is_causal,
        "gradient_mode": [None, truncated(1), "one_step", "rematerialised"][rng.integers(0, 4)]
        or "unrolled",
    }
    names = [implementation for implementation, at in CASES if at == coupling]
    if coupling == "pairwise" and name == "spline":
        names.remove("kernels")
    return tuple(int(size) for size in (b, n, m, h, dk, dv)), name, options, names


@pytest.mark.parametrize(
    "seed", [*range(2), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 60))]
)
def test_random_problems_are_solved_as_by_autodiff(seed):
    shape, name, options, implementations = random_case(seed)
    expected = value_and_gradients(
        *problem(shape, seed, name), **options, implementation="autodiff"
    )
    for implementation in implementations:
        got = value_and_gradients(
            *problem(shape, seed, name), **options, implementation=implementation
        )
        assert_same(got, expected)


@pytest.mark.parametrize("mode", [truncated(1), "implicit"])
@pytest.mark.parametrize(
    "implementation,coupling",
    [
        (name, coupling)
        for name in ("primal", "remat", "blockwise")
        for coupling in ("pooled", "pairwise")
        if coupling in APPLIES[name]
    ],
)
def test_gradient_modes_are_those_of_autodiff(implementation, coupling, mode):
    arguments, masks, cotangent = problem(SHAPES[1], 4)
    # Convex and near its stationary point, where the implicit derivative is one.
    arguments |= {"lam": jnp.asarray(4.0), "step_size": jnp.asarray(0.18)}
    options = {"coupling": coupling, "num_steps": 60, "gradient_mode": mode}
    got, expected = (
        value_and_gradients(arguments, masks, cotangent, **options, implementation=name)
        for name in (implementation, "autodiff")
    )
    assert_same(got, expected, tolerance=1e-9)


@pytest.mark.parametrize("implementation", ["primal", "dual", "remat", "blockwise"])
def test_short_modes_stop_at_what_f_closes_over_as_well(implementation):
    arguments, masks, cotangent = problem(SHAPES[0], 6)
    options = {"num_steps": 5, "gradient_mode": truncated(2), "coupling": "pooled"}

    def derivative(name):
        def loss(a):
            F = nonlinearities.as_nonlinearity(
                lambda u: u + a * jnp.sin(3 * u), curvature_range=(-9.0, 9.0)
            )
            given = arguments | {"nonlinearity": F}
            return jnp.sum(
                nonlinear_attention(**given, **masks, **options, implementation=name) * cotangent
            )

        return jax.grad(loss)(jnp.asarray(0.3))

    np.testing.assert_allclose(derivative(implementation), derivative("autodiff"), rtol=1e-9)


@pytest.mark.core
@pytest.mark.parametrize("mode, is_causal", [("unrolled", False), (truncated(1), True)])
def test_standard_is_a_linear_f_in_closed_form(mode, is_causal, pieces):
    arguments, masks, cotangent = problem((2, 6, 6, 2, 3, 4) if is_causal else SHAPES[0], 5)
    F = nonlinearities.as_nonlinearity(lambda u: 1.5 * u, curvature_range=(0.0, 0.0))
    arguments |= {"nonlinearity": F}
    options = {
        "coupling": "pairwise", "num_steps": 3, "gradient_mode": mode, "is_causal": is_causal
    }  # fmt: skip
    got, expected = (
        value_and_gradients(arguments, masks, cotangent, **options, implementation=name)
        for name in ("standard", "autodiff")
    )
    assert_same(got, expected)


@pytest.mark.parametrize("is_causal", [False, True])
def test_the_library_attention_gets_the_masks_of_this_one(is_causal):
    arguments, masks, _ = problem((3, 6, 6, 2, 4, 4), 1)
    arrays = (arguments["query"], arguments["key"], arguments["value"])
    call = Call(*arrays, nonlinearities.identity(), *masks.values(), None)
    got = standard.fused_attention(call, is_causal=is_causal, implementation="xla")
    expected = standard.standard_attention(*arrays, **masks, is_causal=is_causal)
    # jax.nn takes the softmax in float32.
    np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.core
def test_the_library_attention_of_a_gpu_applies_to_half_precision():
    options = DescentOptions(
        num_steps=0, coupling="pooled", lam=1.0, step_size=None, gain=None, is_causal=False,
        dropout_rate=0.0, gradient_mode=as_gradient_mode("unrolled"),
    )  # fmt: skip

    def applies(*dtypes, n=6, width=8, mask=None, **changes):
        q, k, y = (jnp.zeros((2, n, 1, width), dtype) for dtype in dtypes)
        call = Call(q, k, y, nonlinearities.identity(), None, mask, None)
        return standard._cudnn_applies(call, dataclasses.replace(options, **changes))

    half = (jnp.bfloat16,) * 3
    assert applies(*half) and applies(*(jnp.float16,) * 3)
    assert not applies(*(jnp.float32,) * 3)
    assert not applies(jnp.bfloat16, jnp.bfloat16, jnp.float16)
    assert not applies(*half, width=12) and not applies(*half, dropout_rate=0.1)
    assert applies(*half, mask=jnp.ones((2, 6), bool))
    assert applies(*half, n=7) and not applies(*half, n=7, mask=jnp.ones((2, 7), bool))


def test_the_library_attention_gets_a_mask_of_every_query_and_key(monkeypatch):
    seen = []

    def record(query, key, value, *, mask, **options):
        seen.append(mask.shape)
        return query

    monkeypatch.setattr(jax.nn, "dot_product_attention", record)
    q, k = jnp.zeros((2, 6, 1, 8)), jnp.zeros((2, 4, 1, 8))
    mask = jnp.ones((2, 4), bool)
    call = Call(q, k, k, nonlinearities.identity(), None, mask, None)
    standard.fused_attention(call, is_causal=False, implementation="cudnn")
    assert seen == [(2, 1, 6, 4)]


@pytest.mark.core
@pytest.mark.parametrize(
    "options,message",
    [
        ({"implementation": "standard"}, "'standard' is for the identity"),
        ({"implementation": "dual", "coupling": "pairwise"}, "'dual' is for coupling='pooled'"),
        ({"implementation": "remat", "coupling": "pairwise"}, "'remat' is for coupling='pooled'"),
        ({"implementation": "remat", "lam": "auto"}, "lam='auto' and step_size='auto'"),
        ({"implementation": "blockwise", "lam": "auto"}, "lam='auto' and step_size='auto'"),
        ({"implementation": "blockwise", "dropout_rate": 0.1}, "has no attention dropout"),
        ({"implementation": "kernels", "dropout_rate": 0.1}, "has no attention dropout"),
    ],
)
def test_an_implementation_that_does_not_apply_says_so(options, message):
    q = jnp.ones((1, 3, 2, 4))
    options = {"lam": 1.0, "num_steps": 1, "dropout_key": jax.random.key(0)} | options
    with pytest.raises(ValueError, match=message):
        nonlinear_attention(q, q, q, nonlinearity=nonlinearities.quadratic(0.1), **options)


@pytest.mark.core
def test_the_choice_follows_the_shapes():
    def choice(n, F, batch_size=1, **options):
        q = jax.ShapeDtypeStruct((batch_size, n, 1, 64), jnp.float32)
        made = DescentOptions(
            **{
                "coupling": "pooled",
                "lam": 1.0,
                "num_steps": 3,
                "step_size": None,
                "gain": None,
                "is_causal": False,
                "dropout_rate": 0.0,
                "gradient_mode": as_gradient_mode("unrolled"),
            }
            | options
        )
        return choose_implementation(Call(q, q, q, F, None, None, None), made)

    quadratic = nonlinearities.quadratic(0.1)
    assert choice(128, nonlinearities.identity()) == "standard"
    assert choice(128, quadratic) == "dual"
    assert choice(128, quadratic, num_steps=1) == "primal"
    assert choice(512, quadratic, num_steps=1) == "remat"
    assert choice(512, quadratic, num_steps=1, coupling="pairwise") == "primal"
    assert choice(2**16, quadratic, num_steps=1) == "blockwise"
    assert choice(512, quadratic, num_steps=3) == "primal"
    assert choice(512, quadratic, num_steps=7) == "dual"
    assert choice(512, quadratic, num_steps=1, dropout_rate=0.1) == "primal"
    assert choice(128, quadratic, coupling="elementwise") == "blockwise"
    assert choice(128, quadratic, coupling="elementwise", step_size="auto") == "primal"
    assert choice(1024, quadratic, coupling="pairwise") == "primal"
    assert choice(2048, quadratic, coupling="pairwise") == "blockwise"
    assert choice(1024, quadratic, num_steps=8) == "dual"
    assert choice(2048, quadratic) == "primal"
    assert choice(2**16, quadratic) == "blockwise"
    assert choice(2**16, quadratic, lam="auto") == "primal"
    # "dual" keeps A as well, so it takes as much room as "primal".
    assert choice(512, quadratic, num_steps=7, batch_size=2**12) == "blockwise"
    assert choice(512, quadratic, num_steps=7, batch_size=2**12, dropout_rate=0.1) == "dual"


def lowered_gradient(implementation, *, n, **options):
    """The derivative of a pooled call in q, k and y, before it is compiled."""
    q = jnp.ones((1, n, 1, 2))

    def loss(q, k, y):
        F = nonlinearities.quadratic(0.1)
        return jnp.sum(
            nonlinear_attention(
                q, k, y, nonlinearity=F, lam=1.0, implementation=implementation, **options
            )
        )

    return jax.jit(jax.grad(loss, (0, 1, 2))).lower(q, q, q)


@pytest.mark.parametrize("implementation", ["primal", "dual", "remat", "blockwise"])
def test_the_program_does_not_grow_with_the_steps(implementation):
    def num_lines(num_steps):
        lowered = lowered_gradient(implementation, n=4, num_steps=num_steps)
        return len(lowered.as_text().splitlines())

    assert num_lines(3) == num_lines(30)


@pytest.mark.parametrize("implementation", ["primal", "remat", "blockwise"])
def test_memory_does_not_grow_with_the_steps_of_implicit_gradients(implementation):
    def temporaries(mode, num_steps):
        options = {"num_steps": num_steps, "gradient_mode": mode}
        compiled = lowered_gradient(implementation, n=64, **options).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporaries("implicit", 4) == temporaries("implicit", 40)
    assert temporaries("unrolled", 4) < temporaries("unrolled", 40)


def temporaries_of_large_heads(implementation, transform, F=None):
    """Over the memory of the weights of all heads, eight of 512 × 512."""
    n, h = 512, 8
    q = jnp.zeros((1, n, h, 4), jnp.float32)
    solve = functools.partial(
        nonlinear_attention,
        nonlinearity=F or nonlinearities.quadratic(jnp.float32(0.1)),
        lam=1.0,
        num_steps=2,
        implementation=implementation,
    )
    compiled = jax.jit(transform(solve)).lower(q, q, q).compile()
    return compiled.memory_analysis().temp_size_in_bytes / (4 * h * n * n)


@pytest.mark.parametrize("implementation", ["primal", "remat", "blockwise", "autodiff"])
def test_large_heads_on_a_cpu_go_one_after_the_other(implementation):
    assert temporaries_of_large_heads(implementation, lambda solve: solve) < 1


@pytest.mark.parametrize("implementation", ["remat", "blockwise"])
def test_between_the_passes_nothing_of_the_size_of_the_weights_is_stored(implementation):
    n = 40
    q = jnp.ones((1, n, 1, 2))
    F = nonlinearities.quadratic(0.1)
    options = {"lam": 1.0, "num_steps": 2, "implementation": implementation}
    _, pull = jax.vjp(lambda q: nonlinear_attention(q, q, q, nonlinearity=F, **options), q)
    assert max(leaf.size for leaf in jax.tree.leaves(pull)) < n * n


def test_the_weights_of_all_heads_are_stored_only_where_they_are_kept():
    def derivative(solve):
        return jax.grad(lambda *arrays: jnp.sum(solve(*arrays)), argnums=(0, 1, 2))

    assert temporaries_of_large_heads("remat", derivative) < 1
    assert temporaries_of_large_heads("blockwise", derivative) < 1
    assert temporaries_of_large_heads("primal", derivative) > 1


def test_linear_heads_store_their_weights_only_where_there_is_room(monkeypatch):
    def derivative(solve):
        return jax.grad(lambda *arrays: jnp.sum(solve(*arrays) ** 2), argnums=(0, 1, 2))

    linear = nonlinearities.identity()
    assert temporaries_of_large_heads(None, derivative, linear) > 1
    monkeypatch.setattr(cost_model, "MAX_KEPT_CELLS", 8 * 512 * 512)
    assert temporaries_of_large_heads(None, derivative, linear) < 0.5


@pytest.mark.parametrize("implementation", ["primal", "kernels"])
def test_an_integer_alpha_is_the_number_that_it_is(implementation):
    arguments, masks, cotangent = problem(SHAPES[0], 0)

    def found(alpha):
        given = arguments | {"nonlinearity": nonlinearities.quadratic(alpha)}

        def loss(query):
            out = nonlinear_attention(
                **(given | {"query": query}), **masks, num_steps=2, implementation=implementation
            )
            return jnp.sum(out * cotangent)

        return jax.jit(jax.grad(loss))(arguments["query"])

    np.testing.assert_array_equal(found(2), found(2.0))


@pytest.mark.parametrize(
    "implementation", ["standard", "autodiff", "primal", "blockwise", "kernels"]
)
def test_padding_may_hold_anything(implementation):
    (arguments, _, cotangent) = problem((2, 6, 6, 2, 3, 4), 0)
    if implementation == "standard":
        arguments |= {"nonlinearity": nonlinearities.identity()}
    mask = jnp.arange(6)[None] < jnp.array([[4], [6]])
    given = {"query_mask": mask, "key_mask": mask}
    program = compiled(num_steps=2, implementation=implementation)
    clean = program(arguments, given, cotangent)
    for name in ("query", "key", "value"):
        arguments[name] = jnp.where(mask[:, :, None, None], arguments[name], jnp.nan)
    assert_same(program(arguments, given, cotangent), clean)


@pytest.mark.parametrize("implementation", ["primal", "blockwise"])
@pytest.mark.parametrize("coupling", ["pooled", "pairwise"])
def test_without_keys_all_is_zero_and_without_queries_there_is_nothing(implementation, coupling):
    arguments, _, _ = problem(SHAPES[0], 0)
    options = {"num_steps": 1, "coupling": coupling, "implementation": implementation}
    no_keys = {name: arguments[name][:, :0] for name in ("key", "value")}
    x = nonlinear_attention(**(arguments | no_keys), **options)
    np.testing.assert_array_equal(x, np.zeros((2, 5, 2, 4)))
    nothing = nonlinear_attention(**(arguments | {"query": arguments["query"][:, :0]}), **options)
    assert nothing.shape == (2, 0, 2, 4)


@pytest.mark.parametrize("coupling", ["pooled", "pairwise"])
def test_a_kernel_gives_alpha_the_derivative_of_its_own_precision(coupling):
    given, masks, cotangent = problem(SHAPES[0], 0, "log_cosh")
    arrays = {name: given[name].astype(jnp.float32) for name in ("query", "key", "value")}
    assert given["nonlinearity"].alpha.dtype == jnp.float64
    options = {"coupling": coupling, "num_steps": 2}
    got, expected = (
        value_and_gradients(given | arrays, masks, cotangent, **options, implementation=name)
        for name in ("kernels", "autodiff")
    )
    assert_same(got, expected, tolerance=1e-5)


@pytest.mark.parametrize("name", ["lam", "step_size", "gain"])
def test_a_number_for_each_head_is_refused(name):
    arguments, _, _ = problem(SHAPES[0], 0)
    with pytest.raises(ValueError, match=rf"{name} must be a single number; got shape \(2,\)"):
        nonlinear_attention(**(arguments | {name: jnp.array([0.5, 0.6])}), num_steps=1)


on_accelerator = pytest.mark.skipif(
    jax.default_backend() == "cpu", reason="no accelerator: JAX_PLATFORMS=cuda,cpu, or tpu,cpu"
)
LONG_SHAPES = ((2, 100, 130, 2, 24, 40), (1, 257, 257, 3, 64, 64))
"""Several blocks of a kernel, none full; and heads as wide as BERT's."""


def on_the_cpu(shape, name, **options):
    """A problem in float64 on the CPU, and what autodiff finds there."""
    with jax.default_device(jax.devices("cpu")[0]):
        given = problem(shape, 1, name)
        return given, value_and_gradients(*given, **options, implementation="autodiff")


def rounded(tree, dtype):
    """The tree on the default device, its numbers in ``dtype``."""
    return jax.tree.map(
        lambda a: jnp.asarray(np.asarray(a), dtype if a.dtype.kind == "f" else a.dtype), tree
    )


def assert_same_in_float32(shape, name, implementation, **options):
    """Compares an implementation on the accelerator with autodiff in float64 on the CPU."""
    given, expected = on_the_cpu(shape, name, **options)
    with jax.default_matmul_precision("highest"):
        got = value_and_gradients(
            *rounded(given, jnp.float32), **options, implementation=implementation
        )
    assert_same(got, expected, tolerance=2e-5)


@on_accelerator
@pytest.mark.filterwarnings("ignore:The Pallas Triton backend:DeprecationWarning")
@pytest.mark.parametrize("shape", LONG_SHAPES)
@pytest.mark.parametrize("name", ["quadratic", "log_cosh"])
@pytest.mark.parametrize("implementation,coupling", [("autodiff", "pooled"), *CASES])
def test_an_accelerator_in_float32_computes_what_a_cpu_does(implementation, coupling, name, shape):
    options = {"coupling": coupling, "num_steps": 3}
    assert_same_in_float32(shape, name, implementation, **options)


@on_accelerator
@pytest.mark.filterwarnings("ignore:The Pallas Triton backend:DeprecationWarning")
@pytest.mark.parametrize("implementation", ["primal", "blockwise", "kernels"])
@pytest.mark.parametrize("coupling", ["pairwise", "elementwise"])
def test_an_accelerator_is_causal_as_a_cpu_is(implementation, coupling):
    options = {"coupling": coupling, "num_steps": 2, "is_causal": True}
    assert_same_in_float32(LONG_SHAPES[1], "quadratic", implementation, **options)


@on_accelerator
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("is_causal", [False, True])
def test_fused_attention_of_an_accelerator_is_attention_with_the_library_masks(dtype, is_causal):
    b, n, h, d = 2, 130, 2, 64
    rng = np.random.default_rng(0)
    q, k, v, bar = (
        np.asarray(rng.normal(size=(b, n, h, d)), dtype).astype(float) for _ in range(4)
    )
    masks = {
        "query_mask": rng.random((b, n)) < 0.8,
        # The second example has no key.
        "key_mask": (rng.random((b, n)) < 0.7) & np.array([[True], [False]]),
    }

    def loss(q, k, v, masks):
        x = standard.standard_attention(q, k, v, **masks, is_causal=is_causal)
        return jnp.sum(x.astype(float) * bar), x

    found = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True))
    with jax.default_device(jax.devices("cpu")[0]):
        (_, expected), expected_bars = found(q, k, v, masks)
    (_, got), bars = found(*(jnp.asarray(a, dtype) for a in (q, k, v)), masks)
    assert got.dtype == dtype
    as_numbers = lambda tree: jax.tree.map(lambda a: np.asarray(a).astype(float), tree)  # noqa: E731
    assert_same(as_numbers((got, bars)), as_numbers((expected, expected_bars)), tolerance=2e-2)
