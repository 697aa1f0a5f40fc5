"""Hook of mkdocs: writes every command's usage, options and examples into reference.md, from its click objects.

A line <!-- options of train_hyper.py --> stands for a script, <!-- options of python -m legacy inspect, in MODULE --> for a
command of another module; of a group, the last word names the subcommand.
"""
import html
import importlib
import inspect
import re

import click

PLACE = re.compile(r'^<!-- options of ([^,\n]+?)(?:, in ([\w.]+))? -->$', re.MULTILINE)


def on_page_markdown(markdown: str, **_context: object) -> str:
    """The page, with each such line replaced by what it stands for."""
    return PLACE.sub(lambda place: describe(*find_command(place[1], place[2])), markdown)


def find_command(name: str, module: str | None) -> tuple[str, click.Command]:
    """('train_hyper.py', None) -> what is typed, and the click command."""
    typed = f'python {name}' if module is None else name
    command = importlib.import_module(module or name.removesuffix('.py')).main
    return typed, command.commands[typed.split()[-1]] if isinstance(command, click.Group) else command


def describe(typed: str, command: click.Command) -> str:
    """Markdown: the docstring, usage, a definition list of the options, the epilog."""
    context = click.Context(command, info_name=typed)
    usage = ' '.join([typed, *command.collect_usage_pieces(context)])
    parts = [_escape(inspect.cleandoc(command.help or '')), f'```text\n{usage}\n```']
    records = [record for option in command.get_params(context) if (record := option.get_help_record(context))]
    parts += [f'`{names}`\n:   {_escape(text)}' for names, text in records]
    if command.epilog:
        parts += [_epilog(part) for part in re.split(r'\n(?=\n)', command.epilog) if part.strip()]
    return '\n\n'.join(parts)


def _epilog(text: str) -> str:
    """What click prints as it is (after a line \\b) is an example to type, the rest is prose."""
    is_literal = text.lstrip().startswith('\b')
    text = inspect.cleandoc(text.replace('\b', ''))
    return f'```text\n{text}\n```' if is_literal else _escape(text)


def _escape(text: str) -> str:
    """Text without Markdown in it; options become code."""
    text = re.sub(r'([*_\[\]`])', r'\\\1', html.escape(text, quote=False))
    return re.sub(r'(?<![\w-])--[a-z][a-z-]*[a-z](=[A-Za-z0-9]+)?', r'`\g<0>`', text)
