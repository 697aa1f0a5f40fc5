"""The options of all training commands, in one dataclass: types, defaults and help.

A command adds its own options in a subclass. A field redeclared without option() is not an option of that command.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import click

from dnnlib.schema import check
from training.augment import augpipe_specs
from training.run.run_dir import DEFAULT_RUNS_DIR

from .cli import UserPath, device_option, verbose_option
from .presets import PRESET_NAMES

T = TypeVar('T', bound='TrainingOptions')
COUNT = click.IntRange(min=1)
PROCESSES = click.IntRange(1, 4096)
WEIGHT = click.FloatRange(min=0)
POSITIVE = click.FloatRange(min=0, min_open=True)
SHARE = click.FloatRange(0, 1)


def option(kind: Any, text: str, default: Any = None, declaration: str | None = None, **settings: Any) -> Any:
    """A field that is a command line option. kind: its click type. declaration: its name on the command line, if different from
    the field's. A default of None is explained in the help text."""
    return dataclasses.field(default=default, metadata=dict(type=kind, help=text, declaration=declaration, **settings))


@dataclasses.dataclass(kw_only=True)
class TrainingOptions:
    """What a user may choose; None takes the preset's value."""

    data: str | None = option(UserPath(), 'Training images: folder or zip, as dataset_tool.py makes it.')
    cond: bool = option(click.BOOL, 'Use the labels of the data: a conditional model.', False)
    cond_ramp: str | None = option(str, 'START,END in thousands of images: train without classes until START, with full class '
                                        'labels from END. Helps against collapse on few images. In train.py it needs '
                                        '--cond=1.  [default: classes from the first image]')
    subset: int | None = option(COUNT, 'Train on a random subset of this many images, drawn by --seed.  [default: all]')
    mirror: bool = option(click.BOOL, 'Add a mirrored copy of every image.', False)
    cfg: str = option(click.Choice(PRESET_NAMES), 'Preset of batch size, learning rates, gamma and network sizes; auto picks '
                                                  'them by resolution.', 'auto')
    gamma: float | None = option(WEIGHT, 'Weight of the R1 penalty; 0 turns it off.  [default: by --cfg]')
    kimg: float = option(POSITIVE, 'Training length in thousands of real images.', 25000)
    batch: int | None = option(COUNT, 'Images per step over all processes.  [default: by --cfg]')
    batch_gpu: int | None = option(COUNT, 'Images per pass of one process; fewer need less memory. The minibatch deviation and '
                                          'the contrastive loss compare only images of one pass.  [default: --batch / --gpus]')
    gpus: int = option(PROCESSES, 'Number of processes; on CUDA each uses its own GPU.', 1)
    aug: str = option(click.Choice(['noaug', 'ada', 'fixed']), 'Augmentation of the images that the discriminator sees: none, '
                                                               'adaptive, or fixed (needs --p).', 'ada')
    p: float | None = option(SHARE, 'Probability of augmentation for --aug=fixed.')
    target: float | None = option(click.FloatRange(-1, 1), 'Target of --aug=ada: the mean sign of D(real).  [default: 0.6]')
    augpipe: str = option(click.Choice(list(augpipe_specs)), 'Transforms of the augmentation: one group by name, or the first '
                                                             'groups by their initials, as in bgc.', 'bgc')
    resume: str | None = option(UserPath(), 'Start from this snapshot and use its network sizes: a path, a URL, or ffhq256, '
                                            'ffhq512, ffhq1024, celebahq256, lsundog256. Or continue a stopped run exactly: '
                                            'its directory, or latest.  [default: from scratch]')
    freezed: int = option(click.IntRange(min=0), 'Number of discriminator layers to freeze, counted from the image '
                                                 '(FreezeD).', 0)
    z_dim: int = option(COUNT, 'Dimension of the latent z.', 512)
    w_dim: int = option(COUNT, 'Dimension of the intermediate latent w.', 512)
    map_depth: int | None = option(click.IntRange(1, 100), 'Number of layers of the mapping network.  [default: by --cfg]')
    mapping_lr_mult: float = option(POSITIVE, 'Learning rate of the mapping network, as a multiple of --glr. With 0.1, small '
                                              'models learn varied images sooner.', 0.01)
    cbase: int | None = option(COUNT, 'Channels at resolution r are cbase / r, at most --cmax.  [default: by --cfg, 16384 or '
                                      '32768]')
    cmax: int = option(COUNT, 'Maximum number of channels of a layer.', 512)
    glr: float | None = option(WEIGHT, 'Learning rate of the generator.  [default: by --cfg]')
    dlr: float | None = option(WEIGHT, 'Learning rate of the discriminator.  [default: by --cfg]')
    lr_decay: float = option(SHARE, 'Share of the training, at its end, in which both learning rates fall to a tenth, in a '
                                    'straight line; 0 keeps them.', 0)
    ema_kimg: float | None = option(WEIGHT, 'Half-life of the averaged generator, in thousands of images.  [default: by --cfg]')
    mixing_prob: float | None = option(SHARE, 'Probability of style mixing.  [default: by --cfg, 0.9 or 0]')
    pl_weight: float | None = option(WEIGHT, 'Weight of path length regularisation; 0 turns it off.  [default: by --cfg, 2 or 0]')
    mbstd_group: int | None = option(COUNT, 'Group size of the minibatch deviation.  [default: by --cfg]')
    fp32: bool = option(click.BOOL, 'Train without half precision, which is used only on CUDA.', False)
    half: str = option(click.Choice(['fp16', 'bf16']), 'Half precision on CUDA, in the 4 highest resolutions: fp16 is more '
                                                       'precise, bf16 has the range of float32.', 'fp16')
    seed: int = option(click.IntRange(min=0, max=2**31 - 1), 'Random seed.', 0)
    snap: int = option(COUNT, 'Ticks between pictures and snapshots; a tick is --tick thousand images. The last state is '
                              'always saved.', 50)
    keep_snapshots: int | None = option(COUNT, 'Keep only this many of the newest snapshots. Only the newest training state is '
                                               'ever kept.  [default: all]')
    metrics: str | None = option(str, 'Metrics to measure on snapshots: names from calc_metrics.py, separated by commas, or '
                                      'none. network-best.pkl is the best snapshot by the first metric.  [default: none]')
    metrics_ticks: int | None = option(COUNT, 'Ticks between measurements; each measurement also saves a snapshot.  [default: '
                                              '--snap]')
    metrics_detector: str = option(UserPath(), 'Feature network of the metrics: inception, dinov2, imagenet, classifier, or a '
                                        'TorchScript file.', 'inception')
    metrics_num_gen: int | None = option(click.IntRange(min=2), "Images to generate for a metric.  [default: the metric's, "
                                                                '50000 for most]')
    tick: float = option(POSITIVE, 'Thousands of images between status lines.', 4)
    workers: int | None = option(click.IntRange(0, 1024), 'Number of processes that load images; 0 loads them in the training '
                                                        'process.  [default: 3 on CUDA, else 0]')
    threads: int | None = option(PROCESSES, "CPU threads of each process.  [default: torch's choice]")
    nobench: bool = option(click.BOOL, 'Do not benchmark cuDNN kernels.', False)
    allow_tf32: bool = option(click.BOOL, 'Allow TF32 in float32 products on CUDA: faster, less precise.', False)
    desc: str | None = option(str, 'Text to append to the name of the run directory.')
    device: str = 'cpu'


