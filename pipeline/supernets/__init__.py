"""Weight-shared networks and their training."""
