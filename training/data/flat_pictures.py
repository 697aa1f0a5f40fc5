"""Pictures that come out nearly constant: 12-bit data in 16-bit files, black drawings on transparent ground."""

import numpy as np
from PIL import Image

from .image_convert import ALPHA_MODES, DEEP_MODES

FLAT_RANGE = 16  # of 255
DEEP_FLAT_RANGE = 64  # the same for 16-bit files: 12 bits in them fill 4095 / 257 = 16, 14 bits 64


class FlatPictures:
    """Collects them while pictures are converted, and reports them."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}  # cause -> name of the first picture
        self._counts: dict[str, int] = {}
        self._deep_range: tuple[int, int] | None = None

    def look(self, name: str, image: Image.Image, converted: Image.Image) -> None:
        """image: as it was read; converted: the same, 8-bit gray or RGB."""
        cause = 'deep' if image.mode in DEEP_MODES else 'alpha' if _is_transparent(image) else 'plain'
        low, high = _range(converted)
        if high - low > (DEEP_FLAT_RANGE if cause == 'deep' else FLAT_RANGE):
            return
        self._first.setdefault(cause, name)
        self._counts[cause] = self._counts.get(cause, 0) + 1
        if cause == 'deep':
            low, high = _range(image)
            old = self._deep_range or (low, high)
            self._deep_range = min(low, old[0]), max(high, old[1])

    def notes(self, total: int) -> list[str]:
        """A line for each cause. total: of all pictures."""
        return [f'{count} of {total} pictures came out nearly constant, the first is {self._first[cause]}: {self._advice(cause)}'
                for cause, count in self._counts.items()]

    def _advice(self, cause: str) -> str:
        if cause == 'deep':
            low, high = self._deep_range or (0, 0)
            return (f'their 16-bit values go from {low} to {high} of 65535; scale the files so that these fill the range, for '
                    f'example (value - {low}) * 65535 / {max(high - low, 1)}')
        if cause == 'alpha':
            return ('transparent parts become black, which hides what is drawn in black; put such pictures on a white '
                    'background first')
        return (f'their values differ by {FLAT_RANGE} of 255 at most; check what they show, and scale files that hold 12-bit '
                'data in 16 bits')


def _range(image: Image.Image) -> tuple[int, int]:
    """The smallest and the largest value, in the channel where they differ most."""
    shades = np.asarray(image)
    shades = shades.reshape(-1, shades.shape[2] if shades.ndim == 3 else 1)
    low, high = shades.min(axis=0).astype(int), shades.max(axis=0).astype(int)
    widest = int((high - low).argmax())
    return int(low[widest]), int(high[widest])


def _is_transparent(image: Image.Image) -> bool:
    return image.mode in ALPHA_MODES or 'transparency' in image.info
