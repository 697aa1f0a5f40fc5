"""Two processes do as one process with the whole batch: gradients, running means, groups of the minibatch deviation.

Image i of the whole batch is image i // 2 of process i mod 2, as InfiniteSampler deals them.
"""

import itertools
import warnings
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch

from hyper_plugin.loss import HyperTransferLoss
from tests.support.hyper_sources import labels, make_hyper, make_hyper_D, make_source, make_source_D, randomise_
from torch_utils import collectives, misc
from training.loop.preparation import set_up_torch
from training.loss import StyleGAN2Loss
from training.networks import Discriminator, Generator, MinibatchStdLayer
from training.parallel.processes import (
    average_buffers,
    average_over_processes,
    copy_from_first_process,
    from_environment,
    join,
)
from training.parallel.spawning import start_processes

NUM_PROCESSES = 2
N = 16
CPU = torch.device('cpu')
PHASES = dict(plain=('Gmain', 'Greg', 'Dmain', 'Dreg'), hyper=('Gboth', 'Dmain', 'Dreg'))
CASES = [(kind, phase) for kind, phases in PHASES.items() for phase in phases]
# Images i, i + 4, i + 8 and i + 12 share a group, and a process sorts whole groups by class as one process with all does.
CLASSES = [0, 1, 2, 0] * 4


def batch():
    generator = torch.Generator().manual_seed(5)
    real, z = torch.randn(N, 3, 16, 16, generator=generator), torch.randn(N, 6, generator=generator)
    return dict(real_img=real, real_c=labels(*CLASSES), gen_z=z, gen_c=labels(*CLASSES[::-1]))


def directions():
    """Of the path length, one per image."""
    return torch.randn(N, 3, 16, 16, generator=torch.Generator().manual_seed(6))


def make_plain():
    channels = dict(channel_base=64, channel_max=6)
    image = dict(c_dim=3, img_resolution=16, img_channels=3)
    synthesis = dict(channels, use_noise=False)
    G = Generator(z_dim=6, w_dim=5, mapping_kwargs=dict(num_layers=2), synthesis_kwargs=synthesis, **image)
    D = Discriminator(**image, **channels, epilogue_kwargs=dict(mbstd_group_size=4))
    loss = StyleGAN2Loss(CPU, G.mapping, G.synthesis, D, style_mixing_prob=0)
    loss.pl_mean.fill_(0.05)
    return randomise_(G), randomise_(D), loss


def make_hyper_pair():
    G = make_hyper(make_source(use_noise=False), finetune=True)
    D = make_hyper_D(make_source_D(epilogue_kwargs=dict(mbstd_group_size=4)))
    loss = HyperTransferLoss(CPU, G.mapping, G.synthesis, D, style_mixing_prob=0, contrastive_weight=0.5)
    views = itertools.cycle([lambda img: img + img.square(), torch.sin])  # the same for an image in whatever batch it is
    loss.views = lambda img: next(views)(img)
    return G, D, loss


def run_case(kind, phase, rank=0, world_size=1):
    """-> gradients and moved buffers by name, after one phase on this process's share."""
    torch.manual_seed(0)
    G, D, loss = make_plain() if kind == 'plain' else make_hyper_pair()
    learner = (G if phase[0] == 'G' else D).train()
    (D if phase[0] == 'G' else G).train().requires_grad_(False)
    share = {name: tensor[rank::world_size] for name, tensor in batch().items()}
    own_directions = directions()[rank::world_size]
    with mock.patch('torch.randn_like', lambda img: own_directions[:len(img)]):
        loss.accumulate_gradients(phase, **share, sync=True, gain=4)
    found = {name: parameter.grad for name, parameter in learner.named_parameters() if parameter.requires_grad}
    if world_size > 1:
        for gradient in found.values():
            average_over_processes(gradient)
    average_buffers(G)
    return found | {f'buffer {name}': tensor for name, tensor in G.named_buffers() if name.endswith('w_avg')} | dict(
        pl_mean=getattr(loss, 'pl_mean', torch.zeros([])))


