"""The progress bar of a run: on the terminal itself, at its width, and nowhere else."""

import sys

from tqdm import tqdm


def open_bar(total_images: int, images_done: int = 0) -> tqdm:
    """A bar on the terminal, past the log file; hidden where there is no terminal."""
    terminal = sys.__stderr__
    hidden = terminal is None or not terminal.isatty()
    return tqdm(total=total_images, initial=images_done, unit='img', unit_scale=True, file=terminal, disable=hidden,
                dynamic_ncols=True)
