"""Flax NNX modules."""

from hopfield_attn.nn.energy_attention import EnergyAttention
from hopfield_attn.nn.heads import HeadGroup, parse_heads

__all__ = ["EnergyAttention", "HeadGroup", "parse_heads"]
