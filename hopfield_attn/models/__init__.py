"""Encoder, task heads, and the way from a config to a model."""
