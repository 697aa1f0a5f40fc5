"""The content of a folder or zip archive: every file under a readable name, and what is left out, with the reason.

Only regular files, each real folder once: pipes, devices and loops of links never hang a command.
"""

import os
import stat
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .name_encoding import FOLDER_ENCODING, ZIP_ENCODING, decode

HIDDEN = 'hidden'
SYSTEM = 'thumbnails or system files'
EMPTY = 'empty folder'
IRREGULAR = 'not a regular file'
READ_ALREADY = 'link to a folder already read'
DUPLICATE = 'duplicate name in the zip (the last is kept)'
SYSTEM_FOLDERS = frozenset({'@eadir', '@tmp', '#recycle', '@recycle', '#snapshot', '~snapshot', '__macosx', '__pycache__',
                            'lost+found', '$recycle.bin', 'system volume information'})
UTF8_FLAG = 0x800  # of a zip entry


@dataclass(frozen=True)
class Entry:
    """A file. name: for people and labels, with '/'; stored: what its folder or archive calls it, as bytes in `legacy` if
    these are not UTF-8. reason: why it is left out, '' if it is not. A folder's name ends in '/'."""

    name: str
    stored: str
    reason: str = ''
    legacy: bytes = b''


def list_folder(root: str, encoding: str | None = None) -> Iterator[Entry]:
    """Every file under the folder; links to folders are followed after all real ones, so that these keep their names."""
    seen: set[tuple[int, int]] = set()
    folders, links = [''], list[str]()
    while folders or links:
        is_link = not folders
        folder = links.pop(0) if is_link else folders.pop()
        path = os.path.join(root, folder)
        status = os.stat(path)
        if (status.st_dev, status.st_ino) in seen or (is_link and _is_above(path, root)):
            yield _folder_entry(f'{folder}/', READ_ALREADY, encoding)
            continue
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(path) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        if not entries and folder:
            yield _folder_entry(f'{folder}/', EMPTY, encoding)
        for entry in entries:
            name = f'{folder}/{entry.name}' if folder else entry.name
            if not _leads_to(entry.is_dir):
                yield _folder_entry(name, '' if _leads_to(entry.is_file) else IRREGULAR, encoding)
            elif reason := system_reason(entry.name):
                yield _folder_entry(f'{name}/', reason, encoding)
            else:
                (links if entry.is_symlink() else folders).append(name)


def list_archive(infos: list[zipfile.ZipInfo], encoding: str | None = None) -> Iterator[Entry]:
    """Every file of the archive, and its empty folders. Names with '\\', from Windows, get '/'."""
    entries: dict[str, Entry] = {}
    for info in infos:
        entry = _archive_entry(info, encoding)
        if entry.name in entries and entry.reason != EMPTY:
            yield Entry(entry.name, entry.stored, DUPLICATE)
        entries[entry.name] = entry
    filled = {f'{parent}/' for name in entries for parent in _parents(name.rstrip('/'))}
    yield from (entry for name, entry in entries.items() if name not in filled)


def system_reason(folder: str) -> str:
    """Why a folder of this name holds no pictures of the set; '' if it may."""
    if folder.casefold() in SYSTEM_FOLDERS:
        return f'{SYSTEM} ({folder})'
    return HIDDEN if folder.startswith('.') and folder not in ('.', '..') else ''


def _folder_entry(stored: str, reason: str, encoding: str | None) -> Entry:
    name, legacy = decode(os.fsencode(stored), encoding, FOLDER_ENCODING)
    return Entry(name.replace(os.sep, '/'), stored, reason, legacy)


def _archive_entry(info: zipfile.ZipInfo, encoding: str | None) -> Entry:
    name, legacy = info.filename, b''
    if not info.flag_bits & UTF8_FLAG and not name.isascii():
        name, legacy = _decode_unmarked(name, encoding)
    name = name.replace('\\', '/').lstrip('/').removeprefix('./')
    if name.endswith('/'):
        return Entry(name, info.filename, EMPTY, legacy)
    system = next((reason for part in name.split('/')[:-1] if (reason := system_reason(part))), '')
    return Entry(name, info.filename, IRREGULAR if stat.S_ISLNK(info.external_attr >> 16) else system, legacy)


def _decode_unmarked(name: str, encoding: str | None) -> tuple[str, bytes]:
    """zipfile has read the bytes of a name without the UTF-8 mark as cp437, unless another field gave it."""
    try:
        return decode(name.encode(ZIP_ENCODING), encoding, ZIP_ENCODING, prefer_utf8=False)
    except UnicodeEncodeError:
        return name, b''


def _leads_to(check: Callable[[], bool]) -> bool:
    """What a directory entry says of itself; False for links that lead in a circle."""
    try:
        return check()
    except OSError:
        return False


def _parents(name: str) -> Iterator[str]:
    while '/' in name:
        name = name.rpartition('/')[0]
        yield name


def _is_above(folder: str, root: str) -> bool:
    return Path(os.path.realpath(root)).is_relative_to(os.path.realpath(folder))
