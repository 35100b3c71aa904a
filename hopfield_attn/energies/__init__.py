"""Energies and non-linearities: pure functions of one head of one example."""
