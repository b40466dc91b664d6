"""Bitmaps of initialised arrays, in which both programs with concentrated liquidity note where there is any."""

from __future__ import annotations


def ahead(bits: int, first: int, start: int, most: int) -> tuple[list[int], list[int]]:
    """The nearest initialised arrays from a place on, in both directions; the place itself is in both.

    Args:
        bits: bit i stands for the array of index ``first`` + i.
        start: the index where a swap begins.
        most: how many to give in each direction.

    Returns:
        Indexes descending and indexes ascending, in the order in which a swap meets them.
    """
    at = start - first
    down: list[int] = []
    below = bits & ((1 << max(0, at + 1)) - 1)
    while below and len(down) < most:
        highest = below.bit_length() - 1
        down.append(first + highest)
        below ^= 1 << highest
    up: list[int] = []
    above = bits >> max(0, at) << max(0, at)
    while above and len(up) < most:
        lowest = (above & -above).bit_length() - 1
        up.append(first + lowest)
        above ^= 1 << lowest
    return down, up
