"""Presets and configuration against the published table and hand-computed numbers."""

import json

import pytest

from commands.config import build_config, run_description
from commands.data_facts import DataFacts
from commands.options import TrainingOptions
from commands.presets import PRESETS, auto_preset
from training.config import LoaderConfig, TrainingConfig


def facts(**changes):
    return DataFacts(**(dict(name='pets', path='pets.zip', resolution=32, num_channels=3, num_images=1000) | changes))


def config_of(data=None, **options):
    return build_config(TrainingOptions(data='pets.zip', **options), data or facts())


@pytest.mark.parametrize('name, batch, group, base, rate, gamma, ema, ramp, depth', [
    ('stylegan2', 32, 4, 32768, 0.002, 10, 10, None, 8),
    ('paper256', 64, 8, 16384, 0.0025, 1, 20, None, 8),
    ('paper512', 64, 8, 32768, 0.0025, 0.5, 20, None, 8),
    ('paper1024', 32, 4, 32768, 0.002, 2, 10, None, 8),
    ('cifar', 64, 32, 32768, 0.0025, 0.01, 500, 0.05, 2),
])
def test_presets_are_the_published_ones(name, batch, group, base, rate, gamma, ema, ramp, depth):
    config = config_of(cfg=name)
    assert config.batch_size == batch
    assert config.D_kwargs['epilogue_kwargs'] == {'mbstd_group_size': group}
    assert config.G_kwargs['synthesis_kwargs']['channel_base'] == config.D_kwargs['channel_base'] == base
    assert config.G_opt_kwargs.lr == config.D_opt_kwargs.lr == rate
    assert config.loss_kwargs['r1_gamma'] == gamma
    assert (config.ema_kimg, config.ema_rampup) == (ema, ramp)
    assert config.G_kwargs['mapping_kwargs']['num_layers'] == depth
    small = name == 'cifar'
    assert config.D_kwargs['architecture'] == ('orig' if small else 'resnet')
    assert (config.loss_kwargs['pl_weight'], config.loss_kwargs['style_mixing_prob']) == ((0, 0) if small else (2, 0.9))


@pytest.mark.parametrize('resolution, gpus, batch, group, base, rate, gamma, ema', [
    (32, 1, 32, 4, 16384, 0.0025, 0.0064, 10),        # 0.0002 * 1024 / 32
    (256, 1, 16, 4, 16384, 0.0025, 0.8192, 5),        # 4096 / 256 images
    (1024, 1, 4, 4, 32768, 0.002, 52.4288, 1.25),
    (32, 128, 128, 1, 16384, 0.0025, 0.0016, 40),     # no fewer than one each
])
def test_auto_follows_the_resolution(resolution, gpus, batch, group, base, rate, gamma, ema):
    preset = auto_preset(resolution, gpus)
    assert (preset.batch, preset.mbstd_group, preset.cbase, preset.learning_rate) == (batch, group, base, rate)
    assert preset.gamma == pytest.approx(gamma, rel=1e-12)
    assert preset.ema_kimg == pytest.approx(ema, rel=1e-12)
    assert (preset.ema_ramp, preset.map_depth) == (0.05, 2)


def test_options_override_the_preset():
    config = config_of(cfg='paper256', gamma=3, batch=32, batch_gpu=16, mbstd_group=16, glr=0.01, dlr=0.02, cbase=1024, cmax=64,
                       z_dim=16, w_dim=24, map_depth=3, mapping_lr_mult=0.1, mixing_prob=0.5, pl_weight=0, ema_kimg=7, kimg=200.0,
                       tick=0.5)
    assert config.loss_kwargs == dict(class_name='training.loss.StyleGAN2Loss', r1_gamma=3, style_mixing_prob=0.5, pl_weight=0)
    assert (config.batch_size, config.batch_gpu) == (32, 16)
    assert (config.G_opt_kwargs.lr, config.D_opt_kwargs.lr) == (0.01, 0.02)
    assert config.G_kwargs['mapping_kwargs'] == dict(num_layers=3, lr_multiplier=0.1)
    assert (config.G_kwargs['z_dim'], config.G_kwargs['w_dim']) == (16, 24)
    assert config.D_kwargs['channel_max'] == 64
    assert config.D_kwargs['epilogue_kwargs'] == dict(mbstd_group_size=16)
    assert config.ema_kimg == 7
    assert (config.total_kimg, config.kimg_per_tick) == (200, 0.5)


@pytest.mark.parametrize('options', [{}, dict(cfg='cifar', aug='fixed', p=0.3),
                                     dict(aug='noaug', resume='x.pkl', device='cuda', freezed=4)])
