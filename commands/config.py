"""From options and facts about the data to the training configuration; pure, without device or files."""

import dataclasses
import math
from typing import Any

from metrics.metric_main import find_metric
from training.augment import augpipe_specs
from training.config import LoaderConfig, MetricOptions, MetricsConfig, OptimizerConfig, TrainingConfig
from training.loop.cond_ramp import parse_ramp

from .data_facts import DataFacts
from .options import TrainingOptions, option_name
from .presets import PRESETS, Preset, auto_preset


def build_config(options: TrainingOptions, data: DataFacts) -> TrainingConfig:
    """The configuration of a training of a plain StyleGAN2.

    options.device is 'cpu', 'cuda' or 'mps'. ValueError for values that do not go together.
    """
    _check_options(options)
    preset = auto_preset(data.resolution, options.gpus, options.batch) if options.cfg == 'auto' else PRESETS[options.cfg]
    preset = _override(preset, options)
    batch_gpu = share_batch(preset.batch, options.gpus, options.batch_gpu, preset.mbstd_group)
    half_precision = options.device == 'cuda' and not options.fp32
    return TrainingConfig(
        training_set_kwargs=data.dataset,
        data_loader_kwargs=loader_config(options.workers, options.device == 'cuda'),
        G_kwargs=_generator_kwargs(preset, options, half_precision),
        D_kwargs=_discriminator_kwargs(preset, options, half_precision),
        G_opt_kwargs=_adam(_given(options.glr, preset.learning_rate)),
        D_opt_kwargs=_adam(_given(options.dlr, preset.learning_rate)),
        lr_decay=_plain(options.lr_decay),
        loss_kwargs=dict(
            class_name='training.loss.StyleGAN2Loss',
            r1_gamma=preset.gamma,
            style_mixing_prob=preset.mixing_prob,
            pl_weight=preset.pl_weight,
        ),
        **_augmentation(options),
        random_seed=options.seed,
        num_gpus=options.gpus,
        batch_size=preset.batch,
        batch_gpu=batch_gpu,
        ema_kimg=preset.ema_kimg,
        ema_rampup=None if options.resume else preset.ema_ramp,  # a source model's average needs no warm-up
        G_reg_interval=4,
        D_reg_interval=16,
        cond_ramp=_label_ramp(options),
        resume_pkl=options.resume,
        allow_tf32=options.allow_tf32,
        **changeable_settings(options),
    )


def changeable_settings(options: TrainingOptions) -> dict[str, Any]:
    """Settings that follow from options alone, and may differ when a run continues."""
    return dict(
        total_kimg=_plain(options.kimg),
        kimg_per_tick=_plain(options.tick),
        image_snapshot_ticks=options.snap,
        network_snapshot_ticks=options.snap,
        keep_snapshots=options.keep_snapshots,
        metrics=metrics_config(options),
        cudnn_benchmark=not options.nobench,
        device=options.device,
        num_threads=options.threads,
    )


def run_description(options: TrainingOptions, data: DataFacts) -> str:
    """The name of the run directory after its number: data set, preset, and the main choices."""
    parts = [data.name]
    parts += ['cond'] if options.cond else []
    parts += [f'ramp{options.cond_ramp}'] if options.cond_ramp else []
    parts += ['mirror'] if options.mirror else []
    parts += [f'{options.cfg}{options.gpus}' if options.gpus > 1 else options.cfg]
    parts += [f'subset{options.subset}'] if options.subset else []
    parts += [f'gamma{options.gamma:g}'] if options.gamma is not None else []
    parts += [f'batch{options.batch}'] if options.batch else []
    parts += [options.aug] if options.aug != 'ada' else []
    parts += ['resume'] if options.resume else []
    parts += [options.desc] if options.desc else []
    return '-'.join(parts)


def _check_options(options: TrainingOptions) -> None:
    if options.fp32 and options.half == 'bf16':
        raise ValueError('--half=bf16 and --fp32=1 exclude each other: leave out one')
    if options.aug == 'fixed' and options.p is None:
        raise ValueError('--aug=fixed needs the probability of augmentation: add --p, from 0 to 1')
    if options.p is not None and options.aug != 'fixed':
        raise ValueError(f'--p={options.p:g} belongs to --aug=fixed, found --aug={options.aug}: add --aug=fixed or leave out --p')
    if options.target is not None and options.aug != 'ada':
        raise ValueError(f'--target={options.target:g} belongs to --aug=ada, found --aug={options.aug}: leave out one of the two')
    check_finite(options)


def check_finite(options: TrainingOptions) -> None:
    """ValueError if an option is NaN or infinite."""
    for name, value in vars(options).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f'{option_name(name)}={value}: expected a finite number')


def _override(preset: Preset, options: TrainingOptions) -> Preset:
    """The preset with what was chosen by options of the same name."""
    chosen = {field.name: getattr(options, field.name, None) for field in dataclasses.fields(Preset)}
    return dataclasses.replace(preset, **{name: value for name, value in chosen.items() if value is not None})


