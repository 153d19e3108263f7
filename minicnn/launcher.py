"""What a launcher (mpiexec, srun) says in the environment: how many ranks there are, and which one this process is."""

import os

SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_NUM_TASKS")
RANKS = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID")
"""Environment variables of launchers: MPICH and Intel MPI, Open MPI, and Slurm within srun."""


def launched() -> int:
    """How many ranks the launcher's environment tells of: 0 or 1 for a process of its own."""
    return max((int(text) for name in SIZES if (text := os.environ.get(name, "")).isdecimal()), default=0)


def launched_rank() -> int:
    """The rank that the launcher's environment tells, before anybody joins; 0 for a process of its own."""
    return next((int(text) for name in RANKS if (text := os.environ.get(name, "")).isdecimal()), 0)
