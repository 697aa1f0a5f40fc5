"""Tables in markdown, and their places in pages."""
import re


def head(*cells: str) -> str:
    """The first column is text, the others are numbers."""
    return row(*cells) + '|---' + '|---:' * (len(cells) - 1) + '|\n'


def row(*cells: object) -> str:
    """One line of a table."""
    return f'| {" | ".join(map(str, cells))} |\n'


def fill(text: str, name: str, content: str) -> str:
    """A page's text with `content` between the comments "NAME: its origin" and "end of NAME". ValueError without them."""
    place = re.compile(f'(<!-- {name}: .*? -->\n).*?(<!-- end of {name} -->\n)', re.DOTALL)
    filled, count = place.subn(lambda found: f'{found[1]}\n{content}\n{found[2]}', text)
    if count != 1:
        raise ValueError(f'the page has {count} places for {name}; expected one, between the comments "{name}: ..." and '
                         f'"end of {name}"')
    return filled
