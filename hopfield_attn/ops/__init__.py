"""Non-linear attention on batches of heads, and its implementations."""
