"""Choice of an operator's implementation, the argument `impl` that some operators take."""

NAMES = ('ref', 'cuda')


def check_impl(impl: str) -> None:
    """Raise ValueError unless `impl` is a known name.

    'ref' is plain PyTorch, the specification. 'cuda' asks for the fast form of the device; today that is the same code.
    """
    if impl not in NAMES:
        raise ValueError(f"impl must be one of {', '.join(NAMES)}: got {impl!r}; leave it out to get the fast form")
