"""minicnn on a GPU, compared with the CPU and with PyTorch: the modules that `make gpu-report` runs."""
