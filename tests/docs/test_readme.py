"""README.md names only what is there: commands with options and values that parse, make targets, files, links, statistics."""

import ast
import importlib
import json
import re
import shlex

import click
import pytest
from torch.distributed.run import get_args_parser

from commands.config import NO_METRICS
from commands.going_on import CHANGEABLE
from metrics.metric_main import list_valid_metrics
from metrics.registry import find_metric
from patches.known import PATCHES, name_of
from tests.conftest import REPO
from training.data.image_files import ImageFiles
from training.data.image_labels import read_labels
from training.parallel.environment import VARIABLES, from_environment
from training.report.curves import CURVES, DIVERSITY, NONFINITE
from training.run.run_history import KIMG

TEXT = (REPO / 'README.md').read_text(encoding='ascii')
COMMANDS = ('train_hyper', 'train', 'generate', 'dataset_tool', 'calc_metrics', 'export', 'metrics.classes',
            'training.report', 'commands.inspect_snapshot', 'patches')
ELSEWHERE = {'legacy': 'commands.inspect_snapshot'}  # where the command of `python -m` is


def blocks(language):
    """The fenced blocks of a language."""
    return re.findall(rf'^```{language}\n(.*?)^```$', TEXT, re.MULTILINE | re.DOTALL)


def shell_commands():
    """Every command of the shell blocks as a list of words, continued lines joined and comments dropped."""
    lines = '\n'.join(blocks('shell')).replace('\\\n', ' ').splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def split_assignments(words):
    """['RANK=0', 'python', ...] -> ({'RANK': '0'}, ['python', ...])."""
    number = next(place for place, word in enumerate(words) if not re.match('[A-Z_]+=', word))
    return dict(word.split('=', 1) for word in words[:number]), words[number:]


def split_torchrun(words):
    """The arguments of torchrun -> (its own options, the script with its arguments)."""
    options = get_args_parser().parse_args(words)
    return options, [options.training_script, *options.training_script_args]


SHELL_COMMANDS = [split_assignments(words) for words in shell_commands()]
PLACES = [variables for variables, _words in SHELL_COMMANDS if variables]
LAUNCHED = [split_torchrun(words[1:]) for _variables, words in SHELL_COMMANDS if words[0] == 'torchrun']
PYTHON_COMMANDS = [words[1:] for _variables, words in SHELL_COMMANDS if words[0] == 'python']
PYTHON_COMMANDS += [words for _options, words in LAUNCHED]
MAKE_COMMANDS = [words[1:] for _variables, words in SHELL_COMMANDS if words[0] == 'make']
BOARD_COMMANDS = [words[1:] for _variables, words in SHELL_COMMANDS if words[0] == 'tensorboard']


def command_of(words):
    """['train.py', '--kimg=1'] or ['-m', 'metrics.x', ...] -> (the click command, its arguments).

    Of `patches run` it is the script's command, if that is ours; the arguments of a checkout's own script are left out.
    """
    name, arguments = (words[1], words[2:]) if words[0] == '-m' else (words[0].removesuffix('.py'), words[1:])
    if name == 'patches' and arguments[0] == 'run':
        return command_of(arguments[2:]) if arguments[2] == 'train_hyper.py' else (main_of(name), arguments[:3])
    command = main_of(name.removeprefix('benchmarks/'))
    return (command.commands[arguments[0]], arguments[1:]) if isinstance(command, click.Group) else (command, arguments)


def main_of(name):
    module = importlib.import_module(ELSEWHERE.get(name, name))
    is_package = hasattr(module, '__path__')
    return (importlib.import_module(f'{name}.__main__') if is_package else module).main


def help_text(name):
    command = main_of(name)
    parts = command.commands.values() if isinstance(command, click.Group) else [command]
    return '\n'.join(part.get_help(click.Context(part, info_name=name)) for part in parts)


def options_in(text):
    return set(re.findall(r'(?<![\w-])--[a-z][a-z0-9-]*', text))


def test_every_shell_line_is_of_a_known_kind():
    assert len(PYTHON_COMMANDS) > 10
    assert len(PYTHON_COMMANDS) + len(MAKE_COMMANDS) + len(BOARD_COMMANDS) == len(shell_commands())


@pytest.mark.parametrize('words', PYTHON_COMMANDS, ids=' '.join)
def test_command_lines_parse(words):
    """Names, values and ranges of the options, without running anything."""
    command, arguments = command_of(words)
    command.make_context(words[0], list(arguments))


@pytest.mark.parametrize('words', PYTHON_COMMANDS, ids=' '.join)
def test_options_of_command_lines_stand_in_the_help(words):
    command, arguments = command_of(words)
    missing = options_in(' '.join(arguments)) - options_in(command.get_help(click.Context(command)))
    assert not missing


def test_an_option_that_is_gone_would_be_noticed():
    command, _ = command_of(['train_hyper.py'])
    with pytest.raises(click.NoSuchOption, match='--hyper-rnk'):
        command.make_context('train_hyper.py', ['--hyper-rnk=16'])


def test_options_in_the_prose_exist():
    """Options in `code` outside of the shell blocks belong to one of the commands."""
    prose = re.sub(r'^```.*?^```$', '', TEXT, flags=re.MULTILINE | re.DOTALL)
    known = set().union(*(options_in(help_text(name)) for name in COMMANDS))
    others = {'--file'}  # of conda
    assert not others & known
    mentioned = set().union(*(options_in(code) for code in re.findall(r'`([^`\n]+)`', prose)))
    assert mentioned - known - others == set()