def share_batch(batch: int, gpus: int, batch_gpu: int | None, mbstd_group: int) -> int:
    """Images per process and pass. ValueError unless the batch splits evenly into processes, passes and deviation groups."""
    if batch % gpus:
        raise ValueError(f'--batch must be a multiple of --gpus: found {batch} and {gpus}; '
                         f'try --batch={math.ceil(batch / gpus) * gpus}')
    per_process = batch // gpus
    batch_gpu = batch_gpu or per_process
    if batch_gpu > per_process or per_process % batch_gpu:
        raise ValueError(f'--batch-gpu must divide the {per_process} images per process and batch: found {batch_gpu}')
    group = min(mbstd_group, batch_gpu)
    if batch_gpu % group:
        raise ValueError(f'images per pass must be a multiple of the minibatch deviation group: found {batch_gpu} and {group}; '
                         f'try --mbstd-group={math.gcd(batch_gpu, group)} or another --batch')
    return batch_gpu


def _generator_kwargs(preset: Preset, options: TrainingOptions, half_precision: bool) -> dict[str, Any]:
    return dict(
        class_name='training.networks.Generator',
        z_dim=options.z_dim,
        w_dim=options.w_dim,
        mapping_kwargs=dict(num_layers=preset.map_depth, lr_multiplier=options.mapping_lr_mult),
        synthesis_kwargs=_size_kwargs(preset, options, half_precision) | _half_type(options, half_precision),
    )


def _discriminator_kwargs(preset: Preset, options: TrainingOptions, half_precision: bool) -> dict[str, Any]:
    return dict(
        class_name='training.networks.Discriminator',
        architecture=preset.d_architecture,
        **_size_kwargs(preset, options, half_precision),
        block_kwargs=(dict(freeze_layers=options.freezed) if options.freezed else {}) | _half_type(options, half_precision),
        mapping_kwargs={},
        epilogue_kwargs=dict(mbstd_group_size=preset.mbstd_group),
    )


def _size_kwargs(preset: Preset, options: TrainingOptions, half_precision: bool) -> dict[str, Any]:
    """Half precision in the 4 highest resolutions, where activations are limited to 256 against overflow (appendix D.1)."""
    return dict(
        channel_base=preset.cbase,
        channel_max=options.cmax,
        num_fp16_res=4 if half_precision else 0,
        conv_clamp=256 if half_precision else None,
    )


def _half_type(options: TrainingOptions, half_precision: bool) -> dict[str, Any]:
    """The block argument for bfloat16, in the same layers and with the same limit of activations as float16."""
    return dict(half_type='bfloat16') if half_precision and options.half == 'bf16' else {}


def _adam(learning_rate: float) -> OptimizerConfig:
    return OptimizerConfig(lr=learning_rate, betas=[0.0, 0.99])


def _augmentation(options: TrainingOptions) -> dict[str, Any]:
    """augment_kwargs, augment_p, ada_target, ada_interval (batches), ada_kimg (for p to move by 1)."""
    ada_kimg = 100 if options.resume else 500
    settings: dict[str, Any] = dict(augment_kwargs=None, augment_p=0, ada_target=None, ada_interval=4, ada_kimg=ada_kimg)
    if options.aug == 'noaug':
        return settings
    settings['augment_kwargs'] = dict(class_name='training.augment.AugmentPipe', **augpipe_specs[options.augpipe])
    if options.aug == 'ada':
        settings['ada_target'] = _given(options.target, 0.6)
    else:
        settings['augment_p'] = options.p
    return settings


def _label_ramp(options: TrainingOptions) -> list[float] | None:
    """The thousands of images between which the classes fade in; None: classes from the start."""
    if options.cond_ramp is None:
        return None
    ramp = parse_ramp(options.cond_ramp)
    if not options.cond:
        raise ValueError(f'--cond-ramp={options.cond_ramp} needs classes, found --cond=0: add --cond=1')
    if ramp[1] > options.kimg:
        raise ValueError(f'--cond-ramp={options.cond_ramp} ends after the {options.kimg:g} thousand images of --kimg, so '
                         'classes would never reach full strength: end it earlier, or raise --kimg')
    return [_plain(kimg) for kimg in ramp]


NO_METRICS = 'none'  # for a run that goes on, which would keep the ones that it had


def metrics_config(options: TrainingOptions) -> MetricsConfig | None:
    """The config of the options --metrics...; ValueError for unknown names."""
    if options.metrics in (None, NO_METRICS):
        return None
    return MetricsConfig(
        names=[find_metric(name.strip()).name for name in options.metrics.split(',')],
        ticks=_given(options.metrics_ticks, options.snap),
        options=MetricOptions(detector=options.metrics_detector, num_gen=options.metrics_num_gen, seed=options.seed),
    )


def loader_config(workers: int | None, on_cuda: bool) -> LoaderConfig:
    """workers: None for the default."""
    workers = _given(workers, 3 if on_cuda else 0)
    return LoaderConfig(num_workers=workers, pin_memory=on_cuda, prefetch_factor=2 if workers else None)


def _given(value: Any, default: Any) -> Any:
    return default if value is None else value


def _plain(number: float) -> float:
    """25000.0 -> 25000, as people write it."""
    return int(number) if float(number).is_integer() else number
