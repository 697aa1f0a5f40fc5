"""The progress bar of a run, only on the terminal, at its width."""

import sys

from tqdm import tqdm


def open_bar(total_images: int, images_done: int = 0) -> tqdm:
    """A bar on the terminal, not in the log file; hidden without a terminal."""
    terminal = sys.__stderr__
    hidden = terminal is None or not terminal.isatty()
    return tqdm(total=total_images, initial=images_done, unit='img', unit_scale=True, file=terminal, disable=hidden,
                dynamic_ncols=True)
