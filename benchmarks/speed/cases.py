"""What the benchmark measures: each case is built when its turn comes, so that only its own tensors are in memory.

Names say what and where: train/hyper-10/32, sample/plain-10/64/b16, part/augment/32.
"""
import copy
import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks.speed import reference
from exporting.baked import bake_network
from hyper_plugin import contrastive
from hyper_plugin.loss import HyperTransferLoss
from hyper_plugin.selfinit import Distillation
from torch_utils.misc import copy_params_and_buffers
from training.augment import AugmentPipe
from training.augment import augpipe_specs as PRESETS
from training.networks import Generator

from .flops import expected_classes, flop_per_image, iteration_gflop
from .networks import Setup, Training, build, draw_labels, labels_in_turn
from .timing import KEPT, OVERHEAD, SHARED, SPEEDUP, Case, Way

FROM_REF = {SPEEDUP: ('ref', 'ours')}
Factory = Callable[[], Case]


def train_case(setup: Setup, batch: int) -> Case:
    """A training iteration by StyleGAN2Loss; the hyper network also against the same network without it."""
    runs = {'ours': Training(setup, batch), 'ref': Training(setup, batch, is_reference=True)}
    ratios = dict(FROM_REF)
    if setup.kind == 'hyper':
        runs['plain'] = Training(plain_of(setup), batch)
        ratios[OVERHEAD] = ('ours', 'plain')
    shares = runs['ours'].shares()
    in_batch = expected_classes(batch, setup.classes)
    gflop = {name: iteration_gflop(run.G, run.D, batch, in_batch, shares) for name, run in runs.items()}
    ways = {name: Way(run.run, run.is_reference) for name, run in runs.items()}
    if setup.kind == 'plain' or setup.network == 'hyper-10':
        # How much of it is memory that the C library returns to the system and gets anew.
        ways['kept'] = dataclasses.replace(ways['ref'], is_keeping=True)
        ratios[KEPT] = ('kept', 'ours')
    return Case(f'train/{setup.network}/{setup.resolution}', batch, ways, shares, ratios, gflop)


def transfer_case(setup: Setup, batch: int) -> Case:
    """An iteration of the transfer: as it is, without the contrastive loss, and with --share-fakes."""
    kwargs: dict[str, dict[str, Any]] = {'ours': {}, 'without': dict(contrastive_loss='none'), 'shared': dict(share_fakes=True)}
    runs = {name: Training(setup, batch, loss_class=HyperTransferLoss, **options) for name, options in kwargs.items()}
    return Case(f'transfer/{setup.network}/{setup.resolution}', batch, {name: Way(run.run) for name, run in runs.items()},
                runs['ours'].shares(), {OVERHEAD: ('ours', 'without'), SHARED: ('ours', 'shared')})


def sample_case(setup: Setup, batch: int) -> Case:
    """Pictures: mixed classes by all; the hyper network also with one class, and that class baked into a plain one."""
    G = build(setup)[0].eval().requires_grad_(False)
    old = copy.deepcopy(G)
    reference.store_plane_by_plane(old)
    z, c = torch.randn(batch, setup.code, device=setup.device), draw_labels(batch, setup.classes, setup.device)
    c = labels_in_turn(batch, setup.classes, setup.device) if setup.kind == 'hyper' else c
    calls = {'ours': lambda: G(z, c), 'ref': lambda: old(z, c)}
    ratios = dict(FROM_REF)
    if setup.kind == 'hyper':
        plain = build(plain_of(setup))[0].eval().requires_grad_(False)
        one = c[:1].expand(batch, -1)
        baked = bake_network(G, c[0]).to(setup.device)
        nothing = torch.zeros(batch, 0, device=setup.device)
        calls.update(one=lambda: G(z, one), baked=lambda: baked(z, nothing), plain=lambda: plain(z, c))
        ratios |= {OVERHEAD: ('ours', 'plain')} | {f'{OVERHEAD} {name}': (way, 'plain')
                                                   for name, way in (('one class', 'one'), ('baked', 'baked'))}
    gflop = dict.fromkeys(calls, batch * flop_per_image(G) / 1e9)  # kernels are kept between batches: nothing per class
    ways = {name: Way(without_part(call), name == 'ref', is_grad=False) for name, call in calls.items()}
    ways['kept'] = dataclasses.replace(ways['ref'], is_keeping=True)
    ratios[KEPT] = ('kept', 'ours')
    return Case(f'sample/{setup.network}/{setup.resolution}/b{batch}', batch, ways, ratios=ratios, gflop=gflop)


