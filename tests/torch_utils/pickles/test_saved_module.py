"""torch_utils.pickles.saved_module: a description becomes the same network, or an error that says what does not fit."""
import pytest
import torch

from tests.support.snapshots import SIZES, Described, described, make_networks, pickled, refused


def arguments(state, **changes):
    return dict(_init_kwargs=dict(state['_init_kwargs'], **changes))


STATES = {
    'only in the file: extra': lambda s: dict(_buffers=dict(s['_buffers'], extra=torch.zeros(2))),
    'missing in the file: .*mapping.fc0.weight': lambda s: dict(_modules=dict(synthesis=s['_modules']['synthesis'])),
    r'of another shape: .*b16.conv1.bias \[4\] \(expected \[2\]\)':
        lambda s: arguments(s, synthesis_kwargs=dict(SIZES, channel_base=32)),
    'cannot be built.*hidden': lambda s: arguments(s, mapping_kwargs=dict(hidden=3)),
    'power of two': lambda s: arguments(s, img_resolution=17),
    'cannot be built': lambda s: arguments(s, synthesis_kwargs=7),
    'cannot be built.*z_dim': lambda s: dict(_init_kwargs={}),
    'lacks the arguments': lambda s: dict(_init_kwargs=None),
    '_parameters of a Generator are not': lambda s: dict(_parameters=dict(weight=[1])),
    '_modules of a Generator are not': lambda s: dict(_modules=dict(mapping=torch.zeros(1))),
    '_buffers of a Generator are not': lambda s: dict(_buffers=[]),
}


@pytest.mark.parametrize('match', STATES)
def test_state_that_does_not_fit(match):
    G = make_networks()['G']
    refused(pickled(dict(G_ema=described(G, STATES[match](vars(G))))), match)


@pytest.mark.parametrize('meta', [dict(type='function'), dict(class_name=3), dict(state=None), dict(state=[1])])
def test_malformed_descriptions(meta):
    refused(pickled(dict(G_ema=Described(**{'state': {}, **meta}))), 'not a readable network pickle')


@pytest.mark.parametrize('changes', [
    dict(img_resolution=2**20), dict(img_resolution=2**2000), dict(mapping_kwargs=dict(num_layers=10**9)),
    dict(mapping_kwargs=dict(num_layers=10**6, layer_features=0)), dict(z_dim=10**7), dict(w_dim=10**15),
    dict(synthesis_kwargs=dict(channel_base=2**24, channel_max=2**24))])
def test_arguments_that_ask_for_the_moon(changes):
    G = make_networks()['G']
    refused(pickled(dict(G_ema=described(G, dict(_init_kwargs=dict(G.init_kwargs, **changes))))), 'G_ema')


def test_modules_that_hold_each_other_many_times():
    part = make_networks()['G']
    for _ in range(5):
        part = described(make_networks()['G'].mapping, dict(_modules={str(i): part for i in range(10)}))
    refused(pickled(dict(G_ema=part)), 'parts')


def test_names_cannot_write_on_the_terminal():
    G = make_networks()['G']
    message = refused(pickled(dict(G_ema=described(G, dict(_buffers={'x\x1b[2J\ny': torch.zeros(1)})))), 'only in the file')
    assert '\x1b' not in message
