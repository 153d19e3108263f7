"""Speed benchmarks: `make bench`, `make gpu-report`, or one of them, such as `python -m benchmarks.cpu.conv --help`."""
