"""The options that all training commands share: types, defaults and help, in one dataclass.

A command's own options are a subclass. A field that is declared anew without option() is no option of that command.
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
    """A field that is an option of the command line. kind: its type for click. declaration: its name there, if it is not the
    field's. A default of None means that the help says what happens then."""
    return dataclasses.field(default=default, metadata=dict(type=kind, help=text, declaration=declaration, **settings))


@dataclasses.dataclass(kw_only=True)
class TrainingOptions:
    """What a user may choose; None leaves it to the preset."""

    data: str | None = option(UserPath(), 'Training images: folder or zip, as dataset_tool.py makes it.')
    cond: bool = option(click.BOOL, 'Use the labels of the data: a conditional model.', False)
    cond_ramp: str | None = option(str, 'START,END in thousands of images: train without classes up to START, with them in '
                                        'full from END on; against collapse on few images. In train.py with --cond=1.  '
                                        '[default: classes from the first image]')
    subset: int | None = option(COUNT, 'Train on so many images only, drawn by --seed.  [default: all]')
    mirror: bool = option(click.BOOL, 'Add a mirrored copy of every image.', False)
    cfg: str = option(click.Choice(PRESET_NAMES), 'Preset of batch, rates, gamma and network sizes; auto goes by the '
                                                  'resolution.', 'auto')
    gamma: float | None = option(WEIGHT, 'Weight of the R1 penalty; 0 turns it off.  [default: by --cfg]')
    kimg: float = option(POSITIVE, 'Training length in thousands of real images.', 25000)
    batch: int | None = option(COUNT, 'Images per step, all processes together.  [default: by --cfg]')
    batch_gpu: int | None = option(COUNT, 'Images per pass of one process; smaller needs less memory. What compares images of '
                                          'a pass, minibatch deviation and contrastive loss, then sees fewer.  [default: '
                                          '--batch / --gpus]')
    gpus: int = option(PROCESSES, 'Number of processes, each with a GPU of its own on CUDA.', 1)
    aug: str = option(click.Choice(['noaug', 'ada', 'fixed']), 'Augmentation of all that the discriminator sees; fixed needs '
                                                               '--p.', 'ada')
    p: float | None = option(SHARE, 'Probability of augmentation for --aug=fixed.')
    target: float | None = option(click.FloatRange(-1, 1), 'Mean sign of D(real) that --aug=ada holds.  [default: 0.6]')
    augpipe: str = option(click.Choice(list(augpipe_specs)), 'Which transforms augment: one group, or the first ones by their '
                                                             'initials.', 'bgc')
    resume: str | None = option(UserPath(), 'Start from this snapshot, with its network sizes: a path, a URL, or ffhq256, '
                                            'ffhq512, ffhq1024, celebahq256, lsundog256. Or continue a stopped run exactly: its '
                                            'directory, or latest.  [default: from scratch]')
    freezed: int = option(click.IntRange(min=0), 'Layers of the discriminator that stay as they are, counted from the image.', 0)
    z_dim: int = option(COUNT, 'Dimensions of the latent z.', 512)
    w_dim: int = option(COUNT, 'Dimensions of the intermediate latent w.', 512)
    map_depth: int | None = option(click.IntRange(1, 100), 'Layers of the mapping network.  [default: by --cfg]')
    mapping_lr_mult: float = option(POSITIVE, 'Learning rate of the mapping network, as a multiple of --glr; small models '
                                              'learn varied pictures sooner with 0.1.', 0.01)
    cbase: int | None = option(COUNT, 'Channels at resolution r are cbase / r, at most --cmax.  [default: by --cfg, 16384 or '
                                      '32768]')
    cmax: int = option(COUNT, 'Most channels of a layer.', 512)
    glr: float | None = option(WEIGHT, 'Learning rate of the generator.  [default: by --cfg]')
    dlr: float | None = option(WEIGHT, 'Learning rate of the discriminator.  [default: by --cfg]')
    ema_kimg: float | None = option(WEIGHT, 'Half-life of the averaged generator in thousands of images.  [default: by --cfg]')
    mixing_prob: float | None = option(SHARE, 'Probability of style mixing.  [default: by --cfg, 0.9 or 0]')
    pl_weight: float | None = option(WEIGHT, 'Weight of path length regularisation; 0 turns it off.  [default: by --cfg, 2 or 0]')
    mbstd_group: int | None = option(COUNT, 'Images per group of the minibatch deviation.  [default: by --cfg]')
    fp32: bool = option(click.BOOL, 'No half precision; it is used on CUDA only.', False)
    half: str = option(click.Choice(['fp16', 'bf16']), 'Half precision on CUDA, in the 4 largest resolutions: fp16 has more '
                                                       'digits, bf16 the range of float32.', 'fp16')
    seed: int = option(click.IntRange(min=0, max=2**31 - 1), 'Seed of everything random.', 0)
    snap: int = option(COUNT, 'Ticks between pictures and snapshots; the last state is always saved.', 50)
    keep_snapshots: int | None = option(COUNT, 'Keep only so many of the newest snapshots; the training state is always the '
                                               'newest one.  [default: all]')
    metrics: str | None = option(str, 'Metrics of snapshots, names with commas, as calc_metrics.py has them, or none; '
                                      'network-best.pkl is the snapshot that is best by the first one.  [default: none]')
    metrics_ticks: int | None = option(COUNT, 'Ticks between measurements, which save a snapshot too.  [default: --snap]')
    metrics_detector: str = option(UserPath(), 'Network that gives the features: inception, dinov2, imagenet, classifier, or '
                                        'TorchScript.', 'inception')
    metrics_num_gen: int | None = option(click.IntRange(min=2), "Images to generate for a metric.  [default: the metric's, "
                                                                '50000 for most]')
    tick: float = option(POSITIVE, 'Thousands of images between status lines.', 4)
    workers: int | None = option(click.IntRange(0, 1024), 'Processes that load images; 0 is the training process.  [default: 3 '
                                                        'on CUDA, else 0]')
    threads: int | None = option(PROCESSES, "CPU threads of each process.  [default: torch's choice]")
    nobench: bool = option(click.BOOL, 'Leave out the search for the fastest cuDNN kernels.', False)
    allow_tf32: bool = option(click.BOOL, 'Let CUDA compute float32 products in TF32: faster, less exact.', False)
    desc: str | None = option(str, 'Text at the end of the run directory name.')
    device: str = 'cpu'


def training_options(kind: type[TrainingOptions]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: the options of a dataclass, and outdir, device, dry_run, verbose."""
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        decorators: list[Callable[..., Any]] = [
            click.option('--outdir', type=UserPath(file_okay=False), default=DEFAULT_RUNS_DIR, show_default=True,
                         help='Where run directories are made.'),
            *(_click_option(field) for field in dataclasses.fields(kind) if field.metadata),
            device_option,
            click.option('-n', '--dry-run', is_flag=True, help='Check everything, print the configuration as JSON, and stop.'),
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
    """The options with the values of a file, of which other names are left out. ValueError, one line, if one does not fit."""
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
