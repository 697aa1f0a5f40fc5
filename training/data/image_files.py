"""The files of a data set, in a folder or a zip archive: which ones are pictures, and their bytes, headers and pixels."""

import io
import os
import zipfile
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from dnnlib.archives import ARCHIVE_ERRORS

from .file_listing import HIDDEN, IRREGULAR, Entry, list_archive, list_folder
from .image_convert import orientation, to_mode, upright_size
from .name_encoding import FOLDER_ENCODING, ZIP_ENCODING, check_encoding, legacy_note
from .picture_formats import HEAD_BYTES, content_reason, ending_of, ending_reason, failure_reason, open_picture

try:
    import pyspng  # several times as fast as Pillow
except ImportError:
    pyspng = None

LABEL_FILE = 'dataset.json'
MAX_FILE_BYTES = 2**28  # of one file: a small archive can hold huge ones
BAR_DELAY_SEC = 2  # shorter work shows no progress bar
PIXEL_MODES = {'L': 1, 'RGB': 3}  # Pillow's mode -> channels; what a data set may hold


class ImageFiles:
    """The files under a folder or in a zip archive, by their relative names with '/'.

    image_names: of the pictures, sorted as text. label_files: those called dataset.json, in any case. left_out: all other
    entries, each with the reason. notes: what is unusual about names. encoding: of names that are not UTF-8.

    Every process opens the archive for itself: forked workers would share one file position. Pickling drops the open archive. A
    path that is neither raises an OSError.
    """

    def __init__(self, path: str | os.PathLike[str], encoding: str | None = None):
        self.path = os.fspath(path)
        check_encoding(encoding)
        self._archive: zipfile.ZipFile | None = None
        self._archive_pid = -1
        self._is_folder = os.path.isdir(self.path)
        self._check_kind()
        self._stored: dict[str, str] = {}  # name -> what the folder or archive calls it
        self.image_names: list[str] = []
        self.label_files: list[str] = []
        self.left_out: list[Entry] = []
        entries = list(list_folder(self.path, encoding) if self._is_folder
                       else list_archive(self._open_archive().infolist(), encoding))
        for entry in entries:
            self._sort_in(entry)
        self.image_names.sort()
        self.left_out.sort(key=lambda entry: entry.name)
        legacy = [] if encoding else [entry for entry in entries if entry.legacy]
        used = FOLDER_ENCODING if self._is_folder else ZIP_ENCODING
        self.notes = [legacy_note(legacy[0].name, legacy[0].legacy, len(legacy), used)] if legacy else []

    def read(self, name: str) -> bytes:
        """The bytes of one file; OSError if it cannot be read whole."""
        with self.open(name) as stream:
            try:
                return stream.read()
            except (OSError, *ARCHIVE_ERRORS) as error:
                raise OSError(f'{self.path}: {name} is damaged ({error}); make the archive again') from error

    def open(self, name: str) -> BinaryIO:
        """A stream of the bytes of one file; OSError if it is larger than MAX_FILE_BYTES."""
        stored = self._stored[name]
        try:
            if self._is_folder:
                path = os.path.join(self.path, stored)
                self._check_size(name, os.stat(path).st_size)
                return open(path, 'rb')
            archive = self._open_archive()
            self._check_size(name, archive.getinfo(stored).file_size)
            return archive.open(stored)  # type: ignore[return-value]
        except ARCHIVE_ERRORS as error:
            raise OSError(f'{self.path}: cannot read {name} ({error})') from error

    def head(self, name: str) -> bytes:
        """The first bytes of a file; b'' if it cannot be read."""
        try:
            with self.open(name) as stream:
                return stream.read(HEAD_BYTES)
        except (OSError, *ARCHIVE_ERRORS):
            return b''

    def close(self) -> None:
        """Close this process's archive; the next access opens it again."""
        if self._archive is not None and self._archive_pid == os.getpid():
            self._archive.close()
        self._archive = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_archive': None}

    def _sort_in(self, entry: Entry) -> None:
        """Decide what an entry is."""
        name = entry.name
        if entry.reason:
            self.left_out.append(entry)
            return
        if name in self._stored:  # two names that read the same once decoded
            name = entry.stored
        self._stored[name] = entry.stored
        file_name = name.rpartition('/')[2]
        if file_name.lower() == LABEL_FILE:
            self.label_files.append(name)
            return
        reason = HIDDEN if file_name.startswith('.') else ending_reason(name)
        if reason is None:
            reason = self._look_inside(name)
        if reason:
            self.left_out.append(Entry(name, entry.stored, reason))
        else:
            self.image_names.append(name)

    def _look_inside(self, name: str) -> str:
        """'' if the content is a picture, else what it is instead."""
        try:
            with self.open(name) as stream, open_picture(stream):
                return ''
        except Exception:  # damaged files let Pillow raise almost anything
            return f'ending {ending_of(name)}' if ending_of(name) else content_reason(self.head(name))

    def _check_kind(self) -> None:
        if not os.path.exists(self.path):
            raise FileNotFoundError(f'{self.path}: no such folder or zip file')
        if not self._is_folder and not os.path.isfile(self.path):
            raise OSError(f'{self.path} is {IRREGULAR}; give a folder or a zip file')

    def _check_size(self, name: str, size: int) -> None:
        if size > MAX_FILE_BYTES:
            raise OSError(f'{self.path}: {name} has {size:,} bytes, more than the limit of {MAX_FILE_BYTES:,}; make it smaller')

    def _open_archive(self) -> zipfile.ZipFile:
        if self._archive is None or self._archive_pid != os.getpid():
            try:
                self._archive = zipfile.ZipFile(self.path)
            except ARCHIVE_ERRORS as error:
                raise OSError(f'{self.path}: neither a folder nor a complete zip file ({error}); copy or download it again, or '
                              'give a folder of images') from error
            self._archive_pid = os.getpid()
        return self._archive


def read_shape(files: ImageFiles, name: str) -> tuple[int, int, int]:
    """(channels, height, width) as shown, from the header alone; OSError if it is no image or of a mode that data sets do not
    hold."""
    try:
        with files.open(name) as stream, open_picture(stream) as image:
            mode, (width, height) = image.mode, upright_size(image)
    except Exception as error:  # damaged files let Pillow raise almost anything
        raise _unreadable(files, name, error) from error
    return _channels(files, name, mode), height, width


def read_pixels(files: ImageFiles, name: str) -> np.ndarray:
    """uint8 [C, H, W], C 1 or 3, upright and with black where it is transparent, as dataset_tool.py makes it; OSError if it is
    no whole image or of another mode."""
    data = files.read(name)
    try:
        with open_picture(io.BytesIO(data)) as image:
            channels = _channels(files, name, image.mode)
            pixels = _decode(data, image, channels)
    except Exception as error:  # damaged files let Pillow raise almost anything
        raise _unreadable(files, name, error) from error
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _decode(data: bytes, image: Image.Image, channels: int) -> np.ndarray:
    """uint8 [H, W, C]. data: of the file; image: the same file, open in Pillow."""
    if pyspng is not None and image.format == 'PNG' and orientation(image) == 1 and 'transparency' not in image.info:
        pixels = pyspng.load(data)
        if pixels.dtype == np.uint8 and pixels.size == image.height * image.width * channels:  # else 16 bits a colour
            return pixels.reshape(image.height, image.width, channels)
    upright = to_mode(image, image.mode)
    return np.asarray(upright).reshape(upright.height, upright.width, channels)


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
    reason = failure_reason(error, files.head(name))
    return OSError(f'{files.path}: {name} is not a readable image ({reason}); replace or remove it')
