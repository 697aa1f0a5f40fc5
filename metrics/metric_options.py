"""The input of a metric (generator, data, device, image counts), and its progress bar."""
import dataclasses
import os
from typing import Any

import torch
from tqdm import tqdm

from training.data.image_files import BAR_DELAY_SEC

from .features.open_data import OpenData


class ProgressMonitor:
    """A progress bar over num_items, labelled `tag`. verbose: show it if there is a terminal."""

    def __init__(self, tag: str | None = None, num_items: int | None = None, verbose: bool = False):
        self.num_items, self.verbose = num_items, verbose
        self._bar = tqdm(total=num_items, desc=tag, unit='img', delay=BAR_DELAY_SEC, leave=False,
                         disable=None if verbose and tag is not None else True)

    def update(self, cur_items: int) -> None:
        """Set the number of finished items; at num_items the bar ends."""
        self._bar.update(cur_items - self._bar.n)
        if self.num_items is not None and cur_items >= self.num_items:
            self._bar.close()

    def sub(self, tag: str | None = None, num_items: int | None = None) -> 'ProgressMonitor':
        """A monitor for a part of this work."""
        return ProgressMonitor(tag, num_items, self.verbose)


@dataclasses.dataclass
class MetricOptions:
    """The arguments of a metric.

    G: the generator, called as G(z, c, **G_kwargs). dataset_kwargs: construct_class_by_name's arguments for the real data;
    test_dataset_kwargs: for held-out real data. num_gpus: processes; rank: of this one. cache: cache features of real images on
    disk. detector: 'inception' (NVLabs' networks), 'dinov2', 'imagenet', 'classifier', TorchScript, or a
    metrics.features.detectors.Detector. seed: of latents, labels and subsets. num_gen, max_real: numbers of images; None is the
    metric's standard. batch_size: images per batch of the detector. num_workers: processes that read images; None: by device.
    run_dir: where pictures are saved; None: nowhere. data: opens each data set once. shared: results for later metrics of the
    same generator, data and seed. facts: JSON-ready facts about the result, filled by the metric.
    """

    G: Any = None
    G_kwargs: dict[str, Any] = dataclasses.field(default_factory=dict)
    dataset_kwargs: dict[str, Any] = dataclasses.field(default_factory=dict)
    num_gpus: int = 1
    rank: int = 0
    device: Any = None  # torch.device, after construction
    progress: Any = None  # ProgressMonitor, after construction
    cache: bool = True
    detector: Any = 'inception'
    seed: int = 0
    num_gen: int | None = None
    max_real: int | None = None
    batch_size: int = 64
    num_workers: int | None = None
    run_dir: str | os.PathLike[str] | None = None
    data: OpenData = dataclasses.field(default_factory=OpenData)
    test_dataset_kwargs: dict[str, Any] | None = None
    shared: dict[Any, Any] = dataclasses.field(default_factory=dict)
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.num_gpus:
            raise ValueError(f'rank is {self.rank}, expected 0 to {self.num_gpus - 1} with num_gpus={self.num_gpus}')
        if self.device is None:
            self.device = torch.device('cuda', self.rank) if torch.cuda.is_available() else torch.device('cpu')
        self.device = torch.device(self.device)
        self.G_kwargs, self.dataset_kwargs = dict(self.G_kwargs), dict(self.dataset_kwargs)  # metrics change their own copy
        self.progress = self.progress.sub() if self.progress is not None and self.rank == 0 else ProgressMonitor()

    def ignore_training_subset(self, keep_mirror: bool = False) -> None:
        """Use all real images, whatever subset the training used; without mirrored copies unless keep_mirror."""
        self.dataset_kwargs.update(dict(max_size=None) if keep_mirror else dict(max_size=None, xflip=False))

    def warn(self, text: str) -> None:
        """Add a warning to the result."""
        self.facts.setdefault('warnings', []).append(text)
