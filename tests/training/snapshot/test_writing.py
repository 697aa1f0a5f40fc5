"""training/snapshot/writing.py: what a snapshot holds once, and what reading makes of it."""
import copy
import pickle

import torch

import legacy
from tests.support.hyper_sources import make_hyper, make_source, randomise_, tensors


def hyper_pair():
    """G and G_ema of a training run: the frozen source is equal, what learns is not."""
    G_ema = make_hyper(make_source())
    G = copy.deepcopy(G_ema)
    for parameter in G.parameters():
        parameter.data.add_(1)
    return G, G_ema


def test_a_hyper_snapshot_holds_the_frozen_source_once(tmp_path):
    G, G_ema = hyper_pair()
    legacy.save_network_pkl(tmp_path / 'shared.pkl', dict(G=G, G_ema=G_ema))
    frozen = sum(buffer.nbytes for buffer in G.buffers())
    for buffer in G.buffers():
        buffer.add_(1)
    legacy.save_network_pkl(tmp_path / 'apart.pkl', dict(G=G, G_ema=G_ema))
    assert (tmp_path / 'apart.pkl').stat().st_size - (tmp_path / 'shared.pkl').stat().st_size > frozen


def test_networks_that_share_a_tensor_in_the_file_are_apart_when_read(tmp_path):
    G, G_ema = hyper_pair()
    expected = {name: copy.deepcopy(tensors(network)) for name, network in (('G', G), ('G_ema', G_ema))}
    legacy.save_network_pkl(tmp_path / 'both.pkl', dict(G=G, G_ema=G_ema))
    read = legacy.load_network_pkl(tmp_path / 'both.pkl')
    for name, values in expected.items():
        found = tensors(read[name])
        assert found.keys() == values.keys() and all(torch.equal(found[key], value) for key, value in values.items())
    randomise_(read['G'])
    assert all(torch.equal(tensors(read['G_ema'])[key], value) for key, value in expected['G_ema'].items())


def test_writing_leaves_the_networks_as_they_are_and_keeps_other_buffers(tmp_path):
    G, G_ema = hyper_pair()
    G.synthesis.b4.conv1.weight.add_(1)  # a buffer that differs
    legacy.save_network_pkl(tmp_path / 'both.pkl', dict(G=G, G_ema=G_ema))
    assert not {id(tensor) for tensor in G.buffers()} & {id(tensor) for tensor in G_ema.buffers()}
    with open(tmp_path / 'both.pkl', 'rb') as file:
        raw = pickle.load(file)  # as a stock checkout does
    assert torch.equal(raw['G'].synthesis.b4.conv1.weight, raw['G_ema'].synthesis.b4.conv1.weight + 1)
    assert raw['G'].synthesis.b8.conv1.weight is raw['G_ema'].synthesis.b8.conv1.weight
