"""Operations of a training step as the model counts them: its matrix products alone."""

from collections.abc import Mapping
from typing import Any

from hopfield_attn.data.masking import num_masked
from hopfield_attn.models.layers import heads_by_layer
from hopfield_attn.nn.heads import parse_heads

BACKWARD = 2
"""The reverse pass has two products for each one of the forward pass."""


def encoder_flops(model: Mapping[str, Any], *, length: int) -> int:
    """Operations of the encoder, forward, for one sequence; an addition and a product are two.

    A layer: 2n(4w² + 2w·mlp) of its matrices, and n²d products for q kᵀ and A y of every head. A
    non-linear head has two more for each of its T steps, u and A diag(c) y, whatever computes them.

    Args:
      model: ``config.model``.
      length: n.

    Example:
      >>> model = {"width": 8, "num_layers": 1, "num_heads": 2, "mlp_width": 16, "num_steps": 3,
      ...          "coupling": "pooled"}
      >>> encoder_flops(model | {"heads": "identity", "head_layers": ""}, length=4)
      4608
      >>> encoder_flops(model | {"heads": "quadratic", "head_layers": ""}, length=4)
      6144
    """
    width, num_heads = model["width"], model["num_heads"]
    matrices = 2 * length * (4 * width**2 + 2 * width * model["mlp_width"])
    product = 2 * length**2 * (width // num_heads)
    # An elementwise head needs A y alone.
    step_products = 0 if model["coupling"] == "elementwise" else 2 * model["num_steps"]
    total = 0
    for heads in heads_by_layer(
        model["heads"], model["head_layers"], num_layers=model["num_layers"]
    ):
        groups = parse_heads(heads, num_heads=num_heads)
        products = sum(
            (g.stop - g.start) * (2 + step_products * (g.family != "identity")) for g in groups
        )
        total += matrices + products * product
    return total


def step_flops(config: Any, *, length: int, num_sequences: int = 1) -> int:
    """Operations of a training step on the whole batch: forward and reverse, of all devices.

    The head of a masked-language model is counted, (w² + w·vocabulary) a masked token; that of a
    classifier is next to nothing. What is computed again (``model.remat``) counts once.

    Args:
      config: a training config.
      length: tokens of a sequence.
      num_sequences: of an example: a row for every choice and window.
    """
    sequence = encoder_flops(config.model.to_dict(), length=length)
    if config.task == "mlm":
        width = config.model.width
        slots = num_masked(length, mask_rate=config.data.mask_rate)
        sequence += 2 * slots * width * (width + config.data.vocab_size)
    return (1 + BACKWARD) * config.train.batch_size * num_sequences * sequence
