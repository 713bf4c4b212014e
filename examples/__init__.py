"""Programs to read and to run, from the checkout: `python -m examples.demo`."""
