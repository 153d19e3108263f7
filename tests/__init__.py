"""The tests, in the order of the package: those of minicnn/x/ are in tests/x/."""
