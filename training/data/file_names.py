"""File names from class names and labels: readable, allowed on every file system."""

import re
import unicodedata
import zlib
from collections import Counter

MAX_LENGTH = 50  # characters of up to 4 bytes; with an ending below the usual limit of 255 bytes
_RESERVED = re.compile(r'(con|prn|aux|nul|com\d|lpt\d)(\..*)?', re.IGNORECASE)  # devices of Windows


def file_name(text: str, max_length: int = MAX_LENGTH) -> str:
    """'cat:0.5,dog:0.5' -> 'cat_0.5_dog_0.5'. Never empty, hidden or the name of a device."""
    text = unicodedata.normalize('NFC', text)  # some file systems do that themselves
    name = re.sub(r'[^\w.-]+', '_', text).strip('.')[:max_length].rstrip('.')
    return f'_{name}' if not name or name.startswith('-') or _RESERVED.fullmatch(name) else name


def file_names(texts: list[str], max_length: int = MAX_LENGTH) -> list[str]:
    """A file name for each text; names that differ only in case get their number at the end."""
    names = [file_name(text, max_length) for text in texts]
    counts = Counter(name.casefold() for name in names)
    numbered = [f'{name}-{index}' if counts[name.casefold()] > 1 else name for index, name in enumerate(names)]
    if len({name.casefold() for name in numbered}) < len(numbered):  # 'cat-1' is a class too
        return [f'{index}-{name}' for index, name in enumerate(names)]
    return numbered


def mix_file_name(text: str, class_names: list[str], max_length: int = MAX_LENGTH) -> str:
    """'cat:0.5,dog:0.5' -> 'cat_0.5_dog_0.5', with a checksum where other mixes of these classes could give the same."""
    folded = {name.casefold() for name in class_names}
    is_plain = len(folded) == len(class_names) and all(re.fullmatch(r'([^\W_]|[.-])+', name) for name in class_names)
    return _marked(text, max_length, is_plain)


def vector_file_name(text: str) -> str:
    """'0.2,1' -> 'label_0.2_1'; a long one is cut and gets a checksum."""
    return _marked(f'label_{text.replace(" ", "")}', MAX_LENGTH, True)


def path_file_name(first: str, last: str) -> str:
    """File names of two ends -> that of the path between them."""
    name = f'{first}-to-{last}'
    return name if name.count('-to-') == 1 else f'{name}-{_checksum(f"{first}/{last}")}'


def _marked(text: str, max_length: int, is_plain: bool) -> str:
    name = file_name(text, max_length)
    return name if is_plain and len(text) <= max_length else f'{name}-{_checksum(text)}'


def _checksum(text: str) -> str:
    return f'{zlib.crc32(text.encode("utf-8", "surrogateescape")):08x}'
