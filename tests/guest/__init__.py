"""The guest in which tests/driver runs: built, booted, driven. `scripts/test-guest --help` says how to use it."""
