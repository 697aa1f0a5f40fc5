"""docs/tutorial.ipynb: it is committed without results, and it runs."""

import json
import re
import sys

import nbclient
import nbformat
import numpy as np
import pytest
from packaging.requirements import Requirement
from PIL import Image

from tests.conftest import REPO
from tests.support.video_frames import read_frames
from tests.support.warm_python import warm_python

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PATH = REPO / 'docs' / 'tutorial.ipynb'
MAX_BYTES = 10_000


@pytest.fixture
def notebook():
    return nbformat.read(PATH, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == 'code']


def test_it_is_committed_without_results(notebook):
    assert [cell for cell in code(notebook) if cell.outputs or cell.execution_count is not None] == []
    assert len(code(notebook)) > 5 and len(notebook.cells) <= 12
    assert PATH.stat().st_size < MAX_BYTES and PATH.read_text().isascii()
    nbformat.validate(json.loads(PATH.read_text()))


def test_results_would_be_noticed(notebook):
    code(notebook)[0].outputs = [nbformat.v4.new_output('stream', text='done')]
    with pytest.raises(AssertionError):
        test_it_is_committed_without_results(notebook)


def test_it_names_no_address_of_its_own(notebook):
    text = '\n'.join(cell.source for cell in notebook.cells)
    assert not re.search('https?://|github|colab.research', text)
    links = re.findall(r'\]\(([^)]+)\)', text)
    assert links and [link for link in links if not (PATH.parent / link).exists()] == []


def test_it_installs_what_pyproject_names(notebook):
    project = tomllib.loads((REPO / 'pyproject.toml').read_text())['project']
    known = {Requirement(line).name for lines in (project['dependencies'], *project['optional-dependencies'].values())
             for line in lines}
    line = re.search('^%pip install (.*)$', code(notebook)[0].source, re.MULTILINE)[1].replace('"', '')
    named = {Requirement(word).name for word in line.split() if not word.startswith('--')}
    assert named and named <= known


@pytest.mark.slow
def test_it_runs(notebook, tmp_path, monkeypatch):
    """At a tiny size, in a folder that looks like the repository, so that what it makes goes there."""
    for path in [*REPO.glob('*.py'), REPO / 'models']:
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.setenv('TUTORIAL_SIZE', 'tiny')
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    monkeypatch.setattr(sys, 'executable', warm_python())   # the kernel's, which puts it before others in PATH
    nbclient.NotebookClient(notebook, timeout=1200, resources={'metadata': {'path': str(tmp_path)}}).execute()

    said = ''.join(output.get('text', '') for cell in code(notebook) for output in cell.outputs)
    assert 'Error' not in said and '500 images, 32x32 gray, 10 classes (0 50, ' in said
    shown = [kind for cell in code(notebook) for output in cell.outputs for kind in output.get('data', {})]
    assert shown.count('image/png') == 4 and shown.count('text/html') == 1
    with Image.open(tmp_path / 'tutorial' / 'grid.png') as grid:
        assert grid.height == 10 * 32 and grid.width > 8 * 32
    with Image.open(tmp_path / 'tutorial' / 'every-class' / 'grid.png') as grid:
        assert grid.height == 10 * 32 and np.ptp(np.asarray(grid)) > 100
    assert read_frames(tmp_path / 'tutorial' / 'classes.mp4').shape == (3, 256, 256, 3)
    assert len(list(tmp_path.glob('training-runs/*/network-snapshot-*.pkl'))) >= 1
