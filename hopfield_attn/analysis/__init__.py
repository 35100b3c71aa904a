"""What trained models do inside: energies of heads, and pictures."""
