"""Launches kernels that loop over maps of pixels: the Python part of kernels/maps.cuh."""

THREADS_PER_BLOCK = 256
WARP_THREADS = 32
LOADS_PER_THREAD = 4
"""Values that a thread loads before it waits for the first: AT_ONCE in kernels/maps.cuh."""
FULL_GRID_BLOCKS = 2048
"""A number of blocks that fully uses the largest GPU."""


def block_for(pixels):
    """(threads along a map, maps in a block): each thread has LOADS_PER_THREAD pixels or more, if the map is large."""
    threads = max(-(-pixels // LOADS_PER_THREAD), min(pixels, WARP_THREADS))
    along = min(THREADS_PER_BLOCK, 1 << max(0, threads - 1).bit_length())
    return along, THREADS_PER_BLOCK // along


def over_maps(kernel, maps, pixels, *arguments):
    """Launch a kernel of EACH_MAP and EACH_PIXEL on `maps` maps of `pixels` pixels."""
    if pixels >= 2**30:
        raise ValueError(f"{kernel.where}: a map of {pixels:,} pixels is too large: it must have fewer than 2³⁰")
    along, at_once = block_for(pixels)
    blocks = -(-maps // at_once)
    rows_of_blocks = min(-(-pixels // along), -(-FULL_GRID_BLOCKS // max(1, blocks)))
    kernel((blocks, rows_of_blocks), (along, at_once), *arguments)
