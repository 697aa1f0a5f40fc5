"""The start of a transfer: what is kept of a self-initialisation."""

import math

import pytest
import torch

from commands.transfer_start import SELFINIT_STATE, kept_state
from hyper_plugin.selfinit import Distillation
from tests.support.hyper_sources import make_hyper, make_source
from training.loop.training_state import write_state

NAME = 'synthesis.b4.conv1.hyper.gamma.full.weight'


@pytest.fixture
def networks():
    source = make_source(resolution=8)
    return source, make_hyper(source)


@pytest.fixture
def state(networks):
    """What a distillation keeps after a step."""
    work = Distillation(*networks, torch.device('cpu'), torch.Generator(), batch=8, rate=0.01)
    work.step()
    work.curve, work.best_error = [(0, 1.5)], 1.5
    return work.state_dict()


def test_a_damaged_state_is_made_anew_with_one_line(tmp_path, capsys, networks, state):
    path = tmp_path / SELFINIT_STATE
    assert kept_state(path, *networks) is None
    write_state(path, dict(state, spare=torch.zeros(1000)))
    assert kept_state(path, *networks)['images'] == 8 and capsys.readouterr().err == ''
    whole = path.read_bytes()
    place = whole.index(bytes(4000)) + 2000
    for damaged in (whole[:-100], b'', whole[:place] + b'\x01' + whole[place + 1:]):
        path.write_bytes(damaged)
        assert kept_state(path, *networks) is None
        warning = f'Warning: the self-initialisation in {path} cannot be used and is computed again: '
        assert capsys.readouterr().err.startswith(warning)


@pytest.mark.parametrize('keys, value', [
    (['images'], None), (['images'], -8), (['best_error'], math.nan), (['best_error'], [1]), (['curve'], 3),
    (['learned'], {}), (['learned', NAME], math.nan * torch.zeros(2)), (['best'], None),
    (['best', NAME], torch.zeros(2, 2)), (['optimizer'], {}), (['optimizer', 'param_groups', 0, 'lr'], 'fast'),
    (['schedule'], []), (['generator'], torch.zeros(3)),
], ids=str)
def test_an_edited_state_is_made_anew(tmp_path, capsys, networks, state, keys, value):
    path, place = tmp_path / SELFINIT_STATE, state
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    write_state(path, state)
    before = {name: tensor.clone() for name, tensor in networks[1].state_dict().items()}
    assert kept_state(path, *networks) is None
    assert capsys.readouterr().err.count('\n') == 1
    assert all(torch.equal(before[name], tensor) for name, tensor in networks[1].state_dict().items())
