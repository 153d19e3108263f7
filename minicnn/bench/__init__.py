"""How fast is it? What `minicnn bench` and the repository's benchmarks/ share: clock, suite, machine, error, memory."""
