"""Features of real and of generated images, collected over all processes; and the names that metrics import from here."""
import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from metrics.features.detectors import Detector, get_detector
from metrics.features.feature_stats import FeatureStats
from metrics.features.sampling import LatentSampler, generate_images, generation_batch, prepare_generator, seeded_noise
from torch_utils.collectives import any_process, first_value

from .features import feature_cache
from .metric_options import MetricOptions, ProgressMonitor

__all__ = [
    'FeatureStats', 'LatentSampler', 'MetricOptions', 'ProgressMonitor', 'compute_feature_stats_for_dataset',
    'compute_feature_stats_for_generator', 'draw_items', 'generate_images', 'generation_batch', 'get_feature_detector',
    'held_out_feature_stats', 'prepare_generator', 'real_images', 'seeded_noise',
]

READERS_ON_GPU = 3  # processes that decode images while the GPU computes
SUBSET_SEED = 0  # of the real images that are drawn where a metric takes a part: not --seed, so that their features can be kept
MAX_SHARED = 50_000  # real images: of so many, all features are kept for the other metrics, whatever this one needs


def get_feature_detector(opts: MetricOptions, detector_url: str) -> Detector:
    """What opts.detector names; detector_url if that is 'inception', which stands for the network that the metric is defined
    with. The first process gets it first: it fetches what the others then find.
    """
    spec = detector_url if opts.detector == 'inception' else opts.detector
    if not isinstance(spec, str):
        opts.facts['detector'] = spec.identity
        return spec
    if opts.num_gpus > 1 and spec == 'classifier':
        detector: Detector = _classifier_of_first_process(opts)
    else:
        if opts.num_gpus > 1 and opts.rank > 0:
            torch.distributed.barrier()
        detector = get_detector(spec, opts.device, opts.dataset_kwargs, opts.cache)
        if opts.num_gpus > 1 and opts.rank == 0:
            torch.distributed.barrier()
    opts.facts['detector'] = detector.identity
    return detector


def _classifier_of_first_process(opts: MetricOptions) -> Detector:
    """Sent to the others: where none is kept on disk they would train their own, whose weights may differ."""
    detector: Any = None
    if opts.rank == 0:
        detector = get_detector('classifier', opts.device, opts.dataset_kwargs, opts.cache)
        detector.network.cpu()  # or it would reach the others on this process's device
    detector = first_value(detector)
    detector.network.to(opts.device)
    return detector


def compute_feature_stats_for_dataset(
    opts: MetricOptions, detector_url: str, detector_kwargs: dict[str, Any],
    batch_size: int | None = None, data_loader_kwargs: dict[str, Any] | None = None, max_items: int | None = None,
    **stats_kwargs: Any,
) -> FeatureStats:
    """Statistics of the features of the real images; of max_items of them, drawn by draw_items(), if there are more.

    stats_kwargs: what to capture at least, see FeatureStats; with capture_labels images are drawn from the classes in turn.
    """
    dataset = opts.data(opts.dataset_kwargs)
    num_items = min(len(dataset), max_items or len(dataset))
    in_turn = num_items < len(dataset) and bool(stats_kwargs.get('capture_labels'))
    if num_items <= MAX_SHARED:
        stats_kwargs = dict(capture_all=True, capture_labels=dataset.has_labels and dataset.has_onehot_labels)
    detector = get_feature_detector(opts, detector_url)
    kept = None
    if opts.cache:
        kept = feature_cache.features_path(opts.dataset_kwargs, detector.identity, detector_kwargs,
                                           dict(stats_kwargs, max_items=num_items, in_turn=in_turn))
    stats = feature_cache.load_features(kept)
    if any_process(stats is None, opts.device) or stats is None:
        stats = FeatureStats(max_items=num_items, **stats_kwargs)
        progress = opts.progress.sub('Features of real images', num_items)
        items = draw_items(dataset, num_items, in_turn)
        for images, classes in real_images(opts, dataset, items, batch_size, data_loader_kwargs):
            stats.append_torch(detector(images, **detector_kwargs), opts.num_gpus, opts.rank, classes)
            progress.update(stats.num_items)
        if opts.rank == 0:
            try:
                feature_cache.save_features(stats, kept)
            except OSError as error:  # a full disk, above all: what was computed still counts
                opts.warn(f'the features of the real images were not kept for the next time: {error}')
    dataset.close()
    opts.facts['num_real'] = stats.num_items
    return stats


def held_out_feature_stats(
    opts: MetricOptions, detector_url: str, detector_kwargs: dict[str, Any], **stats_kwargs: Any
) -> FeatureStats:
    """Features of all images of --test-data, by the detector of the data: a classifier does not learn from them."""
    assert opts.test_dataset_kwargs is not None, 'the metric asks only where there are some'
    detector = get_feature_detector(opts, detector_url)
    part = dataclasses.replace(opts, dataset_kwargs=opts.test_dataset_kwargs, detector=detector, facts={})
    stats = compute_feature_stats_for_dataset(part, detector_url, detector_kwargs, **stats_kwargs)
    opts.facts['num_held_out'] = stats.num_items
    return stats


