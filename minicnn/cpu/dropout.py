"""Dropout masks from a counter: the same (shape, p, seed, draw, start) gives the same mask on every device."""

import math

import numpy as np

from minicnn.cpu.threads import CHUNK_VALUES, parallel_for

CHUNK_WORDS = CHUNK_VALUES // 2
"""Random words of 8 bytes in a chunk; a multiple of 4."""


def dropout_mask(shape, p, seed, draw, start=0):
    """Element i compares the top 53 bits of word start + i of Philox 4×64-10, key `seed`, with p·2⁵³.

    The counter's two low words number the groups of 4 words, the third is `draw`. So chunks are independent.
    """
    group, lead = divmod(start, 4)                                            # words before ours in the first group
    mask = np.empty(lead + math.prod(shape), np.bool_)
    threshold = round(p * 2**53) / 2**53

    def fill(first):
        chunk = mask[first : first + CHUNK_WORDS]
        words = np.random.Generator(np.random.Philox(key=seed, counter=(draw << 128) + group + first // 4))
        np.greater_equal(words.random(len(chunk)), threshold, out=chunk)      # random() is a word's top 53 bits / 2⁵³

    parallel_for(fill, range(0, mask.size, CHUNK_WORDS))
    return mask[lead:].reshape(shape)
