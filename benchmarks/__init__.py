"""How fast minicnn is, and beside what: `make bench`, or one of them, such as `python -m benchmarks.conv --help`."""