def test_config_survives_json(options):
    config = config_of(**options)
    assert TrainingConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_labels_that_fade_in():
    classes = facts(label_dim=2, class_names=('a', 'b'))
    assert config_of(classes, cond=True).cond_ramp is None
    assert json.dumps(config_of(classes, cond=True, cond_ramp='2.0,30.5', kimg=30.5).cond_ramp) == '[2, 30.5]'


def test_half_precision_belongs_to_cuda():
    assert config_of(device='cuda').G_kwargs['synthesis_kwargs']['num_fp16_res'] == 4
    assert config_of(device='cuda').D_kwargs['conv_clamp'] == 256
    for config in (config_of(device='cuda', fp32=True), config_of(device='cpu'), config_of(device='mps')):
        assert config.G_kwargs['synthesis_kwargs']['num_fp16_res'] == config.D_kwargs['num_fp16_res'] == 0
        assert config.D_kwargs['conv_clamp'] is None


def test_bfloat16_takes_the_place_of_float16():
    """The same layers and limits; and the config of float16 doesn't name the type, which other tools' networks don't know."""
    half, other = config_of(device='cuda', freezed=2), config_of(device='cuda', freezed=2, half='bf16')
    assert other.G_kwargs['synthesis_kwargs'] == half.G_kwargs['synthesis_kwargs'] | dict(half_type='bfloat16')
    assert other.D_kwargs == half.D_kwargs | dict(block_kwargs=dict(freeze_layers=2, half_type='bfloat16'))
    assert config_of(device='cpu', half='bf16') == config_of(device='cpu')
    with pytest.raises(ValueError, match=r'--half=bf16 .* --fp32=1'):
        config_of(device='cuda', half='bf16', fp32=True)


def test_resuming_moves_augmentation_faster_and_needs_no_ramp():
    assert (config_of().ada_kimg, config_of().ema_rampup) == (500, 0.05)
    resumed = config_of(resume='x.pkl')
    assert (resumed.ada_kimg, resumed.ema_rampup, resumed.resume_pkl) == (100, None, 'x.pkl')


def test_workers_go_with_the_device():
    assert config_of(device='cpu').data_loader_kwargs == LoaderConfig(num_workers=0, pin_memory=False)
    assert config_of(device='cuda').data_loader_kwargs == LoaderConfig(num_workers=3, pin_memory=True, prefetch_factor=2)
    assert config_of(workers=2).data_loader_kwargs == LoaderConfig(num_workers=2, pin_memory=False, prefetch_factor=2)


@pytest.mark.parametrize('options, message', [
    (dict(batch=10, gpus=4), '--batch must be a multiple of --gpus: found 10 and 4; try --batch=12'),
    (dict(batch=16, batch_gpu=5), '--batch-gpu must divide the 16 images'),
    (dict(batch=16, mbstd_group=3), 'minibatch deviation group: found 16 and 3; try --mbstd-group=1'),
    (dict(aug='fixed'), '--aug=fixed needs'),
    (dict(p=0.5), '--p=0.5 belongs to --aug=fixed, found --aug=ada'),
    (dict(aug='noaug', target=0.5), '--target=0.5 belongs to --aug=ada, found --aug=noaug'),
    (dict(gamma=float('nan')), '--gamma=nan: expected a finite number'),
    (dict(ema_kimg=float('inf')), '--ema-kimg=inf'),
    (dict(cond_ramp='2,4'), '--cond-ramp=2,4 needs classes, found --cond=0: add --cond=1'),
    (dict(cond_ramp='4,2', cond=True), '--cond-ramp=4,2: expected START,END'),
    (dict(cond_ramp='200,400', cond=True, kimg=300), '--cond-ramp=200,400 ends after the 300 thousand images of --kimg'),
])
def test_what_cannot_train_together_is_said(options, message):
    with pytest.raises(ValueError) as error:
        config_of(**options)
    assert message in str(error.value)
    assert '\n' not in str(error.value)


def test_description_names_the_run():
    assert run_description(TrainingOptions(), facts()) == 'pets-auto'
    options = TrainingOptions(cond=True, cond_ramp='5,9', mirror=True, cfg='cifar', gpus=2, subset=50, gamma=0.5, batch=16,
                              aug='noaug', resume='x', desc='try1')
    assert run_description(options, facts()) == 'pets-cond-ramp5,9-mirror-cifar2-subset50-gamma0.5-batch16-noaug-resume-try1'


def test_every_preset_splits_into_deviation_groups():
    for preset in PRESETS.values():
        assert preset.batch % preset.mbstd_group == 0
