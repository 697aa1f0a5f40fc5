"""The loop's formulas against closed forms, and tiny real trainings."""

import json
import math
import pickle
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.optim.optimizer import register_optimizer_step_pre_hook

import legacy
from commands.config import build_config
from commands.data_facts import inspect_data
from commands.launch import Plan, launch
from commands.options import TrainingOptions
from commands.source_sizes import use_source_sizes
from training.loop.averaging import ema_beta, next_augment_p, rate_factor
from training.loop.optimizer_phases import Phase
from training.loop.run_output import is_due
from training.training_loop import run_phase, training_loop

TINY = dict(z_dim=8, w_dim=8, map_depth=2, cbase=64, cmax=8, batch=4, mbstd_group=2, gamma=1.0, kimg=0.02, tick=0.008, snap=1)


def tiny_config(path, **options):
    options = TrainingOptions(**(TINY | dict(data=str(path)) | options))
    return build_config(options, inspect_data(options.data, options.cond, options.subset, options.mirror, options.seed))


def train(run_dir, path, changes=None, **options):
    """-> the last snapshot of a tiny run."""
    run_dir.mkdir()
    training_loop(run_dir, replace(tiny_config(path, **options), **(changes or {})))
    return load(max(run_dir.glob('network-snapshot-*.pkl')))


def load(path):
    with open(path, 'rb') as file:
        return legacy.load_network_pkl(file)