def run_process(rank, outdir):
    warnings.simplefilter('error')
    torch.set_num_threads(1)
    with join(from_environment(), CPU):
        results = {f'{kind} {phase}': run_case(kind, phase, rank, NUM_PROCESSES) for kind, phase in CASES}
        flags = [collectives.any_process(flag, CPU) for flag in (False, rank == 0, rank == 1, True)]
        frozen = torch.nn.Module()
        frozen.register_buffer('w_avg', torch.linspace(-3, 7, 101) / 3)
        average_buffers(frozen)
        module = torch.nn.BatchNorm1d(2)
        module.weight.data.fill_(rank + 1.0)
        module.running_mean.fill_(rank + 5.0)
        copy_from_first_process([module])
        mean = collectives.mean_over_processes(torch.tensor([rank, 10.0]))
    found = dict(results=results, flags=flags, frozen=frozen.w_avg, copied=module.state_dict(), mean=mean)
    torch.save(found, f'{outdir}/{rank}.pt')


@pytest.fixture(scope='module')
def found(tmp_path_factory):
    """What both processes found."""
    outdir = tmp_path_factory.mktemp('processes')
    start_processes(run_process, (str(outdir),), NUM_PROCESSES)
    return [torch.load(outdir / f'{rank}.pt', weights_only=True) for rank in range(NUM_PROCESSES)]


@pytest.mark.parametrize('kind, phase', CASES)
def test_gradients_and_running_means_are_those_of_the_whole_batch(kind, phase, found):
    want = run_case(kind, phase)
    averages = {name for name in want if 'w_avg' in name or name == 'pl_mean'}
    largest = max(want[name].abs().max().item() for name in want.keys() - averages)
    assert largest > 1e-3
    for share in found:
        results = share['results'][f'{kind} {phase}']
        assert results.keys() == want.keys()
        for name, tensor in results.items():
            size = want[name].abs().max().item() if name in averages else largest
            assert (tensor - want[name]).abs().max().item() <= 1e-5 * size, name


@pytest.mark.parametrize('kind, phase', [('plain', 'Greg'), ('plain', 'Gmain'), ('hyper', 'Gboth')])
def test_the_running_means_move(kind, phase, found):
    """Else their equality says nothing."""
    torch.manual_seed(0)
    G, _D, loss = make_plain() if kind == 'plain' else make_hyper_pair()
    moved = found[0]['results'][f'{kind} {phase}']
    assert not torch.equal(moved['buffer mapping.w_avg'], G.mapping._buffers['w_avg'])
    assert (phase == 'Greg') == ('pl_mean' in moved and moved['pl_mean'] != getattr(loss, 'pl_mean', 0))


def test_flags_are_asked_of_all(found):
    assert [share['flags'] for share in found] == [[False, True, True, True]] * 2
    assert [collectives.any_process(flag, CPU) for flag in (False, True)] == [False, True]  # alone


def test_an_average_that_does_not_move_stays_bit_for_bit(found):
    for share in found:
        assert torch.equal(share['frozen'], torch.linspace(-3, 7, 101) / 3)


def test_copies_of_the_first_process(found):
    for share in found:
        assert share['copied']['weight'].tolist() == [1, 1] and share['copied']['running_mean'].tolist() == [5, 5]


def test_means(found):
    assert [share['mean'].tolist() for share in found] == [[0.5, 10]] * 2
    alone = torch.tensor([3.0])
    assert collectives.mean_over_processes(alone) is alone and collectives.sum_over_processes(alone) is alone


@pytest.mark.parametrize('num_processes, group', [(2, 4), (4, 2), (3, 4)])
def test_groups_of_the_minibatch_deviation(num_processes, group):
    """From the sampler on: every process has whole groups, which are those of one process."""
    share = 2 * group
    count = share * num_processes
    data = torch.randn(50, 6, 4, 4, generator=torch.Generator().manual_seed(2))

    def second_batch(rank, replicas):
        sampler = iter(misc.InfiniteSampler(range(50), rank=rank, num_replicas=replicas, seed=3))
        size = count // replicas
        return list(itertools.islice(sampler, 2 * size))[size:]

    layer = MinibatchStdLayer(group)
    whole = second_batch(0, 1)
    want = layer(data[whole])
    assert len(want[:, 6, 0, 0].unique()) > 1
    for rank in range(num_processes):
        own = second_batch(rank, num_processes)
        assert own == whole[rank::num_processes]
        torch.testing.assert_close(layer(data[own]), want[rank::num_processes])


def test_processes_draw_different_numbers():
    drawn = set()
    for seed, rank in itertools.product(range(3), range(4)):
        config = SimpleNamespace(random_seed=seed, num_gpus=4, num_threads=1, cudnn_benchmark=False, allow_tf32=False)
        set_up_torch(config, CPU, rank)
        drawn.add((torch.rand([]).item(), np.random.rand()))
    assert len({torch_number for torch_number, _ in drawn}) == len({numpy_number for _, numpy_number in drawn}) == 12
