"""How a kernel that goes over maps of pixels is launched: the other half of kernels/maps.cuh."""

THREADS = 256
"""Threads in a block."""
WARP, AT_ONCE = 32, 4
"""Threads whose requests for memory are one; values that a thread waits for together."""
BLOCKS = 2048
"""Blocks that keep the largest GPU busy."""


def block_for(pixels):
    """(threads along a map, maps at once): 256 threads; of a map each has AT_ONCE pixels or more, if a warp fits."""
    wanted = max(-(-pixels // AT_ONCE), min(pixels, WARP))
    along = min(THREADS, 1 << max(0, wanted - 1).bit_length())
    return along, THREADS // along


def over_maps(kernel, maps, pixels, *arguments):
    """Launch a kernel of EACH_MAP and EACH_PIXEL on `maps` maps of `pixels` pixels."""
    if pixels >= 2**30:
        raise ValueError(f"{kernel.where}: a map of {pixels:,} pixels is too large: it must have less than 2³⁰")
    along, at_once = block_for(pixels)
    blocks = -(-maps // at_once)
    rows_of_blocks = min(-(-pixels // along), -(-BLOCKS // max(1, blocks)))
    kernel((blocks, rows_of_blocks), (along, at_once), *arguments)
