"""The report on the files of a data set: for each class, how many are kept and left out, and why."""

from collections import Counter

from dnnlib.errors import printable

from .file_listing import HIDDEN, Entry, system_reason
from .image_files import ImageFiles
from .name_encoding import clean_name

MAX_ROWS = 20
MAX_REASONS = 8
MAX_NAME_CHARS = 40
NO_CLASS = '(no class)'


def describe_left_out(entries: list[Entry], hidden: bool = False) -> str:
    """'2 x ending .txt (a.txt), 1 x empty folder (owl/)': counts by reason, each with its first name.

    hidden: count hidden files too.
    """
    counts = Counter(entry.reason for entry in entries if hidden or entry.reason != HIDDEN)
    first = {entry.reason: entry.name for entry in reversed(entries)}
    shown = [f'{count} x {reason} ({first[reason]})' for reason, count in counts.most_common(MAX_REASONS)]
    return printable(', '.join(shown) + (f' and {len(counts) - MAX_REASONS} other reasons' if len(counts) > MAX_REASONS else ''))


def no_images(files: ImageFiles) -> str:
    """The message about a folder or archive without images."""
    found = len(files.left_out) + len(files.label_files)
    why = describe_left_out(files.left_out, hidden=True)
    return (f'{files.path}: no image among {found} files; expected PNG or other image files, in folders of any depth'
            + (f', found {why}' if why else ''))


def show_name(name: str) -> str:
    """A class's name as it is printed: on one line, and not too long."""
    return printable(name if len(name) <= MAX_NAME_CHARS else f'{name[:MAX_NAME_CHARS - 3]}...')


def rows_by_class(kept: dict[str, int], around: str, depth: int, entries: list[Entry]) -> dict[str, list[Entry]]:
    """What is left out, by the class in whose folder it is, including classes that lose everything.

    kept: pictures by class. around: the folder around all pictures; depth: how many folders lie between it and classes.
    """
    rows: dict[str, list[Entry]] = {name: [] for name in kept}
    for entry in entries:
        folders = entry.name[len(around):].split('/')[depth:-1] if entry.name.startswith(around) else []
        name = clean_name(folders[0]) if folders and not system_reason(folders[0]) else NO_CLASS
        rows.setdefault(name, []).append(entry)
    return rows


def left_out_table(kept: dict[str, int], rows: dict[str, list[Entry]]) -> list[str]:
    """Lines of a table: class, pictures kept, entries left out and why. If there are too many classes, those with nothing left
    out are dropped."""
    order = set(sorted(rows, key=lambda name: not rows[name])[:MAX_ROWS])
    shown = [name for name in rows if name in order]
    width = max(len('class'), *(len(show_name(name)) for name in shown))
    lines = [f'{"class":<{width}}  {"kept":>7}  {"left out":>8}']
    for name in shown:
        why = describe_left_out(rows[name], hidden=True)
        lines.append(f'{show_name(name):<{width}}  {kept.get(name, 0):>7}  {len(rows[name]):>8}  {why}'.rstrip())
    rest = sum(kept.values()) - sum(kept.get(name, 0) for name in shown)
    return lines + ([f'and {len(rows) - len(shown)} more classes with {rest} pictures'] if len(rows) > len(shown) else [])


def vanished_classes(kept: dict[str, int], rows: dict[str, list[Entry]]) -> list[str]:
    """A line for each folder that looks like a class, but of which no picture is kept."""
    return [f'{name} is not a class of the set: {describe_left_out(entries, hidden=True)}'
            for name, entries in rows.items() if entries and not kept.get(name) and name != NO_CLASS]
