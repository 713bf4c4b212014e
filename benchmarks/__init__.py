"""What aetcd costs, beside the floor that it stands on: `python -m benchmarks`."""
