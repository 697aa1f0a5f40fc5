"""Names of files and classes that are not UTF-8, or that write one accented letter in two ways."""

import codecs
import re
import unicodedata
from typing import Any

ZIP_ENCODING = 'cp437'  # of names without the UTF-8 mark, as the format says; many programs write the system's code page
FOLDER_ENCODING = 'latin-1'
LIKELY_ENCODINGS = ('cp932', 'gbk', 'cp1252', 'cp866')  # Japanese, Chinese, Western European, Cyrillic


def clean_name(text: str) -> str:
    """A class's name as it is compared and shown: composed accents (NFC); bytes that are not UTF-8 are read as Latin-1."""
    return unicodedata.normalize('NFC', re.sub('[\ud800-\udfff]', _surrogate, text))


def clean_names(names: Any) -> Any:
    """The names of a network's classes, cleaned unless two of them then were the same. What is no list of texts stays."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return names
    cleaned = [clean_name(name) for name in names]
    return cleaned if len(set(cleaned)) == len(set(names)) else names


def decode(raw: bytes, encoding: str | None, default: str, prefer_utf8: bool = True) -> tuple[str, bytes]:
    """-> the name, and its bytes if they are not UTF-8. ValueError if they are not in `encoding` either.

    encoding: of names that are not UTF-8, or without prefer_utf8 of all; None: the default, which never fails.
    """
    text = _try_decode(raw, 'utf-8')
    if text is not None and (encoding is None or prefer_utf8):
        return text, b''
    text = _try_decode(raw, encoding or default)
    if text is None:
        raise ValueError(f'the name {raw!r} is not in the encoding {encoding}; give another --name-encoding')
    return text, raw


def legacy_note(name: str, raw: bytes, count: int, used: str) -> str:
    """The note on `count` names that are not UTF-8. raw: the bytes of the first of them, read as `name`."""
    readings = [f'{text} ({encoding})' for encoding in LIKELY_ENCODINGS if (text := _try_decode(raw, encoding))]
    return (f'{count} names are not UTF-8 and are read as {used}, the first as {name}; if that is wrong, choose another with '
            f'dataset_tool.py --name-encoding: {", ".join(readings)}')


def check_encoding(encoding: str | None) -> None:
    """ValueError unless Python knows it."""
    try:
        codecs.lookup(encoding or 'utf-8')
    except LookupError as error:
        raise ValueError(f'--name-encoding={encoding} is unknown; give for example {", ".join(LIKELY_ENCODINGS)}') from error


def _surrogate(match: re.Match[str]) -> str:
    """A byte that Python could not decode as the Latin-1 letter; others, of broken JSON, as the mark of the unreadable."""
    return chr(ord(match[0]) - 0xdc00) if '\udc80' <= match[0] <= '\udcff' else '\ufffd'


def _try_decode(raw: bytes, encoding: str) -> str | None:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        return None
