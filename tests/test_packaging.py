"""pyproject.toml (ranges), requirements.txt (pins) and environment.yml (conda) say the same."""

import ast
import re
import sys

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.conftest import REPO

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PYTHONS = ['3.10', '3.11', '3.12', '3.13']
IMPORT_NAMES = {'PIL': 'pillow', 'sklearn': 'scikit-learn', 'mpl_toolkits': 'matplotlib', 'huggingface_hub': 'huggingface-hub',
                'imageio_ffmpeg': 'imageio-ffmpeg'}
OWN = {path.stem for path in [*REPO.iterdir(), *REPO.glob('benchmarks/*')] if path.suffix == '.py' or path.is_dir()}


@pytest.fixture(scope='module')
def project():
    return tomllib.loads((REPO / 'pyproject.toml').read_text())['project']


def ranges(project, extras=('demo', 'docs', 'export', 'hub', 'lsun', 'test', 'video')):
    lines = [*project['dependencies'], *(line for extra in extras for line in project['optional-dependencies'][extra])]
    return [Requirement(line) for line in lines]


def pins(python):
    """{canonical name: version} that requirements.txt gives on that version of Python."""
    found = {}
    for line in (REPO / 'requirements.txt').read_text().splitlines():
        if line and not line.startswith('#'):
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({'python_version': python}):
                name = canonicalize_name(requirement.name)
                assert name not in found, f'{name} is pinned twice for Python {python}'
                assert re.fullmatch(r'==[^*,]+', str(requirement.specifier)), f'{line} is not one exact version'
                found[name] = str(requirement.specifier).removeprefix('==')
    return found


@pytest.mark.parametrize('python', PYTHONS)
def test_each_range_has_a_pin_inside_it(project, python):
    pinned = pins(python)
    for requirement in ranges(project):
        if requirement.marker is None or requirement.marker.evaluate({'python_version': python}):
            name = canonicalize_name(requirement.name)
            assert name in pinned, f'{name} of pyproject.toml has no pin in requirements.txt for Python {python}'
            assert requirement.specifier.contains(pinned[name]), f'{name}=={pinned[name]} lies outside {requirement}'


def test_pythons_are_the_declared_ones(project):
    assert [c.rsplit(' ', 1)[1] for c in project['classifiers'] if re.search(r':: 3\.\d+$', c)] == PYTHONS
    assert all(SpecifierSet(project['requires-python']).contains(python) for python in PYTHONS)
    assert not SpecifierSet(project['requires-python']).contains('3.9')


def test_conda_environment_takes_the_pins():
    """environment.yml lists no package of its own: it has pip install requirements.txt, so that there is one list of pins."""
    text = (REPO / 'environment.yml').read_text()
    items = re.findall(r'^ +- (.+)$', text.partition('dependencies:')[2], flags=re.MULTILINE)
    assert items[1:] == ['pip', 'pip:', '--requirement requirements.txt']
    assert items[0].startswith('python=') and items[0].removeprefix('python=') in PYTHONS


def imported_packages(paths):
    """Top-level names of the absolute imports in these files, wherever in the file they stand."""
    names = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition('.')[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names.add(node.module.partition('.')[0])
    return {IMPORT_NAMES.get(name, name) for name in names - OWN - set(sys.stdlib_module_names)}


def sources(*folders):
    return [path for folder in folders for path in sorted((REPO / folder).rglob('*.py'))]


def test_imports_of_the_commands_are_the_declared_ones(project):
    """Nothing is imported that is not declared, nor declared without being imported."""
    folders = ['dnnlib', 'torch_utils', 'training', 'metrics', 'hyper_plugin', 'benchmarks', 'exporting', 'generating', 'patches',
               'viewing']
    code = imported_packages([*REPO.glob('*.py'), *sources(*folders)])
    needed = {canonicalize_name(requirement.name) for requirement in ranges(project, extras=())}
    extras = ('demo', 'export', 'hub', 'lsun', 'mnist', 'video', 'viewer')
    optional = {canonicalize_name(requirement.name) for requirement in ranges(project, extras)}
    optional |= {'triton', 'playwright'}  # torch's CUDA builds bring the one; the other times view.py, and is among the tests'
    assert needed <= code <= optional, f'undeclared: {sorted(code - optional)}, unused: {sorted(needed - code)}'


def test_imports_of_the_tests_are_the_declared_ones(project):
    declared = {canonicalize_name(requirement.name) for requirement in ranges(project)}
    made_here = {path.stem for path in sources('tests')} | {'strange_module'}  # the latter is written by a test
    undeclared = imported_packages(sources('tests')) - declared - made_here
    assert not undeclared, f'tests import {sorted(undeclared)}, which pyproject.toml does not name'


def test_files_beside_the_modules_are_installed():
    setuptools = tomllib.loads((REPO / 'pyproject.toml').read_text())['tool']['setuptools']
    found = {path for pattern in setuptools['packages']['find']['include'] for path in REPO.glob(f'{pattern.rstrip("*")}/**/*')
             if path.is_file() and path.suffix not in ('.py', '.pyc')}
    shipped = {path for package, patterns in setuptools['package-data'].items() for pattern in patterns
               for path in (REPO / package.replace('.', '/')).glob(pattern)}
    assert found and found <= shipped, f'not installed: {sorted(map(str, found - shipped))}'


def test_installed_modules_exist_and_none_is_missing():
    tools = tomllib.loads((REPO / 'pyproject.toml').read_text())['tool']
    listed = tools['setuptools']['py-modules']
    assert sorted(listed) == sorted(path.stem for path in REPO.glob('*.py'))
    packages = {pattern.rstrip('*') for pattern in tools['setuptools']['packages']['find']['include']}
    assert packages == {path.parent.name for path in REPO.glob('*/__init__.py')} - {'tests', 'benchmarks'}


def test_no_torch_that_runs_code_from_states(project):
    """Up to 2.5 weights_only=True could be made to (CVE-2025-32434)."""
    torch = next(requirement for requirement in ranges(project) if requirement.name == 'torch')
    versions = ('2.4.1', '2.5.1', '2.6.0', '2.13.0')
    assert [version for version in versions if torch.specifier.contains(version)] == ['2.6.0', '2.13.0']
