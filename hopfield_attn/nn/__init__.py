"""Flax NNX modules."""

from hopfield_attn.nn.energy_attention import EnergyAttention
from hopfield_attn.nn.energy_layer import EnergyLayer
from hopfield_attn.nn.energy_transformer import EnergyTransformerBlock
from hopfield_attn.nn.heads import HeadGroup, parse_heads
from hopfield_attn.nn.memory import HopfieldLookup, HopfieldPooling, HopfieldRetrieval

__all__ = [
    "EnergyAttention",
    "EnergyLayer",
    "EnergyTransformerBlock",
    "HeadGroup",
    "HopfieldLookup",
    "HopfieldPooling",
    "HopfieldRetrieval",
    "parse_heads",
]