def weights(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


@pytest.fixture(scope='module')
def conditional_run(tmp_path_factory, rgb_zip):
    """A run directory as launch() leaves it, of a conditional training with adaptive augmentation and path lengths."""
    outdir = tmp_path_factory.mktemp('runs')
    options = TrainingOptions(**TINY, data=str(rgb_zip), cond=True)
    data = inspect_data(options.data, options.cond)
    return launch(Plan('train.py', options, build_config(options, data), data, str(outdir), 'pets'))


def test_ema_halves_at_the_half_life():
    # 2000 images in batches of 20 with a half-life of 2 kimg leave half of the start.
    assert ema_beta(20, 2, 10**9, None) ** 100 == pytest.approx(0.5, rel=1e-12)
    assert ema_beta(20, 2, 100, 0.05) == pytest.approx(0.5 ** (20 / 5), rel=1e-12)  # at most 100 * 0.05 images
    assert ema_beta(20, 2, 0, 0.05) == 0
    assert ema_beta(20, 0, 10**6, None) == 0


@pytest.mark.parametrize('mean, want', [(0.8, 0.5 + 0.000256), (0.2, 0.5 - 0.000256), (0.6, 0.5), (math.nan, 0.5)])
def test_augmentation_moves_by_the_images_seen(mean, want):
    assert next_augment_p(0.5, mean, target=0.6, num_images=128, ada_kimg=500) == pytest.approx(want, abs=1e-15)  # 128 / 500000


def test_augmentation_stays_above_zero_and_knows_no_upper_limit():
    assert next_augment_p(0.0001, -1, 0.6, 128, 500) == 0
    assert next_augment_p(1.0, 1, 0.6, 128, 1) == pytest.approx(1.128)


@pytest.mark.parametrize('share', [0.3, 0.5, 1])
def test_learning_rates_fall_in_a_straight_line_to_a_tenth(share):
    for progress in np.linspace(0, 1, 21):
        assert rate_factor(progress, share) == pytest.approx(np.interp(progress, [1 - share, 1], [1, 0.1]))
    assert rate_factor(1, 0) == 1


def rates_of(run_dir, path, **options):
    """Learning rates of both optimisers, by step, of a tiny run of 5 batches; a run that is there continues."""
    rates = {}
    hook = register_optimizer_step_pre_hook(lambda opt, *_: rates.setdefault(id(opt), []).append(opt.param_groups[0]['lr']))
    try:
        training_loop(run_dir, tiny_config(path, glr=0.4, dlr=0.2, pl_weight=0, **options))
    finally:
        hook.remove()
    return list(rates.values())


def test_both_networks_learn_at_the_decayed_rates(tmp_path, gray_zip):
    (tmp_path / 'run').mkdir()
    G, D = rates_of(tmp_path / 'run', gray_zip, lr_decay=0.5)
    # Batches begin at 0, 0.2, ... of the training; the regularisation's steps are in the first. Adam has k / (k + 1) of glr, dlr.
    factors = [1, 1, 0.82, 0.46]
    assert G[-4:] == pytest.approx([0.4 * 4 / 5 * factor for factor in factors]) and len(set(G[:-3])) == 1
    assert D[-4:] == pytest.approx([0.2 * 16 / 17 * factor for factor in factors]) and len(set(D[:-3])) == 1


class SquareLoss:
    """gain * mean over images of param * x, whose gradient is gain * mean(x)."""

    def __init__(self, param):
        self.param, self.syncs = param, []

    def accumulate_gradients(self, phase, real_img, real_c, gen_z, gen_c, sync, gain):
        assert len(real_img) == len(real_c) == len(gen_z) == len(gen_c)
        self.syncs.append(sync)
        (self.param * real_img * gain).mean().backward()


@pytest.mark.parametrize('batch_gpu', [8, 1])
def test_passes_gather_the_gradient_of_the_whole_batch(batch_gpu):
    param, x = torch.nn.Parameter(torch.zeros(())), torch.arange(8.0)
    phase, loss = Phase('Dreg', [param], torch.optim.SGD([param], lr=1.0), 16, ['weight']), SquareLoss(param)
    run_phase(phase, loss, x, x, x, x, batch_gpu)
    assert param.item() == pytest.approx(-16 * 3.5)
    assert loss.syncs == [False] * (8 // batch_gpu - 1) + [True]


def test_what_is_due():
    assert [is_due(tick, 2, last=False) for tick in range(5)] == [False, False, True, False, True]
    assert is_due(1, 2, last=True) and is_due(0, None, last=True) and not is_due(4, None, last=False)


def test_run_directory(conditional_run):
    names = {re.sub(r'\d{6,9}', 'N', path.name) for path in conditional_run.iterdir() if 'tfevents' not in path.name}
    assert names == {'.lock', 'training_options.json', 'log.txt', 'stats.jsonl', 'reals.png', 'fakes_init.png', 'fakesN.png',
                     'network-snapshot-N.pkl', 'training-state-N.pt', 'run.json', 'report.html'}
    options = json.loads((conditional_run / 'training_options.json').read_text())
    assert options['batch_size'] == 4
    stats = [json.loads(line) for line in (conditional_run / 'stats.jsonl').read_text().splitlines()]
    assert [line['Progress/tick']['mean'] for line in stats] == list(range(len(stats)))
    assert stats[-1]['Progress/kimg']['mean'] == pytest.approx(0.02)
    assert all(line['timestamp'] > 0 and line['Loss/G/loss']['num'] > 0 for line in stats)
    log = (conditional_run / 'log.txt').read_text()
    assert all(text in log for text in ('3 classes: cat, dog, owl', 'tick 1', 'img/s', 'augment', 'Generator', 'Done:'))


def test_pictures_have_a_row_per_class(conditional_run):
    with Image.open(conditional_run / 'reals.png') as reals, Image.open(conditional_run / 'fakes_init.png') as fakes:
        assert reals.size == fakes.size
        assert reals.height == 3 * 16
        rows = np.asarray(reals.convert('L'))[:, -16 * 16:].reshape(3, 16, -1).mean(axis=(1, 2))
    assert np.all(np.diff(rows) > 40)  # the classes of the data set differ in brightness


def test_snapshot_holds_what_the_tools_read(conditional_run):
    data = load(max(conditional_run.glob('network-snapshot-*.pkl')))
    assert data['class_names'] == ['cat', 'dog', 'owl']
    assert data['training_set_kwargs']['use_labels'] is True
    assert data['augment_pipe'] is not None
    for name in ('G', 'D', 'G_ema'):
        assert not data[name].training and not any(param.requires_grad for param in data[name].parameters())
    images = data['G_ema'](torch.randn(2, 8), torch.eye(3)[:2], noise_mode='const')
    assert images.shape == (2, 3, 16, 16)


def test_same_seed_same_bits_other_seed_other_weights(tmp_path, gray_zip):
    first, again, other = (train(tmp_path / name, gray_zip, seed=seed) for name, seed in (('a', 3), ('b', 3), ('c', 4)))
    for name in ('G', 'D', 'G_ema'):
        ours, theirs = weights(first[name]), weights(again[name])
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert not torch.equal(weights(first['G'])['mapping.fc0.weight'], weights(other['G'])['mapping.fc0.weight'])


def test_worker_processes_give_the_same_images(tmp_path, gray_zip):
    alone, helped = (train(tmp_path / str(workers), gray_zip, workers=workers, aug='noaug') for workers in (0, 1))
    ours, theirs = weights(alone['D']), weights(helped['D'])
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_both_networks_learn(tmp_path, rgb_zip, source_pkl):
    changes = source_sizes(rgb_zip, source_pkl)
    trained, source = train(tmp_path / 'run', rgb_zip, changes, aug='noaug'), load(source_pkl)
    for name in ('G', 'D', 'G_ema'):
        before, after = dict(source[name].named_parameters()), dict(trained[name].named_parameters())
        # Biases and noise strengths too: every parameter has a gradient.
        assert [key for key in before if torch.equal(before[key], after[key])] == []


def source_sizes(data_path, pkl, **options):
    options = TrainingOptions(data=str(data_path), resume=str(pkl), batch=4, mbstd_group=2, **options)
    data = inspect_data(options.data, options.cond)
    config, _data = use_source_sizes(build_config(options, data), options, data)
    return {key: getattr(config, key) for key in ('G_kwargs', 'D_kwargs', 'resume_pkl')}


def test_resuming_without_learning_keeps_the_source(tmp_path, rgb_zip, source_pkl):
    changes = source_sizes(rgb_zip, source_pkl)
    trained, source = train(tmp_path / 'run', rgb_zip, changes, aug='noaug', glr=0.0, dlr=0.0), load(source_pkl)
    for name in ('G', 'D', 'G_ema'):
        before, after = dict(source[name].named_parameters()), dict(trained[name].named_parameters())
        assert all(torch.equal(before[key], after[key]) for key in before)


def test_frozen_layers_stay_and_the_rest_learns(tmp_path, rgb_zip, source_pkl):
    changes = source_sizes(rgb_zip, source_pkl, freezed=2)
    trained, source = weights(train(tmp_path / 'run', rgb_zip, changes, aug='noaug')['D']), weights(load(source_pkl)['D'])
    for name in ('b16.fromrgb.weight', 'b16.fromrgb.bias', 'b16.conv0.weight', 'b16.conv0.bias'):
        assert torch.equal(trained[name], source[name])
    for name in ('b16.conv1.weight', 'b16.skip.weight', 'b4.out.weight'):
        assert not torch.equal(trained[name], source[name])


def test_adaptive_augmentation_counts_images(tmp_path, gray_zip):
    # A mean sign is never below -1, so p rises at each of the 5 / 4 -> 1 updates, by 16 images of 100.
    data = train(tmp_path / 'run', gray_zip, dict(ada_target=-1.5, ada_kimg=0.1))
    assert float(data['augment_pipe'].p) == pytest.approx(0.16)


class NanLoss:
    """Sound for the generator, not for the discriminator."""

    def __init__(self, device, G_mapping, G_synthesis, D, augment_pipe):
        self.modules = dict(G=G_mapping, D=D)

    def accumulate_gradients(self, phase, real_img, real_c, gen_z, gen_c, sync, gain):
        value = math.nan if phase == 'Dmain' else 1.0
        sum(value * param.sum() for param in self.modules[phase[0]].parameters()).backward()


@pytest.mark.parametrize('kimg, batches', [(0.02, 5), (0.2, 17)])
def test_a_loss_that_stays_non_finite_stops_the_run(tmp_path, gray_zip, kimg, batches):
    """At the end, or at the first tick after 16 such steps. The gradients were zeroed, so what was saved before is sound."""
    text = f'phase Dmain has had no finite loss since batch 0 .* {batches} steps in a row'
    with pytest.raises(FloatingPointError, match=text) as caught:
        train(tmp_path / 'run', gray_zip, dict(loss_kwargs=dict(class_name=f'{__name__}.NanLoss')), kimg=kimg)
    assert 'gradients of b16.' in str(caught.value)
    snapshot = load(max((tmp_path / 'run').glob('network-snapshot-*.pkl')))
    assert all(tensor.isfinite().all() for tensor in weights(snapshot['D']).values())
    stats = [json.loads(line) for line in (tmp_path / 'run' / 'stats.jsonl').read_text().splitlines()]
    counts = [line['Gradients/nonfinite/Dmain'] for line in stats]
    assert sum(count['num'] for count in counts) == batches and all(count['mean'] > 1000 for count in counts)
    assert all(line['Gradients/nonfinite/Gmain']['mean'] == 0 for line in stats)


def test_a_source_with_the_average_only_fills_the_generator(tmp_path, rgb_zip, source_pkl, capsys):
    with open(source_pkl, 'rb') as file:
        data = pickle.load(file)
    path = tmp_path / 'ema.pkl'
    path.write_bytes(pickle.dumps({**data, 'G': None, 'D': None}))
    changes = source_sizes(rgb_zip, path)
    trained = train(tmp_path / 'run', rgb_zip, changes, aug='noaug', glr=0.0)
    assert torch.equal(trained['G'].synthesis.b4.const, data['G_ema'].synthesis.b4.const)
    assert 'D from' in (said := capsys.readouterr().out) and 'starts from random weights' in said
