"""Stock code names the mode in PIL.Image.fromarray(array, 'RGB'). Some versions of Pillow deprecate or refuse that.

The mode named there is the one that Pillow finds by itself: 'L' for [H, W], 'RGB' for [H, W, 3], both uint8. Only pictures of
gray networks come as [H, W, 1] and are called 'RGB' too, which no version takes.
"""
import contextlib
import functools
import warnings
from typing import Any
from unittest import mock

import numpy as np
import PIL.Image

from patches.checkout import Checkout

MENDS = 'PIL.Image.fromarray() no longer takes a mode, nor gray pictures [H, W, 1]: pictures are not saved'
DELETE = 'when checkouts name no mode, and save gray pictures'


def applies(checkout: Checkout) -> bool:
    """Whether this Pillow warns or raises."""
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        try:
            for channels in (1, 3):
                PIL.Image.fromarray(np.zeros([1, 1, channels], np.uint8), 'RGB')
        except (DeprecationWarning, TypeError, ValueError):
            return True
    return False


def patched() -> contextlib.AbstractContextManager[object]:
    """The mode is left out where it is the usual one, and one channel may be called 'RGB'; ValueError for any other."""
    usual = PIL.Image.fromarray

    @functools.wraps(usual)
    def fromarray(obj: Any, mode: str | None = None) -> PIL.Image.Image:
        if np.ndim(obj) == 3 and np.shape(obj)[2] == 1:
            gray = usual(obj[:, :, 0])
            return gray.convert(mode) if mode == 'RGB' else gray
        image = usual(obj)
        if mode not in (None, image.mode):
            raise ValueError(f'an array of mode {image.mode} as a picture of mode {mode}: convert the array')
        return image

    return mock.patch.object(PIL.Image, 'fromarray', fromarray)
