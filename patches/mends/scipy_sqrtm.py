"""scipy.linalg.sqrtm(matrix, disp=False) gave the root and an error estimate; SciPy deprecates, then drops, the argument.

The Frechet inception distance of stock checkouts takes the first of the two.
"""
import contextlib
import functools
import importlib.util
import inspect
from typing import Any
from unittest import mock

from patches.checkout import Checkout

MENDS = 'scipy.linalg.sqrtm() has no argument disp, or warns about it: FID is not computed'
DELETE = 'when checkouts call sqrtm() without disp'

MODULE = 'scipy.linalg'     # which this project does not need itself


def applies(checkout: Checkout) -> bool:
    """Whether this SciPy's sqrtm() has no such argument, or marks it as deprecated."""
    if not checkout.mentions('metrics/frechet_inception_distance.py', 'sqrtm') or importlib.util.find_spec('scipy') is None:
        return False
    disp = inspect.signature(importlib.import_module(MODULE).sqrtm).parameters.get('disp')
    return disp is None or not isinstance(disp.default, bool)


def patched() -> contextlib.AbstractContextManager[object]:
    """disp=False gives two values again; the error estimate is not computed (None)."""
    module = importlib.import_module(MODULE)
    usual = module.sqrtm

    @functools.wraps(usual)
    def sqrtm(A: Any, disp: bool = True) -> Any:
        return usual(A) if disp else (usual(A), None)

    return mock.patch.object(module, 'sqrtm', sqrtm)
