"""Write a training data set: 00000/img00000000.png, ... and dataset.json, into a folder or an uncompressed zip archive.

Everything is written beside the destination and takes its name at the end; a failure leaves nothing behind. The same images
and labels give the same bytes.
"""

import io
import json
import os
import shutil
import tempfile
import zipfile
from pathlib import Path
from types import TracebackType

from PIL import Image

from .image_files import LABEL_FILE

Label = int | list[float] | None
IMAGES_PER_FOLDER = 1000
ARCHIVE_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can hold


class DatasetWriter:
    """A context manager: `with DatasetWriter('set.zip', class_names) as writer: writer.add(image, label)`.

    dest: ends in .zip for an archive (an older one is replaced), else a folder, which must be empty or absent.
    The labels are stored only if every image has one; why_none then says why not.
    """

    def __init__(self, dest: str | os.PathLike[str], class_names: list[str] | None = None, why_none: str = ''):
        self.dest = Path(dest)
        self.class_names = class_names or []
        self.why_none = why_none
        self._entries: list[tuple[str, Label]] = []
        check_destination(self.dest)

    def __enter__(self) -> 'DatasetWriter':
        existing = next(folder for folder in self.dest.absolute().parents if folder.is_dir())
        self._scratch = Path(tempfile.mkdtemp(prefix=f'.{self.dest.name}-', dir=existing))
        self._folder = self._scratch / 'set'
        self._archive: zipfile.ZipFile | None = None
        if _is_archive(self.dest):
            self._archive = zipfile.ZipFile(self._folder, 'w', compression=zipfile.ZIP_STORED)
        return self

    def add(self, image: Image.Image, label: Label = None) -> None:
        """Append an 8-bit gray or RGB image. label: class index, vector, or None."""
        index = len(self._entries)
        name = f'{index // IMAGES_PER_FOLDER:05d}/img{index:08d}.png'
        stream = io.BytesIO()
        image.save(stream, format='PNG', compress_level=0)  # reading is then fast
        self._write(name, stream.getvalue())
        self._entries.append((name, label))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        try:
            if kind is None:
                self._write(LABEL_FILE, self._label_text().encode())
            if self._archive is not None:
                self._archive.close()
            if kind is None:
                _move(self._folder, self.dest)
        finally:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _label_text(self) -> str:
        if not self._entries or any(label is None for _name, label in self._entries):
            why_none = {'why_none': self.why_none} if self.why_none else {}
            return json.dumps({'labels': None, 'class_names': [], **why_none})
        return json.dumps({'labels': self._entries, 'class_names': self.class_names})

    def _write(self, name: str, data: bytes) -> None:
        if self._archive is not None:
            info = zipfile.ZipInfo(name, date_time=ARCHIVE_TIME)
            info.external_attr = 0o644 << 16  # readable where unpacked
            self._archive.writestr(info, data)
            return
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def check_destination(dest: str | os.PathLike[str]) -> None:
    """ValueError if the destination cannot be written without destroying something else."""
    path = Path(dest)
    if _is_archive(path):
        if path.is_dir():
            raise ValueError(f'{path} is a folder, but a name that ends in .zip means an archive; give another name')
    elif path.is_file():
        raise ValueError(f'{path} is a file; give a name that ends in .zip, or a folder that is empty or absent')
    elif path.is_dir() and any(path.iterdir()):
        raise ValueError(f'{path} is a folder that is not empty; give one that is empty or absent')


def _is_archive(path: Path) -> bool:
    return path.suffix.lower() == '.zip'


def _move(source: Path, dest: Path) -> None:
    if dest.is_dir():
        dest.rmdir()  # empty, as checked; not every system replaces a folder
    dest.parent.mkdir(parents=True, exist_ok=True)
    os.replace(source, dest)
