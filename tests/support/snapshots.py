"""Small snapshots for tests, and descriptions of networks in them that nobody would write."""
import copy
import io
import pickle

import pytest
import torch

import legacy
from dnnlib import EasyDict
from torch_utils import persistence
from training.networks import Discriminator, Generator

SIZES = dict(channel_base=64, channel_max=8)


def make_networks(synthesis_kwargs=SIZES, block_kwargs=(), **sizes):
    image = dict(c_dim=0, img_resolution=16, img_channels=1, **sizes)
    G = Generator(z_dim=4, w_dim=4, mapping_kwargs=EasyDict(num_layers=2), synthesis_kwargs=synthesis_kwargs, **image)
    D = Discriminator(**image, **SIZES, block_kwargs=dict(block_kwargs))
    for parameter in [*G.parameters(), *D.parameters()]:
        parameter.data.normal_()
    return dict(G=G, D=D, G_ema=copy.deepcopy(G))


def pickled(networks, **fields):
    return pickle.dumps(dict(networks, **fields), 4)


def load(content, **kwargs):
    return legacy.load_network_pkl(io.BytesIO(content), **kwargs)


def refused(content, match, **kwargs):
    with pytest.raises(ValueError, match=match) as error:
        load(content, **kwargs)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def tensors(module):
    return dict(module.state_dict())


def assert_same(got, want):
    assert list(tensors(got)) == list(tensors(want))
    for name, tensor in tensors(want).items():
        assert torch.equal(tensors(got)[name], tensor), name


class Described:
    """Pickles as a persistent object with the given description."""

    def __init__(self, **meta):
        self.meta = dict(dict(type='class', version=6, module_src='', class_name='Generator'), **meta)

    def __reduce__(self):
        return persistence._reconstruct_persistent_obj, (self.meta,)


def described(module, state=None, **meta):
    """The description of a real module, with parts of it replaced."""
    original = module.__reduce_ex__(4)[1][0]
    return Described(**{**original, 'state': {**original['state'], **(state or {})}, **meta})
