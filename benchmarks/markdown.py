"""Tables in markdown."""


def head(*cells: str) -> str:
    """The first column is text, the others are numbers."""
    return row(*cells) + '|---' + '|---:' * (len(cells) - 1) + '|\n'


def row(*cells: object) -> str:
    """One line of a table."""
    return f'| {" | ".join(map(str, cells))} |\n'
