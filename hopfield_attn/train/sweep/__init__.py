"""Sweeps: a grid of settings, a run folder each, and what they say together."""