def compute_feature_stats_for_generator(
    opts: MetricOptions, detector_url: str, detector_kwargs: dict[str, Any],
    batch_size: int | None = None, batch_gen: int | None = None, max_items: int | None = None,
    balanced_labels: bool = False, **stats_kwargs: Any,
) -> FeatureStats:
    """Statistics of the features of max_items generated images, with labels drawn from the data set.

    They stay in opts.shared: for metrics that have this in common, the images are generated once. So all is captured, whatever
    stats_kwargs, see FeatureStats, ask for.
    batch_gen: images made at a time; batch_size: images at a time in the detector, or a few more. balanced_labels: the
    classes take turns instead.
    """
    if not max_items:
        raise ValueError('max_items is missing: say how many images to generate')
    detector = get_feature_detector(opts, detector_url)
    opts.facts['num_gen'] = max_items
    key = ('generated', detector.identity, *sorted(detector_kwargs.items()), max_items, opts.seed, balanced_labels)
    if key in opts.shared:
        return opts.shared[key]
    stats = FeatureStats(max_items=max_items, capture_all=True, capture_labels=opts.G.c_dim > 0)
    progress = opts.progress.sub('Features of generated images', max_items)
    for images, classes in _joined(generate_images(opts, max_items, batch_gen, balanced_labels), batch_size or opts.batch_size):
        stats.append_torch(detector(images, **detector_kwargs), opts.num_gpus, opts.rank, classes)
        progress.update(stats.num_items)
    opts.shared[key] = stats
    return stats


def draw_items(dataset: Any, num_items: int, in_turn: bool = False) -> np.ndarray:
    """Which images of a data set are taken, int64 [num_items], rising: all, or so many at random, always the same.

    A stride would not do: data often have their classes in turn. in_turn: the classes take turns, each until it is used up.
    """
    if num_items == len(dataset):
        return np.arange(num_items)
    order = np.random.default_rng(SUBSET_SEED).permutation(len(dataset))
    if in_turn:
        labels = dataset.classes()[order]
        by_class = np.argsort(labels, kind='stable')
        turn = np.empty_like(by_class)  # images of the same class that stand before
        turn[by_class] = np.arange(len(order)) - np.searchsorted(labels[by_class], labels[by_class])
        order = order[np.argsort(turn, kind='stable')]
    return np.sort(order[:num_items])


def real_images(
    opts: MetricOptions, dataset: Any, items: np.ndarray, batch_size: int | None = None,
    data_loader_kwargs: dict[str, Any] | None = None,
) -> Iterator[tuple[torch.Tensor, torch.Tensor | None]]:
    """This process's share of the images of these indices, int64 [N]: batches of uint8 [n, C, H, W] on the device and class
    indices int64 [n], None without. All processes get equally many, the surplus at the end repeats the beginning.
    """
    rounds = math.ceil(len(items) / opts.num_gpus)
    indices = [int(items[(row * opts.num_gpus + opts.rank) % len(items)]) for row in range(rounds)]
    on_gpu = opts.device.type == 'cuda'
    readers = opts.num_workers if opts.num_workers is not None else READERS_ON_GPU * on_gpu
    loader_kwargs = dict(num_workers=readers, pin_memory=on_gpu) if data_loader_kwargs is None else data_loader_kwargs
    loader = torch.utils.data.DataLoader(dataset, batch_size=batch_size or opts.batch_size, sampler=indices,
                                         generator=torch.Generator(), **loader_kwargs)  # not torch's own random numbers
    for images, labels in _one_line_errors(loader):
        yield images.to(opts.device, non_blocking=True), labels.argmax(dim=1) if labels.shape[1] else None


def _one_line_errors(loader: torch.utils.data.DataLoader) -> Iterator[Any]:
    """The loader's batches. What fails in a process that reads has its whole traceback in its text: only the last line stays."""
    try:
        yield from loader
    except (OSError, ValueError) as error:
        raise type(error)(str(error).strip().splitlines()[-1].removeprefix(f'{type(error).__name__}: ')) from error


def _joined(
    batches: Iterator[tuple[torch.Tensor, torch.Tensor | None]], size: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor | None]]:
    """The same images in batches of at least size, but for the last."""
    held: list[tuple[torch.Tensor, torch.Tensor | None]] = []
    for batch in batches:
        held.append(batch)
        if sum(len(images) for images, _ in held) >= size:
            yield _concatenate(held)
            held = []
    if held:
        yield _concatenate(held)


def _concatenate(held: list[tuple[torch.Tensor, torch.Tensor | None]]) -> tuple[torch.Tensor, torch.Tensor | None]:
    classes = [found for _, found in held if found is not None]
    return torch.cat([images for images, _ in held]), torch.cat(classes) if classes else None
