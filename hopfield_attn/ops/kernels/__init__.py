"""Pallas kernels: one energy step of the pooled and the pairwise coupling, A never stored."""

from hopfield_attn.ops.kernels.platform import PLATFORMS, default_platform

__all__ = ["PLATFORMS", "default_platform"]
