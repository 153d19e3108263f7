"""Dropout masks from a counter: the same (shape, p, seed, draw) gives the same mask on every device."""

import math

import numpy as np

from minicnn.cpu.threads import CHUNK_VALUES, parallel_for

CHUNK_WORDS = CHUNK_VALUES // 2
"""Random words of 8 bytes in a chunk; a multiple of 4."""


def dropout_mask(shape, p, seed, draw):
    """Element i compares the top 53 bits of word i of Philox 4×64-10, key `seed`, with p·2⁵³.

    The counter's two low words number the groups of 4 words, the third is `draw`. So chunks are independent.
    """
    mask = np.empty(math.prod(shape), np.bool_)
    threshold = round(p * 2**53) / 2**53

    def fill(start):
        chunk = mask[start : start + CHUNK_WORDS]
        words = np.random.Generator(np.random.Philox(key=seed, counter=(draw << 128) + start // 4))
        np.greater_equal(words.random(len(chunk)), threshold, out=chunk)      # random() is a word's top 53 bits / 2⁵³

    parallel_for(fill, range(0, mask.size, CHUNK_WORDS))
    return mask.reshape(shape)
