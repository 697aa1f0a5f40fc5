"""Image files in a folder or a zip archive: their names, bytes, headers and pixels."""

import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

try:
    import pyspng  # several times as fast as Pillow
except ImportError:
    pyspng = None

LABEL_FILE = 'dataset.json'
PIXEL_MODES = {'L': 1, 'RGB': 3}  # Pillow's mode -> channels; what a data set may hold
DECODING_ERRORS = (OSError, ValueError, SyntaxError, RuntimeError, EOFError, zipfile.BadZipFile, Image.DecompressionBombError)


def image_suffixes() -> frozenset[str]:
    """Lower-case file endings, with the dot, that Pillow can open."""
    known = Image.registered_extensions()  # loads Pillow's plugins
    return frozenset(suffix for suffix, image_format in known.items() if image_format in Image.OPEN)


class ImageFiles:
    """The files under a folder or in a zip archive, by their relative names with '/'.

    An archive is opened once in every process: one shared by forked workers has a single file position, which they would
    move under each other. Pickling drops the open archive. A path that is neither raises an OSError.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = os.fspath(path)
        self._archive: zipfile.ZipFile | None = None
        self._archive_pid = -1
        self._is_folder = os.path.isdir(self.path)
        if not os.path.exists(self.path):
            raise FileNotFoundError(f'{self.path}: no such folder or zip file')
        self.file_names = sorted(self._list_folder() if self._is_folder else self._list_archive())

    @property
    def image_names(self) -> list[str]:
        """Names with an image's ending, sorted as text. Hidden files and the side files of macOS archives are left out."""
        suffixes = image_suffixes()
        return [name for name in self.file_names if PurePosixPath(name).suffix.lower() in suffixes and not _is_hidden(name)]

    def read(self, name: str) -> bytes:
        """The bytes of one file; OSError if it cannot be read whole."""
        with self.open(name) as stream:
            try:
                return stream.read()
            except (zipfile.BadZipFile, EOFError, RuntimeError) as error:
                raise OSError(f'{self.path}: {name} is damaged ({error}); make the archive again') from error

    def open(self, name: str) -> BinaryIO:
        """A stream of the bytes of one file."""
        if self._is_folder:
            return open(os.path.join(self.path, name), 'rb')
        try:
            return self._open_archive().open(name)  # type: ignore[return-value]
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:  # damaged, encrypted, odd compression
            raise OSError(f'{self.path}: cannot read {name} ({error})') from error

    def close(self) -> None:
        """Close this process's archive; the next access opens it again."""
        if self._archive is not None and self._archive_pid == os.getpid():
            self._archive.close()
        self._archive = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_archive': None}

    def _open_archive(self) -> zipfile.ZipFile:
        if self._archive is None or self._archive_pid != os.getpid():
            try:
                self._archive = zipfile.ZipFile(self.path)
            except zipfile.BadZipFile as error:
                raise OSError(f'{self.path}: not a folder, and not a whole zip file ({error}); '
                              'copy or download it again, or give a folder of images') from error
            self._archive_pid = os.getpid()
        return self._archive

    def _list_folder(self) -> Iterator[str]:
        for folder, _subfolders, files in os.walk(self.path, onerror=_raise, followlinks=True):
            for file in files:
                yield Path(folder, file).relative_to(self.path).as_posix()

    def _list_archive(self) -> list[str]:
        return [info.filename for info in self._open_archive().infolist() if not info.is_dir()]


def _raise(error: OSError) -> None:
    raise error


def _is_hidden(name: str) -> bool:
    return any(part.startswith('.') or part == '__MACOSX' for part in name.split('/'))


def read_shape(files: ImageFiles, name: str) -> tuple[int, int, int]:
    """(channels, height, width) from the header alone; OSError if it is no image or of a mode that data sets do not hold."""
    try:
        with files.open(name) as stream, Image.open(stream) as image:
            mode, (width, height) = image.mode, image.size
    except DECODING_ERRORS as error:
        raise _unreadable(files, name, error) from error
    return _channels(files, name, mode), height, width


def read_pixels(files: ImageFiles, name: str) -> np.ndarray:
    """uint8 [C, H, W], C 1 or 3; OSError if it is no whole image or of another mode."""
    data = files.read(name)
    try:
        with Image.open(io.BytesIO(data)) as image:
            channels = _channels(files, name, image.mode)
            pixels = _decode(data, image, channels)
    except ImageModeError:
        raise
    except DECODING_ERRORS as error:
        raise _unreadable(files, name, error) from error
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _decode(data: bytes, image: Image.Image, channels: int) -> np.ndarray:
    """uint8 [H, W, C]. data: of the file; image: the same file, open in Pillow."""
    shape = (image.height, image.width, channels)
    if pyspng is not None and image.format == 'PNG':
        pixels = pyspng.load(data)
        if pixels.dtype == np.uint8 and pixels.size == np.prod(shape):  # else 16 bits, or a colour that stands for transparent
            return pixels.reshape(shape)
    return np.asarray(image).reshape(shape)


class ImageModeError(OSError):
    """An image whose pixels are neither 8-bit gray nor 8-bit RGB."""


def _channels(files: ImageFiles, name: str, mode: str) -> int:
    if mode not in PIXEL_MODES:
        raise ImageModeError(f'{files.path}: {name} has pixels of mode {mode}, expected 8-bit gray (L) or RGB; '
                             'convert the data with dataset_tool.py')
    return PIXEL_MODES[mode]


def _unreadable(files: ImageFiles, name: str, error: Exception) -> OSError:
    if isinstance(error, ImageModeError):
        return error
    return OSError(f'{files.path}: {name} is not a readable image ({reason(error)}); replace or remove it')


def reason(error: Exception) -> str:
    """Why an image cannot be used, in one line."""
    if isinstance(error, UnidentifiedImageError):
        return 'its content has no known format'  # Pillow's own text shows an object in memory
    return ' '.join(str(error).split()) or type(error).__name__
