"""What `minicnn bench` and the repository's benchmarks/ share: clock, suite, machine, errors, memory."""
