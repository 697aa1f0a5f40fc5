"""README.md and docs/ name only what is there: commands with options and values that parse, make targets, files, links, names."""

import ast
import importlib.util
import json
import re

import click
import pytest
from torch.distributed.run import get_args_parser

from commands.config import NO_METRICS
from commands.going_on import CHANGEABLE
from metrics.metric_main import list_valid_metrics
from metrics.registry import find_metric
from patches.known import PATCHES, name_of
from tests.conftest import REPO
from tests.support.pages import (
    EVERYTHING,
    MODULES,
    PAGES,
    PATHS,
    SCRIPTS,
    blocks,
    command_of,
    inline_code,
    main_of,
    shell_commands,
)
from training.data.image_files import ImageFiles
from training.data.image_labels import read_labels
from training.parallel.environment import VARIABLES, from_environment
from training.report.curves import CURVES, DIVERSITY, NONFINITE
from training.run.run_history import KIMG

MAX_WORDS = 1500
GENERATED = re.compile(r'<!-- (\w+): .*?<!-- end of \1 -->', re.DOTALL)
def table(page, head):
    """The rows of the table that begins so, as lists of cells."""
    text = PAGES[page].partition(head)[2].partition('\n\n')[0]
    return [[cell.strip() for cell in line.split('|')[1:-1]] for line in text.splitlines()[2:]]


def section(page, title):
    """The text under a heading, up to the next one."""
    return re.split(r'\n#+ ', PAGES[page].partition(f'\n## {title}\n')[2])[0]


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
TO_TRY = list(dict.fromkeys(map(tuple, PYTHON_COMMANDS)))


def options_of(command):
    """Every option that the help of a command, or of a group's commands, has."""
    parts = command.commands.values() if isinstance(command, click.Group) else [command]
    shown = [option for part in parts for option in part.get_params(click.Context(part)) if not getattr(option, 'hidden', False)]
    return {name for option in shown for name in (*option.opts, *option.secondary_opts) if name.startswith('--')}


def options_in(text):
    return set(re.findall(r'(?<![\w-])--[a-z][a-z0-9-]*', text))


@pytest.mark.parametrize('name', PAGES)
def test_pages_are_short(name):
    """Words are what holds a letter or digit. The tables that a benchmark fills are left out."""
    words = [word for word in GENERATED.sub('', PAGES[name]).split() if re.search('[A-Za-z0-9]', word)]
    assert len(words) < MAX_WORDS, f'{name} has {len(words)} words'


def test_every_shell_line_is_of_a_known_kind():
    assert len(PYTHON_COMMANDS) > 40
    assert len(PYTHON_COMMANDS) + len(MAKE_COMMANDS) + len(BOARD_COMMANDS) == len(shell_commands())


@pytest.mark.parametrize('words', TO_TRY, ids=' '.join)
def test_command_lines_parse(words):
    """Names, values and ranges of the options, without running anything; all options are in the help."""
    command, arguments = command_of(words)
    command.make_context(words[0], list(arguments))
    own, _separator, _passed_on = ' '.join(arguments).partition(' -- ')
    assert options_in(own) <= options_of(command)


def test_an_option_that_is_gone_would_be_noticed():
    command, _ = command_of(('train_hyper.py',))
    with pytest.raises(click.NoSuchOption, match='--hyper-rnk'):
        command.make_context('train_hyper.py', ['--hyper-rnk=16'])


@pytest.mark.parametrize('name', PAGES)
def test_options_in_the_prose_exist(name):
    """Options in `code` outside of the shell blocks belong to one of the commands."""
    known = set().union(*(options_of(main_of(command)) for command in (*SCRIPTS, *MODULES)))
    others = {'--file', '--local-dir', '--repo-type'}  # of conda, of hf
    assert not others & known
    assert set().union(*map(options_in, inline_code(PAGES[name]))) - known - others == set()


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
    paragraph = PAGES['training.md'].partition('**What may change.**')[2].partition(' Omitted options')[0]
    assert {option[2:].replace('-', '_') for option in options_in(paragraph)} == set(CHANGEABLE)


def test_statistics_are_those_of_runs():
    names = re.findall(r'`([A-Z]\w*/[\w/]+)`', ' '.join(row[0] for row in table('watching.md', '| name | meaning |')))
    known = {KIMG}.union(*(curve.parts.values() for curve in CURVES))
    assert len(names) > 10
    assert [name for name in names if name not in known and not name.startswith((DIVERSITY, NONFINITE))] == []


