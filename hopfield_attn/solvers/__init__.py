"""Minimisers of any energy."""
