"""Masks from a counter: the same (shape, p, seed, draw) is the same mask on every device."""

import math

import numpy as np

from minicnn.cpu.threads import parallel_for

PIECE = 1 << 16
"""Words in a piece, a multiple of 4."""


def dropout_mask(shape, p, seed, draw):
    """Element i compares the top 53 bits of word i of Philox 4×64-10, key `seed`, with p·2⁵³.

    The counter's two low words number the blocks of 4 words, the third is `draw`. So every piece can be made by itself.
    """
    mask = np.empty(math.prod(shape), np.bool_)
    threshold = round(p * 2**53) / 2**53

    def work(start):
        here = mask[start : start + PIECE]
        words = np.random.Generator(np.random.Philox(key=seed, counter=(draw << 128) + start // 4))
        np.greater_equal(words.random(len(here)), threshold, out=here)        # random() is a word's top 53 bits / 2⁵³

    parallel_for(work, range(0, mask.size, PIECE))
    return mask.reshape(shape)
