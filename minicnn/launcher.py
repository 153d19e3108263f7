"""What a launcher (mpiexec, srun) says in the environment: how many ranks there are, and which one this process is."""

import glob
import os

VISIBLE = "CUDA_VISIBLE_DEVICES"
SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_NUM_TASKS")
RANKS = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID")
"""Environment variables of launchers: MPICH and Intel MPI, Open MPI, and Slurm within srun."""


def launched() -> int:
    """How many ranks the launcher's environment tells of: 0 or 1 for a process of its own."""
    return max((int(text) for name in SIZES if (text := os.environ.get(name, "")).isdecimal()), default=0)


def launched_rank() -> int:
    """The rank that the launcher's environment tells, before anybody joins; 0 for a process of its own."""
    return next((int(text) for name in RANKS if (text := os.environ.get(name, "")).isdecimal()), 0)


def own_gpu(local: int) -> None:
    """Leave rank `local` of a machine one of the GPUs that it sees; the ranks take them in turn.

    It must come before CUDA starts, which reads the environment once. Where the launcher gave each rank a GPU of its
    own, or there is none, nothing changes.
    """
    told = os.environ.get(VISIBLE)
    if told is None:
        seen = [str(n) for n in range(len(glob.glob("/dev/nvidia[0-9]*")))]
    else:
        seen = [word.strip() for word in told.split(",") if word.strip()]
    if len(seen) > 1:
        os.environ[VISIBLE] = seen[local % len(seen)]
