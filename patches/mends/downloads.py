"""Stock commands fetch networks and weights of metrics from servers that may be gone, or out of reach.

A file downloaded another way and put under its own name into the cache folder replaces the download.
"""
import contextlib
import functools
import importlib
from typing import Any
from unittest import mock

from patches.checkout import Checkout
from patches.surroundings import place_of

MENDS = 'the error of a failed download does not say where to put the file by hand'
DELETE = 'never: servers come and go'


def applies(checkout: Checkout) -> bool:
    """Whether the checkout downloads."""
    return checkout.mentions('dnnlib/util.py', 'open_url')


def patched() -> contextlib.AbstractContextManager[object]:
    """dnnlib.util.open_url() looks into the folder first, and an error tells the place."""
    util = importlib.import_module('dnnlib.util')
    usual = util.open_url

    @functools.wraps(usual)
    def open_url(url: Any, *args: Any, return_filename: bool = False, **kwargs: Any) -> Any:
        place = place_of(str(url))
        if not util.is_url(url):
            return usual(url, *args, return_filename=return_filename, **kwargs)
        if place.is_file():
            return str(place) if return_filename else open(place, 'rb')
        try:
            return usual(url, *args, return_filename=return_filename, **kwargs)
        except Exception as error:      # the library's, and plain ones
            raise OSError(f'{url} cannot be downloaded; get it another way and put it at {place}') from error

    return mock.patch.object(util, 'open_url', open_url)
