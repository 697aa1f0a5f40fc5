"""setuptools dropped pkg_resources; stock operations ask its parse_version() for the version of PyTorch."""
import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType

from torch.torch_version import TorchVersion

from patches.checkout import Checkout

MENDS = 'the module pkg_resources, with which torch_utils/ops read the version of PyTorch, is gone'
DELETE = 'when checkouts compare versions without it'

NAME = 'pkg_resources'
USERS = ('torch_utils/ops/conv2d_gradfix.py', 'torch_utils/ops/grid_sample_gradfix.py')


def applies(checkout: Checkout) -> bool:
    """Whether the module is missing and used."""
    return importlib.util.find_spec(NAME) is None and any(checkout.mentions(name, NAME) for name in USERS)


@contextlib.contextmanager
def patched() -> Iterator[None]:
    """A module of that name with the one function."""
    module = ModuleType(NAME)
    module.parse_version = TorchVersion     # type: ignore[attr-defined]
    before = sys.modules.get(NAME)
    sys.modules[NAME] = module
    try:
        yield
    finally:
        del sys.modules[NAME]
        if before is not None:
            sys.modules[NAME] = before
