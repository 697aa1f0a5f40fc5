"""Pillow 10 dropped PIL.Image.ANTIALIAS, the old name of LANCZOS, which stock data set tools use."""
import contextlib
from unittest import mock

import PIL.Image

from patches.checkout import Checkout

MENDS = 'PIL.Image.ANTIALIAS is now called LANCZOS: resizing images stops with an error'
DELETE = 'when checkouts use the name LANCZOS'


def applies(checkout: Checkout) -> bool:
    """Whether this Pillow lacks the name that the checkout uses."""
    return not hasattr(PIL.Image, 'ANTIALIAS') and checkout.mentions('dataset_tool.py', 'ANTIALIAS')


def patched() -> contextlib.AbstractContextManager[object]:
    """The old name is there again."""
    return mock.patch.object(PIL.Image, 'ANTIALIAS', PIL.Image.Resampling.LANCZOS, create=True)
