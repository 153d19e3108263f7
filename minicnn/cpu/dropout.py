"""Masks from a counter: the same (shape, p, seed, draw) is the same mask on every device."""

import math

import numpy as np


def dropout_mask(shape, p, seed, draw):
    """Element i compares the top 53 bits of word i of Philox 4×64-10, key `seed`, with p·2⁵³.

    The counter's two low words number the blocks of 4 words, the third is `draw`.
    """
    words = np.random.Philox(key=seed, counter=draw << 128).random_raw(math.prod(shape))
    return ((words >> 11) >= np.uint64(round(p * 2**53))).reshape(shape)
