"""Snapshots and run directories written before the modules moved into rooms (version 0.1): they open, and the runs go on.

before_rooms/runs.tar.xz holds a plain and a hyper-modulated run of 16 images, pixels.json what their generators drew then,
and what they drew after the old program had gone on to 32 images.
"""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import train
import train_hyper
from training.snapshot.inspection import inspect_snapshot
from training.snapshot.reading import load_network_pkl

HERE = Path(__file__).parent / 'before_rooms'
PIXELS = json.loads((HERE / 'pixels.json').read_text())


@pytest.fixture
def old(tmp_path):
    """The folder with data.zip, runs/plain and runs/hyper."""
    with tarfile.open(HERE / 'runs.tar.xz') as archive:
        archive.extractall(tmp_path, filter='data')
    return tmp_path


def drawn(run_dir):
    """Every fifth pixel of one picture by the newest snapshot."""
    G = load_network_pkl(max(run_dir.glob('network-snapshot-*.pkl')))['G_ema']
    z = torch.from_numpy(np.random.RandomState(0).randn(1, 8)).float()
    return G(z, torch.eye(3)[1:2] if G.c_dim else torch.zeros(1, 0), noise_mode='const')[0, :, ::5, ::5].flatten().numpy()


@pytest.mark.parametrize('kind', ['plain', 'hyper'])
def test_old_snapshots_draw_what_they_drew(old, kind):
    np.testing.assert_allclose(drawn(old / 'runs' / kind), PIXELS[kind]['before'], atol=1e-4)  # processors round differently
    assert inspect_snapshot(str(max((old / 'runs' / kind).glob('network-snapshot-*.pkl'))))['safe']


@pytest.mark.parametrize('kind, command', [('plain', train), ('hyper', train_hyper)])
def test_old_runs_go_on(old, kind, command):
    run_dir = old / 'runs' / kind
    result = CliRunner().invoke(command.main, [f'--resume={run_dir}', f'--data={old / "data.zip"}', '--kimg=0.032'])
    assert result.exit_code == 0, result.output
    pixels = drawn(run_dir)
    np.testing.assert_allclose(pixels, PIXELS[kind]['after'], atol=1e-3)
    assert np.abs(pixels - PIXELS[kind]['before']).max() > 0.02  # it has learnt since
