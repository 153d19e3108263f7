"""minicnn on the CPU, compared with PyTorch and with textbook im2col: the modules that `make bench` runs."""
