"""Snapshots of ours in a host codebase that has nothing of ours installed: the same pictures, to 1e-5."""

import numpy as np
import pytest
import torch

import legacy
from tests.support.hyper_sources import labels, make_hyper, make_hyper_D, make_source, make_source_D, randomise_
from tests.support.miniature_host import LAYOUTS, make_host, run_in_host
from tests.support.miniature_host.files import probe
from training.augment import AugmentPipe, augpipe_specs
from training.networks import Discriminator, Generator


@pytest.fixture(scope='module', params=LAYOUTS)
def host(request, tmp_path_factory):
    return make_host(tmp_path_factory.mktemp('host'), request.param)


def outputs_there(host, folder, networks, inputs):
    legacy.save_network_pkl(folder / 'network.pkl', networks)
    np.savez(folder / 'inputs.npz', **{name: tensor.numpy() for name, tensor in inputs.items()})
    printed = run_in_host(host, 'probe.py', folder / 'network.pkl', folder / 'inputs.npz', folder / 'outputs.npz')
    return printed, dict(np.load(folder / 'outputs.npz'))


@pytest.mark.parametrize('options', [dict(), dict(rank=2, finetune=True), dict(source=dict(num_fp16_res=2, conv_clamp=256)),
                                     dict(own_classes=[2], own_rank=2)])
def test_hyper_snapshot(host, tmp_path, options):
    source = make_source(resolution=16, **options.get('source', {}))
    G = randomise_(make_hyper(source, **{name: value for name, value in options.items() if name != 'source'}))
    for name, parameter in G.named_parameters():
        if '.own' in name:      # zero at the start
            torch.nn.init.normal_(parameter, std=0.1)
    D = make_hyper_D(make_source_D(resolution=16), d_cond='projection' if 'rank' in options else 'heads')
    torch.nn.init.normal_(D.project.weight if 'rank' in options else D.heads)
    pipe = AugmentPipe(**augpipe_specs['bgcf']).requires_grad_(False)
    inputs = dict(z=torch.randn(4, 6), c=labels(0, 1, 2, 1), other_c=labels(2, 2, 0, 1))
    printed, there = outputs_there(host, tmp_path, dict(G=G, D=D, G_ema=G, augment_pipe=pipe, training_set_kwargs=None), inputs)
    assert printed.startswith('HyperGenerator ') and 'hyper_plugin' not in printed
    here = probe.use(G.requires_grad_(False), D.requires_grad_(False), **inputs)
    here['augmented'] = pipe(torch.from_numpy(here['image']), debug_percentile=0.7).numpy()
    assert there.keys() == here.keys()
    for name, want in here.items():
        tolerance = 0.05 if 'source' in options else 1e-5   # half precision
        np.testing.assert_allclose(there[name], want, rtol=tolerance, atol=tolerance * max(1, np.abs(want).max()), err_msg=name)
    assert np.abs(here['image'][1] - here['image'][2]).max() > 0.01     # the classes do differ


def test_plain_conditional_snapshot(host, tmp_path):
    G, D = (randomise_(network).eval() for network in (
        Generator(6, 3, 5, 16, 3, mapping_kwargs=dict(num_layers=2), synthesis_kwargs=dict(channel_base=64, channel_max=6)),
        Discriminator(3, 16, 3, channel_base=64, channel_max=6)))
    pipe = AugmentPipe(xflip=1, brightness=1)
    inputs = dict(z=torch.randn(4, 6), c=labels(0, 1, 2, 1), other_c=labels(2, 2, 0, 1))
    printed, there = outputs_there(host, tmp_path, dict(G=G, D=D, G_ema=G, augment_pipe=pipe), inputs)
    assert printed.startswith('Generator ') and 'training' not in printed
    for name, want in probe.use(G.requires_grad_(False), D.requires_grad_(False), **inputs).items():
        np.testing.assert_allclose(there[name], want, rtol=1e-5, atol=1e-5, err_msg=name)


def test_classes_differ_only_by_the_code(host, tmp_path):
    """What a tool sees of the mapping: the class code behind the source's w, and no average of it."""
    G = make_hyper(make_source())
    assert torch.equal(G.mapping.w_avg[-4:], torch.zeros(4))
    ws = G.mapping(torch.randn(1, 6).expand(2, -1), labels(0, 1))
    assert torch.equal(ws[0, :, :-4], ws[1, :, :-4]) and not torch.equal(ws[0], ws[1])