def test_the_table_of_metrics_has_all_of_them():
    rows = table('metrics.md', '| metric | what it says |')
    assert sorted(name for row in rows for name in re.findall(r'`(\w+)`', row[0])) == list_valid_metrics()
    for names, _meaning, needs, _better in rows:
        for metric in map(find_metric, re.findall(r'`(\w+)`', names)):
            assert 'test_data' not in metric.needs or '--test-data' in needs
            assert 'classes' not in metric.needs or 'classes' in needs


def test_metrics_in_commands_and_results_exist():
    asked = re.findall(r'--metrics=([\w,]+)', EVERYTHING)
    rows = re.findall(r'^\| `(\w+)`', PAGES['metrics-example.md'], re.MULTILINE)
    assert len(asked) > 5 and len(rows) > 5
    for name in {*','.join(asked).split(','), *(row.removesuffix('_copies') for row in rows)} - {NO_METRICS}:
        find_metric(name)


def test_make_targets_and_variables_exist():
    makefile = (REPO / 'Makefile').read_text()
    for word in [word for words in MAKE_COMMANDS for word in words] + re.findall(r'`make ([a-z-]+)`', EVERYTHING):
        name, is_variable, _ = word.partition('=')
        pattern = rf'^{name} \?=' if is_variable else rf'^{name}:'
        assert re.search(pattern, makefile, re.MULTILINE), word


def test_the_layout_is_that_of_the_repository():
    names = [line.split()[0] for line in blocks('text', PAGES['architecture.md'])[0].splitlines()]
    assert [name for name in names if not (REPO / name).exists()] == []
    rooms = {f'{path.parent.relative_to(REPO)}/' for path in REPO.glob('*/__init__.py')}
    rooms |= {f'{path.parent.relative_to(REPO)}/' for path in REPO.glob('training/*/__init__.py')}
    assert rooms | {path.name for path in REPO.glob('*.py')} <= set(names)


def test_files_and_modules_in_the_prose_exist():
    """Names of programs and settings, and paths that begin with a folder of the repository. NAME stands for any."""
    folders = {path.name for path in REPO.iterdir() if path.is_dir()}
    written_by_runs = {'log.txt'}
    for code in set(inline_code()) - written_by_runs:
        is_file = re.fullmatch(r'[\w./-]+\.(py|toml|txt|yml)', code)
        is_path = re.fullmatch(r'[\w./-]+', code) and '/' in code and code.split('/')[0] in folders
        if (is_file or is_path) and 'NAME' not in code and not code.startswith('training-runs'):
            assert (REPO / code).exists(), code


def test_functions_that_pages_point_to_exist():
    pairs = re.findall(r'`([\w/]+\.py)` \(`(\w+)`\)', EVERYTHING)
    assert len(pairs) > 2
    assert [pair for pair in pairs if not re.search(rf'\b{pair[1]}\b', (REPO / pair[0]).read_text())] == []


@pytest.mark.parametrize('path', [*PATHS, REPO / 'CHANGELOG.md'], ids=lambda path: path.name)
def test_relative_links_resolve(path):
    """`make docs` checks the anchors too."""
    targets = [target.partition('#')[0] for target in re.findall(r'\]\(([^)\s]+)\)', path.read_text(encoding='ascii'))]
    assert [target for target in targets if not target.startswith('https://') and not (path.parent / target).exists()] == []


def test_the_readme_and_the_overview_name_every_page():
    names = set(PAGES) - {'README.md', 'index.md'}
    assert names <= {target.removeprefix('docs/') for target in re.findall(r'\]\(([^)\s]+)\)', PAGES['README.md'])}
    assert names <= set(re.findall(r'\]\(([^)\s]+)\)', PAGES['index.md']))


def test_the_table_of_patches_has_all_of_them():
    rows = table('nvlabs.md', '| patch | what breaks without it |')
    assert sorted(name for row in rows for name in re.findall(r'`([\w-]+)`', row[0])) == sorted(map(name_of, PATCHES))


def test_the_reference_has_every_option_of_every_command():
    """As the site's build writes it."""
    spec = importlib.util.spec_from_file_location('reference', REPO / 'docs' / 'reference.py')
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    page = reference.on_page_markdown(PAGES['reference.md'])
    assert '<!-- options' not in page
    for name in (*SCRIPTS, *(name for name in MODULES if not name.startswith('benchmarks'))):
        part = page.partition(f'python {name}' if name in SCRIPTS else f'python -m {name}')[2].partition('\n## ')[0]
        assert options_of(main_of(name)) <= options_in(part), name


def test_examples_of_python_are_well_formed():
    assert blocks('python')
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
