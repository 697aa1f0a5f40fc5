"""What is measured of a snapshot, and the file that keeps it: one line of JSON for each snapshot and judge.

Distances, recall and spread compare with the test images, which no method has seen; the training images in place of the
generated ones give the values under names with _reference. Every snapshot is judged with the same latents.
"""
import dataclasses
import json
from pathlib import Path
from typing import Any

import torch

from benchmarks.transfer.transfers import Files
from metrics.classes.class_features import generated_images
from metrics.classes.spread_per_class import relative_spreads
from metrics.features.class_judge import MAX_RESOLUTION
from metrics.features.detectors import get_detector
from metrics.features.labelled_images import LabelledImages, folder_kwargs, load_labelled, open_labelled
from metrics.metric_main import calc_metric
from metrics.metric_options import MetricOptions
from training.data.image_grid import make_grid, save_image
from training.snapshot.reading import load_network_pkl

AGAINST_TEST = ('kid_per_class', 'pr_per_class')
AGAINST_BOTH = ('gan_test',)
OF_THE_LAST = ('gan_train', 'memorization')  # slow, so of the end of a run alone
GRID_COLUMNS = 8


@dataclasses.dataclass(frozen=True)
class Judge:
    """num_gen: images of each class; identity: of the detector, weights and size included."""

    detector: str = 'imagenet'
    num_gen: int = 200
    seed: int = 0

    def facts(self) -> dict[str, Any]:
        """What a judgement depends on, JSON-ready."""
        return dict(detector=get_detector(self.detector, 'cpu').identity, num_gen=self.num_gen, seed=self.seed)


def unjudged(record: dict[str, Any], judge: dict[str, Any], lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The snapshots of a run that have no line by this judge yet, the last one first; that of before training is not judged."""
    done = [line['kimg'] for line in lines if line['settings'] == record['settings'] and line['judge'] == judge]
    return [snapshot for snapshot in reversed(record['snapshots']) if snapshot['kimg'] and snapshot['kimg'] not in done]


def judged_line(folder: Path, record: dict[str, Any], snapshot: dict[str, Any], judge: Judge, files: Files) -> dict[str, Any]:
    """Measures a snapshot of a run. The last one's pictures are left in the run's folder as grid.png."""
    torch.set_num_threads(1)
    last = snapshot is record['snapshots'][-1]
    G = load_network_pkl(folder / snapshot['path'])['G_ema']
    train, test = folder_kwargs(files.train), folder_kwargs(files.test)
    names = open_labelled(train).class_names
    common: dict[str, Any] = dict(G=G, device='cpu', detector=judge.detector, seed=judge.seed, num_gen=judge.num_gen * len(names),
                                  shared={})
    results = [calc_metric(name, dataset_kwargs=test, test_dataset_kwargs=train, **common) for name in AGAINST_TEST]
    results += [calc_metric(name, dataset_kwargs=train, test_dataset_kwargs=test, **common)
                for name in (*AGAINST_BOTH, *(OF_THE_LAST if last else ()))]
    made = generated_images(MetricOptions(dataset_kwargs=train, **common), names, MAX_RESOLUTION)
    values = _spreads(made, load_labelled(train, MAX_RESOLUTION), load_labelled(test, MAX_RESOLUTION))
    for result in results:
        name = result.metric.removesuffix(f'_{judge.num_gen * len(names) / 1000:g}k')
        values.update({key.replace(result.metric, name, 1): value for key, value in result.results.items()})
    if last:
        save_image(_grid(made), folder / 'grid.png')
    facts = {name: value for name, value in snapshot.items() if name != 'path'}
    return dict(settings=record['settings'], judge=judge.facts(), **facts, selfinit=record['selfinit'],
                versions=record['versions'], values={name: round(value, 6) for name, value in values.items()})


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All lines of a file, none if there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def add_line(path: Path, line: dict[str, Any]) -> None:
    """One more, at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, 'a') as file:
        file.write(json.dumps(line) + '\n')


def _spreads(made: LabelledImages, train: LabelledImages, test: LabelledImages) -> dict[str, float]:
    """Of the generated images and of the training images, over that of the test images; means over classes."""
    parts = {'spread': made, 'spread_reference': train}
    return {name: float(relative_spreads(part.images, part.labels, test.images, test.labels, test.num_classes).mean())
            for name, part in parts.items()}


def _grid(made: LabelledImages) -> Any:
    """A row of pictures for each class, with its name."""
    rows = torch.cat([made.images[made.labels == label][:GRID_COLUMNS] for label in range(made.num_classes)])
    return make_grid(rows.permute(0, 2, 3, 1).numpy(), GRID_COLUMNS, made.class_names)
