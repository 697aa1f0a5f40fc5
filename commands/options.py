"""The options that all training commands share, with their help. Defaults stand in config.TrainingOptions."""

import dataclasses
from collections.abc import Callable, Collection
from typing import Any

import click

from training.augment import augpipe_specs
from training.run.run_dir import DEFAULT_RUNS_DIR

from .cli import device_option, verbose_option
from .config import TrainingOptions
from .presets import PRESET_NAMES

DEFAULTS = TrainingOptions()
COUNT = click.IntRange(min=1)
WEIGHT = click.FloatRange(min=0)
POSITIVE = click.FloatRange(min=0, min_open=True)

# name, type, help. A default of None in TrainingOptions means that the help says what happens then.
OPTIONS: tuple[tuple[str, Any, str], ...] = (
    ('--data', click.Path(), 'Training images: folder or zip, as dataset_tool.py makes it.'),
    ('--cond', click.BOOL, 'Use the labels of the data: a conditional model.'),
    ('--cond-ramp', str, 'START,END in thousands of images: train without classes up to START, with them in full from END on; '
                         'against collapse on few images. In train.py with --cond=1.  [default: classes from the first image]'),
    ('--subset', COUNT, 'Train on so many images only, drawn by --seed.  [default: all]'),
    ('--mirror', click.BOOL, 'Add a mirrored copy of every image.'),
    ('--cfg', click.Choice(PRESET_NAMES), 'Preset of batch, rates, gamma and network sizes; auto goes by the resolution.'),
    ('--gamma', WEIGHT, 'Weight of the R1 penalty; 0 turns it off.  [default: by --cfg]'),
    ('--kimg', POSITIVE, 'Training length in thousands of real images.'),
    ('--batch', COUNT, 'Images per step, all processes together.  [default: by --cfg]'),
    ('--batch-gpu', COUNT, 'Images per pass of one process; smaller needs less memory. What compares images of a pass, minibatch '
                           'deviation and contrastive loss, then sees fewer.  [default: --batch / --gpus]'),
    ('--gpus', COUNT, 'Number of processes, each with a GPU of its own on CUDA.'),
    ('--aug', click.Choice(['noaug', 'ada', 'fixed']), 'Augmentation of all that the discriminator sees; fixed needs --p.'),
    ('--p', click.FloatRange(0, 1), 'Probability of augmentation for --aug=fixed.'),
    ('--target', click.FloatRange(-1, 1), 'Mean sign of D(real) that --aug=ada holds.  [default: 0.6]'),
    ('--augpipe', click.Choice(list(augpipe_specs)), 'Which transforms augment: one group, or the first ones by their initials.'),
    ('--resume', str, 'Start from this snapshot, with its network sizes: a path, a URL, or ffhq256, ffhq512, ffhq1024, '
                      'celebahq256, lsundog256. Or go on exactly with a run that stopped: its directory, or latest.  '
                      '[default: from scratch]'),
    ('--freezed', click.IntRange(min=0), 'Layers of the discriminator that stay as they are, counted from the image.'),
    ('--z-dim', COUNT, 'Dimensions of the latent z.'),
    ('--w-dim', COUNT, 'Dimensions of the intermediate latent w.'),
    ('--map-depth', COUNT, 'Layers of the mapping network.  [default: by --cfg]'),
    ('--mapping-lr-mult', POSITIVE, 'Learning rate of the mapping network, as a multiple of --glr; small models learn varied '
                                    'pictures sooner with 0.1.'),
    ('--cbase', COUNT, 'Channels at resolution r are cbase / r, at most --cmax.  [default: by --cfg, 16384 or 32768]'),
    ('--cmax', COUNT, 'Most channels of a layer.'),
    ('--glr', WEIGHT, 'Learning rate of the generator.  [default: by --cfg]'),
    ('--dlr', WEIGHT, 'Learning rate of the discriminator.  [default: by --cfg]'),
    ('--ema-kimg', WEIGHT, 'Half-life of the averaged generator in thousands of images.  [default: by --cfg]'),
    ('--mixing-prob', click.FloatRange(0, 1), 'Probability of style mixing.  [default: by --cfg, 0.9 or 0]'),
    ('--pl-weight', WEIGHT, 'Weight of path length regularisation; 0 turns it off.  [default: by --cfg, 2 or 0]'),
    ('--mbstd-group', COUNT, 'Images per group of the minibatch deviation.  [default: by --cfg]'),
    ('--fp32', click.BOOL, 'No half precision; it is used on CUDA only.'),
    ('--half', click.Choice(['fp16', 'bf16']), 'Half precision on CUDA, in the 4 largest resolutions: fp16 has more digits, bf16 '
                                               'the range of float32.'),
    ('--seed', click.IntRange(min=0, max=2**31 - 1), 'Seed of everything random.'),
    ('--snap', COUNT, 'Ticks between pictures and snapshots; the last state is always saved.'),
    ('--keep-snapshots', COUNT, 'Keep only so many of the newest snapshots; the training state is always the newest one.  '
                                '[default: all]'),
    ('--metrics', str, 'Metrics of snapshots, names with commas, as calc_metrics.py has them, or none; network-best.pkl is '
                       'the snapshot that is best by the first one.  [default: none]'),
    ('--metrics-ticks', COUNT, 'Ticks between measurements, which save a snapshot too.  [default: --snap]'),
    ('--metrics-detector', str, 'Network that gives the features: inception, dinov2, imagenet, classifier, or TorchScript.'),
    ('--metrics-num-gen', click.IntRange(min=2), "Images to generate for a metric.  [default: the metric's, 50000 for most]"),
    ('--tick', POSITIVE, 'Thousands of images between status lines.'),
    ('--workers', click.IntRange(min=0), 'Processes that load images; 0 is the training process.  [default: 3 on CUDA, else 0]'),
    ('--threads', COUNT, "CPU threads of each process.  [default: torch's choice]"),
    ('--nobench', click.BOOL, 'Leave out the search for the fastest cuDNN kernels.'),
    ('--allow-tf32', click.BOOL, 'Let CUDA compute float32 products in TF32: faster, less exact.'),
    ('--desc', str, 'Text at the end of the run directory name.'),
)


def training_options(without: Collection[str] = ()) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: the options of TrainingOptions, and outdir, dry_run, verbose. `without` leaves some out, as '--cond'."""
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        decorators = [_option(*row) for row in OPTIONS if row[0] not in without]
        decorators[:0] = [click.option('--outdir', type=click.Path(file_okay=False), default=DEFAULT_RUNS_DIR, show_default=True,
                                       help='Where run directories are made.')]
        decorators += [
            device_option,
            click.option('-n', '--dry-run', is_flag=True, help='Check everything, print the configuration as JSON, and stop.'),
            verbose_option,
        ]
        for decorator in reversed(decorators):
            function = decorator(function)
        return function
    return decorate


def _option(name: str, kind: Any, text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    default = getattr(DEFAULTS, name[2:].replace('-', '_'))
    return click.option(name, type=kind, default=default, show_default=default is not None, help=text)


def options_of(values: dict[str, Any], **changes: Any) -> TrainingOptions:
    """TrainingOptions from a command's arguments, of which those that are not its fields are left out."""
    names = {field.name for field in dataclasses.fields(TrainingOptions)}
    return TrainingOptions(**{name: value for name, value in {**values, **changes}.items() if name in names})
