"""Run directories as training leaves them, made without training."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

OPTIONS = dict(
    training_set_kwargs=dict(class_name='training.dataset.ImageFolderDataset', path='a.zip', use_labels=True, resolution=32),
    G_kwargs=dict(class_name='hyper_plugin.networks.HyperGenerator'), G_opt_kwargs=dict(lr=0.0005, betas=[0.0, 0.99]),
    D_kwargs=dict(class_name='training.networks.Discriminator'), D_opt_kwargs=dict(lr=0.002), augment_kwargs=None, augment_p=0,
    loss_kwargs=dict(r1_gamma=1.0), ada_target=None, total_kimg=2000, batch_size=16, resume_pkl=None, random_seed=0)


def stat(mean, num=8):
    """An entry of stats.jsonl."""
    return dict(num=num, mean=mean, std=0.0)


def stats_line(kimg, **more):
    """A line of stats.jsonl as a dict; names with '/' are given by '__'."""
    stats = {name.replace('__', '/'): value if isinstance(value, dict) else stat(value) for name, value in more.items()}
    return {'Progress/kimg': stat(kimg, 1), 'Timing/sec_per_tick': stat(30.0, 1), 'Timing/images_per_sec': stat(133.0, 1),
            'Loss/G/loss': stat(1.5 - kimg / 4000), 'Loss/D/loss': stat(1.0), **stats, 'timestamp': 1e9 + kimg}


def write_lines(path: Path, values) -> None:
    """JSON lines."""
    path.write_text(''.join(json.dumps(value) + '\n' for value in values), encoding='utf-8')


def write_picture(path: Path, size=(64, 48), level=128) -> None:
    """A noisy grey picture; the noise is the same for the same level."""
    noise = np.random.default_rng(level).integers(0, 60, [size[1], size[0], 3])
    Image.fromarray((noise + level // 2).astype(np.uint8)).save(path)


def write_run(path: Path, options=OPTIONS, lines=None, kimgs=(), size=(64, 48), log='', record=None, metrics=None) -> Path:
    """A run directory. kimgs: of the pictures; metrics: {name: lines}."""
    path.mkdir(parents=True)
    (path / 'training_options.json').write_text(json.dumps(options))
    if record is not None:
        (path / 'run.json').write_text(json.dumps(record))
    if lines is not None:
        write_lines(path / 'stats.jsonl', lines)
    if log:
        (path / 'log.txt').write_text(log, encoding='utf-8')
    if kimgs:
        for name in ('reals', 'fakes_init'):
            write_picture(path / f'{name}.png', size)
    for kimg in kimgs:
        write_picture(path / f'fakes{kimg:06d}.png', size, level=kimg % 250)
    for name, values in (metrics or {}).items():
        write_lines(path / f'metric-{name}.jsonl', values)
    return path


def metric_line(name, kimg, **results):
    """A line of metric-NAME.jsonl; names of results with '/' are given by '__'."""
    return dict(results={key.replace('__', '/'): value for key, value in results.items()}, metric=name, total_time=3.0,
                snapshot_pkl=f'network-snapshot-{kimg:06d}.pkl', timestamp=1e9 + kimg)
