"""What becomes of runs that are killed, stopped, out of disk or out of their database. See docs/results/faults.md."""
