"""All patches, in the order in which they are applied."""
import contextlib
from collections.abc import Iterator
from types import ModuleType

from .checkout import Checkout
from .mends import (
    adam_betas,
    cuda_only,
    custom_ops,
    downloads,
    gradient_fix,
    hyper_resume,
    pil_antialias,
    pil_mode,
    pkg_resources_gone,
    sampler,
    scipy_sqrtm,
    summary_memory,
)

# pkg_resources first: others import the checkout's operations.
PATCHES = (pkg_resources_gone, sampler, adam_betas, gradient_fix, custom_ops, cuda_only, pil_mode, pil_antialias, scipy_sqrtm,
           summary_memory, hyper_resume, downloads)


def needed(checkout: Checkout) -> list[ModuleType]:
    """The patches for what breaks in this checkout here."""
    return [patch for patch in PATCHES if patch.applies(checkout)]


def name_of(patch: ModuleType) -> str:
    """As people write it: 'gradient-fix'."""
    return patch.__name__.rpartition('.')[2].replace('_', '-')


@contextlib.contextmanager
def applied(patches: list[ModuleType]) -> Iterator[None]:
    """All of them at once, undone at the end. The checkout's packages must come first in sys.path."""
    with contextlib.ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch.patched())
        yield
