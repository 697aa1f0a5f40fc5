"""README.md and the pages under docs/: their commands, code and prose."""

import importlib
import re
import shlex

import click

from tests.support.commands import REPO

PATHS = [REPO / 'README.md', *sorted((REPO / 'docs').glob('*.md'))]
PAGES = {path.name: path.read_text(encoding='ascii') for path in PATHS}
EVERYTHING = '\n'.join(PAGES.values())
FENCED = re.compile(r'^ *```.*?^ *```$', re.MULTILINE | re.DOTALL)
SCRIPTS = ('train_hyper.py', 'train.py', 'generate.py', 'project.py', 'dataset_tool.py', 'calc_metrics.py', 'export.py',
           'view.py')
# `python -m NAME` -> the module of its click command
MODULES = {
    'legacy': 'commands.inspect_snapshot', 'patches': 'patches.__main__', 'training.report': 'training.report.__main__',
    'benchmarks.demo': 'benchmarks.demo.__main__',
    'benchmarks.speed': 'benchmarks.speed.__main__', 'benchmarks.speed.scale': 'benchmarks.speed.scale',
    'benchmarks.speed.hyper_profile': 'benchmarks.speed.hyper_profile',
    'benchmarks.speed.startup': 'benchmarks.speed.startup', 'benchmarks.speed.metrics': 'benchmarks.speed.metrics',
    'benchmarks.speed.viewer': 'benchmarks.speed.viewer',
    'benchmarks.transfer': 'benchmarks.transfer.__main__', 'benchmarks.transfer.enlargement': 'benchmarks.transfer.enlargement',
}


def blocks(language, text=EVERYTHING):
    """The fenced blocks of a language."""
    return re.findall(rf'^```{language}\n(.*?)^```$', text, re.MULTILINE | re.DOTALL)


def prose(text=EVERYTHING):
    """The text without fenced blocks."""
    return FENCED.sub('', text)


def inline_code(text=EVERYTHING):
    """What stands between single backticks."""
    return re.findall(r'`([^`\n]+)`', prose(text))


def shell_commands(text=EVERYTHING):
    """Every command of the shell blocks, and of the inline code, as a list of words; continued lines joined, no comments."""
    lines = '\n'.join(blocks('shell', text)).replace('\\\n', ' ').splitlines()
    lines += [code for code in inline_code(text) if code.startswith('python ') and ' mkdocs' not in code]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def command_of(words):
    """('train.py', '--kimg=1') or ('-m', 'metrics.x', ...) -> (the click command, its arguments).

    Of `patches run` it is the script's command, if that is ours; the arguments of a checkout's own script are left out.
    """
    name, arguments = (words[1], words[2:]) if words[0] == '-m' else (words[0], words[1:])
    if name == 'patches' and arguments[:1] == ('run',):
        return command_of(arguments[2:]) if arguments[2] == 'train_hyper.py' else (main_of(name), arguments[:3])
    command = main_of(name)
    return (command.commands[arguments[0]], arguments[1:]) if isinstance(command, click.Group) else (command, arguments)


def main_of(name):
    """The click command of a script, or of `python -m name`."""
    return importlib.import_module(name.removesuffix('.py') if name in SCRIPTS else MODULES[name]).main
