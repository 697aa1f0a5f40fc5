"""File names from class names and labels: readable, allowed on every file system."""

import re
import unicodedata

MAX_LENGTH = 50  # characters of up to 4 bytes; with an ending below the usual limit of 255 bytes
_RESERVED = re.compile(r'(con|prn|aux|nul|com\d|lpt\d)(\..*)?', re.IGNORECASE)  # devices of Windows


def file_name(text: str, max_length: int = MAX_LENGTH) -> str:
    """'cat:0.5,dog:0.5' -> 'cat_0.5_dog_0.5'. Never empty, hidden or the name of a device."""
    text = unicodedata.normalize('NFC', text)  # some file systems do that themselves
    name = re.sub(r'[^\w.-]+', '_', text).strip('.')[:max_length].rstrip('.')
    return f'_{name}' if not name or name.startswith('-') or _RESERVED.fullmatch(name) else name


def file_names(texts: list[str]) -> list[str]:
    """A file name for each text; where two are equal but for case, all of those get their number at the end."""
    names = [file_name(text) for text in texts]
    folded = [name.casefold() for name in names]
    numbered = [f'{name}-{index}' if folded.count(name.casefold()) > 1 else name for index, name in enumerate(names)]
    if len({name.casefold() for name in numbered}) < len(numbered):  # 'cat-1' is a class too
        return [f'{index}-{name}' for index, name in enumerate(names)]
    return numbered