def with_default(name: str, default: Any) -> Any:
    """The option of TrainingOptions of that name, with another default, as a field of a subclass."""
    return dataclasses.field(default=default, metadata=TrainingOptions.__dataclass_fields__[name].metadata)


def training_options(kind: type[TrainingOptions]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: the options of a dataclass, and outdir, device, dry_run, verbose."""
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        decorators: list[Callable[..., Any]] = [
            click.option('--outdir', type=UserPath(file_okay=False), default=DEFAULT_RUNS_DIR, show_default=True,
                         help='Directory for run directories.'),
            *(_click_option(field) for field in dataclasses.fields(kind) if field.metadata),
            device_option,
            click.option('-n', '--dry-run', is_flag=True, help='Check everything, print the configuration as JSON, and exit.'),
            verbose_option,
        ]
        for decorator in reversed(decorators):
            function = decorator(function)
        return function
    return decorate


def _click_option(field: 'dataclasses.Field[Any]') -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    settings: dict[str, Any] = dict(field.metadata)
    name = settings.pop('declaration') or option_name(field.name)
    return click.option(name, default=field.default, show_default=field.default is not None, **settings)


def option_name(field: str) -> str:
    """'batch_gpu' -> '--batch-gpu'."""
    return f'--{field.replace("_", "-")}'


def with_recorded(options: T, recorded: dict[str, Any]) -> T:
    """The options with the values from a file; unknown names are ignored. ValueError, one line, if a value is invalid."""
    fields = {field.name: field for field in dataclasses.fields(options) if field.name in recorded}
    return dataclasses.replace(options, **{name: _checked(field, recorded[name]) for name, field in fields.items()})


def _checked(field: 'dataclasses.Field[Any]', value: Any) -> Any:
    value, kind = check(value, field.type, f'options.{field.name}'), field.metadata.get('type')
    if value is not None and isinstance(kind, (click.IntRange, click.FloatRange, click.Choice)):
        try:
            kind.convert(value, None, None)
        except click.BadParameter as error:
            raise ValueError(f'options.{field.name}: {error.message}') from error
    return value