def without_part(call: Callable[[], object]) -> Callable[[str], object]:
    """A call as a way of a case that has one part."""
    return lambda _part: call()


def plain_of(setup: Setup) -> Setup:
    """The same network without hyper-modulation."""
    return Setup(**{**vars(setup), 'kind': 'plain', 'rank': 0})


def distill_case(setup: Setup, batch: int) -> Case:
    """A step of the self-initialisation by distillation."""
    works: dict[str, Distillation] = {}
    for name in ('ours', 'ref'):
        hyper = build(setup)[0].eval()
        source = Generator(setup.code, 0, setup.code, setup.resolution, 3, mapping_kwargs=dict(num_layers=setup.map_depth),
                           synthesis_kwargs=dict(channel_base=setup.channel_base, channel_max=setup.channel_max))
        source = source.to(setup.device).eval().requires_grad_(False)
        copy_params_and_buffers(source, hyper)
        if name == 'ref':
            reference.store_plane_by_plane(hyper)
            reference.store_plane_by_plane(source)
        works[name] = Distillation(source, hyper, torch.device(setup.device), torch.Generator().manual_seed(0), batch, 0.0025)
    ways = {name: Way(without_part(work.step), name == 'ref') for name, work in works.items()}
    return Case(f'part/selfinit/{setup.resolution}', batch, ways, ratios=FROM_REF)


def augment_case(setup: Setup, batch: int) -> Case:
    """Adaptive augmentation at p = 0.5, with the gradient of the images."""
    pipe: Any = AugmentPipe(**PRESETS['bgc']).train().requires_grad_(False).to(setup.device)
    pipe.p.fill_(0.5)
    return _images_case('augment', pipe, setup, batch)


def views_case(setup: Setup, batch: int) -> Case:
    """One random view of each image, with the gradient of the images."""
    return _images_case('views', contrastive.make_views(torch.device(setup.device)), setup, batch)


def _images_case(name: str, module: Callable[[torch.Tensor], torch.Tensor], setup: Setup, batch: int) -> Case:
    images = torch.randn(batch, 3, setup.resolution, setup.resolution, device=setup.device).requires_grad_()

    def run(_part: str) -> None:
        torch.autograd.grad(module(images).sum(), images)

    return Case(f'part/{name}/{setup.resolution}', batch, {'ours': Way(run), 'ref': Way(run, True)}, ratios=FROM_REF)


def cases(quick: bool, device: str, tiny: bool = False) -> dict[str, list[Factory]]:
    """How to build the cases of each group, in the order in which they are measured. tiny: small enough for a test."""
    found: dict[str, list[Factory]] = {'train': [], 'transfer': [], 'sample': [], 'part': []}
    large = device != 'cpu'  # an accelerator is measured at the size that it is for
    for resolution in ((16,) if tiny else (256,) if large else (32,) if quick else (32, 64, 256)):
        at = partial(Setup, resolution=resolution, device=device)
        if large:
            at = partial(at, channel_base=16384, channel_max=512, half=True, map_depth=8)
        if tiny:
            at = partial(at, channel_base=64, channel_max=8, code=8)
        batch = 4 if tiny or (resolution == 256 and not large) else 32 if large else 16
        hypers = [(10, 0)] if quick or resolution > 32 else [(2, 0), (10, 0), (100, 0), (2, 8), (10, 8), (100, 8)]
        found['train'].append(partial(train_case, at(kind='plain'), batch))
        found['train'] += [partial(train_case, at(kind='hyper', classes=many, rank=rank), batch) for many, rank in hypers]
        found['transfer'].append(partial(transfer_case, at(kind='hyper'), batch))
        sizes = (4,) if tiny else (16,) if quick or resolution == 256 else (1, 16, 64)
        found['sample'] += [partial(sample_case, at(kind=kind), size) for kind in ('plain', 'hyper') for size in sizes]
        found['part'] += [partial(make, at(kind='hyper'), batch) for make in (distill_case, augment_case, views_case)]
    return found
