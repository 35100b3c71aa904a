"""One unit step against torch's scaled dot-product attention."""

import jax.numpy as jnp
import numpy as np
import pytest

from hopfield_attn import nonlinear_attention, nonlinearities
from tests import oracles

torch = pytest.importorskip("torch", reason="torch is not installed: scripts/test --all brings it")
pytestmark = [pytest.mark.heavy, pytest.mark.usefixtures("x64")]


@pytest.mark.parametrize("coupling", oracles.COUPLINGS)
@pytest.mark.parametrize("is_causal", [False, True])
def test_one_unit_step_is_torch_attention_in_value_and_gradient(coupling, is_causal):
    if is_causal and coupling == "pooled":
        pytest.skip("the pooled coupling cannot be causal")
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=(2, 7, 3, 5)) for _ in range(3))
    out = nonlinear_attention(
        *map(jnp.asarray, (q, k, v)),
        nonlinearity=nonlinearities.identity(),
        coupling=coupling,
        lam=0.7,
        num_steps=1,
        is_causal=is_causal,
    )
    tensors = [torch.tensor(a.transpose(0, 2, 1, 3)) for a in (q, k, v)]
    expected = torch.nn.functional.scaled_dot_product_attention(*tensors, is_causal=is_causal)
    np.testing.assert_allclose(out, expected.numpy().transpose(0, 2, 1, 3), rtol=1e-12, atol=1e-12)
