"""Stock code names the mode in PIL.Image.fromarray(array, 'RGB'). Some versions of Pillow deprecate or refuse that.

The mode named there is always the one that Pillow finds by itself: 'L' for [H, W], 'RGB' for [H, W, 3], both uint8.
"""
import contextlib
import functools
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import PIL.Image

from patches.checkout import Checkout
from patches.replace import replaced

MENDS = 'PIL.Image.fromarray() takes no mode any more: pictures are not saved'
DELETE = 'when no version of Pillow minds'


def applies(checkout: Checkout) -> bool:
    """Whether this Pillow warns or raises."""
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        try:
            PIL.Image.fromarray(np.zeros([1, 1, 3], np.uint8), 'RGB')
        except (DeprecationWarning, TypeError):
            return True
    return False


@contextlib.contextmanager
def patched() -> Iterator[None]:
    """The mode is left out where it is the usual one; ValueError for any other."""
    usual = PIL.Image.fromarray

    @functools.wraps(usual)
    def fromarray(obj: Any, mode: str | None = None) -> PIL.Image.Image:
        image = usual(obj)
        if mode not in (None, image.mode):
            raise ValueError(f'an array of mode {image.mode} as a picture of mode {mode}: convert the array')
        return image

    with replaced(PIL.Image, 'fromarray', fromarray):
        yield
