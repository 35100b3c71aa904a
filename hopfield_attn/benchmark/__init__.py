"""Time and memory of attention, measured against ``jax.nn.dot_product_attention``."""
