"""Training: losses, optimizer, loop, checkpoints and logs; ``main.run`` puts them together."""