def test_launchers_place_every_process():
    """Two shells, and two machines of torchrun, each with all that places them."""
    members = [from_environment(variables) for variables in PLACES]
    assert [member.rank for member in members] == list(range(members[0].world_size))
    assert all(set(variables) == set(VARIABLES) for variables in PLACES)
    alone = [options for options, _words in LAUNCHED if options.standalone]
    machines = [options for options, _words in LAUNCHED if not options.standalone]
    assert alone and [options.node_rank for options in machines] == list(range(int(machines[0].nnodes)))
    assert len({(options.master_addr, options.master_port, options.nnodes) for options in machines}) == 1


def test_what_may_change_may_change():
    paragraph = TEXT.partition('**What may change.**')[2].partition(' Options that')[0]
    listed = {option[2:].replace('-', '_') for option in options_in(paragraph)}
    assert len(listed) > 8 and listed <= set(CHANGEABLE)


def test_statistics_are_those_of_runs():
    table = TEXT.partition('| name | meaning |')[2].partition('\n\n')[0]
    names = re.findall(r'`([A-Z]\w*/[\w/]+)`', table)
    known = {KIMG}.union(*(curve.parts.values() for curve in CURVES))
    assert len(names) > 10
    assert [name for name in names if name not in known and not name.startswith((DIVERSITY, NONFINITE))] == []


@pytest.mark.parametrize(('name', 'count', 'after'), [('train_hyper', 30, '**train.py**'), ('calc_metrics', 15, '**python -m'),
                                                     ('export', 5, '**python -m')])
def test_option_tables_are_of_the_commands(name, count, after):
    table = TEXT.partition(f'**{name}.py** -')[2].partition(after)[0]
    listed = options_in(table)
    assert len(listed) > count
    assert listed <= options_in(help_text(name))


def test_the_table_of_metrics_has_all_of_them():
    table = TEXT.partition('| metric | what it says |')[2].partition('\n\n')[0]
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in table.splitlines()[2:]]
    assert sorted(name for row in rows for name in re.findall(r'`(\w+)`', row[0])) == list_valid_metrics()
    for names, _meaning, needs, _better in rows:
        for metric in map(find_metric, re.findall(r'`(\w+)`', names)):
            assert 'test_data' not in metric.needs or '--test-data' in needs
            assert 'classes' not in metric.needs or 'classes' in needs


def test_metrics_in_commands_and_results_exist():
    asked = re.findall(r'--metrics=([\w,]+)', TEXT)
    measured = TEXT.partition('\n## Measured: two models')[2].partition('\n## ')[0]
    rows = re.findall(r'^\| `(\w+)`', measured, re.MULTILINE)
    assert len(asked) > 5 and len(rows) > 5
    for name in {*','.join(asked).split(','), *(row.removesuffix('_copies') for row in rows)} - {NO_METRICS}:
        find_metric(name)


def test_make_targets_and_variables_exist():
    makefile = (REPO / 'Makefile').read_text()
    for word in [word for words in MAKE_COMMANDS for word in words] + re.findall(r'`make ([a-z]+)`', TEXT):
        name, is_variable, _ = word.partition('=')
        pattern = rf'^{name} \?=' if is_variable else rf'^{name}:'
        assert re.search(pattern, makefile, re.MULTILINE), word


def test_layout_names_what_exists():
    layout, = blocks('text')
    names = [line.split()[0] for line in layout.splitlines()]
    assert [name for name in names if not (REPO / name).exists()] == []
    assert [path.name for path in REPO.glob('*.py') if path.name not in names] == []


def test_files_and_modules_in_the_prose_exist():
    names = re.findall(r'`([\w./]+\.(?:py|toml|txt|yml))`', TEXT)
    written_by_runs = {'log.txt'}
    assert [name for name in names if name not in written_by_runs and not (REPO / name).is_file()] == []


def test_relative_links_resolve():
    targets = re.findall(r'\]\(([^)\s]+)\)', TEXT)
    titles = re.findall(r'^#+ (.*)', TEXT, re.MULTILINE)
    headings = {'#' + re.sub(r'[^a-z0-9 -]', '', title.lower()).replace(' ', '-') for title in titles}
    assert {target for target in targets if target.startswith('#')} <= headings
    relative = [target for target in targets if not target.startswith(('https://', '#'))]
    assert 'LICENSE' in relative
    assert [target for target in relative if not (REPO / target).is_file()] == []


def test_the_table_of_patches_has_all_of_them():
    table = TEXT.partition('| patch | what breaks without it |')[2].partition('\n\n')[0]
    names = [name for line in table.splitlines()[2:] for name in re.findall(r'`([\w-]+)`', line.split('|')[1])]
    assert sorted(names) == sorted(map(name_of, PATCHES))


def test_the_contents_name_every_page():
    titles = re.findall(r'^## (.*)', TEXT, re.MULTILINE)
    contents = TEXT.partition('\n## Contents')[2].partition('\n## ')[0]
    assert len(re.findall(r'\]\(#', contents)) == len(titles[titles.index('Contents') + 1:])


def test_examples_of_python_are_well_formed():
    for block in blocks('python'):
        ast.parse(block)


@pytest.mark.parametrize('block', blocks('json'))
def test_examples_of_labels_can_be_read(block, tmp_path):
    names = [name for name, _label in json.loads(block)['labels']]
    (tmp_path / 'dataset.json').write_text(block)
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    labels = read_labels(ImageFiles(tmp_path), names)
    assert len(labels.values) == len(names) and (labels.values.ndim == 2 or labels.class_names)
