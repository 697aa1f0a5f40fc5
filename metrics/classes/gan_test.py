"""GAN-test: does the class come out? (Shmelkov et al. 2018, arXiv:1807.09499)

A classifier learns from real images; the share of the images generated for a class that it assigns to that class is
how well the class is recognised. Its accuracy on real images that it has not seen is the number to compare with.

Shapes: N images, C channels, K classes. Images are uint8 [0, 255].
"""

import dataclasses
import os
from collections.abc import Callable

import torch

import dnnlib
from dnnlib.errors import printable
from metrics.features.class_judge import MAX_RESOLUTION, JudgeNet, cached_judge, judge_identity
from metrics.features.labelled_images import LabelledImages, load_labelled, split_held_out
from metrics.metric_options import MetricOptions
from metrics.registry import register_metric

from .class_features import checked_class_names, generated_images

NUM_GEN = 10000  # over all classes
HELD_OUT_SHARE = 0.3  # of the real images of each class that may be held out: what the judge itself is judged on
BATCH = 64

Classifier = Callable[[torch.Tensor], torch.Tensor]  # uint8 [N, C, H, W] -> logits [N, K]


@register_metric(num_gen=NUM_GEN, uses_reals=False, higher_is_better=True, needs=('classes',), num_set_apart=1)
def gan_test(opts: MetricOptions) -> dict[str, float]:
    """Share of generated images that a judge of real images assigns to the class asked for, over all and of each class.

    gan_test_reference: the same of real images held out from it, those of --test-data if given.
    """
    opts.ignore_training_subset()
    names = checked_class_names(opts)
    train = load_labelled(opts.dataset_kwargs, MAX_RESOLUTION, opts.data)
    test = None if opts.test_dataset_kwargs is None else load_labelled(opts.test_dataset_kwargs, MAX_RESOLUTION, opts.data)
    fake = generated_images(opts, names, MAX_RESOLUTION)
    if opts.rank != 0:
        return {}  # the first process has the values for all
    judge = judge_of_real_images(train, test, opts.seed, judge_cache_dir(opts), opts.device)
    results, confusion = class_accuracies('gan_test', judge.net, fake)
    results.update(class_accuracies('gan_test_reference', judge.net, judge.held_out)[0])
    keep_confusion(opts, confusion, names)
    opts.facts.update(detector=judge.identity, num_gen=len(fake), num_real=judge.num_known, num_held_out=len(judge.held_out))
    return results


def class_accuracies(name: str, classifier: Classifier, data: LabelledImages) -> tuple[dict[str, float], torch.Tensor]:
    """{name: share of all images put into their class, name/cat: of the cats, ...} and the confusion matrix, int64 [K, K]."""
    shares, confusion = recognised_share(classifier, data.images, data.labels, data.num_classes)
    classes = {f'{name}/{key}': share for key, share in zip(data.class_names, shares.tolist(), strict=True)}
    return {name: int(confusion.trace()) / len(data), **classes}, confusion


def keep_confusion(opts: MetricOptions, confusion: torch.Tensor, class_names: list[str]) -> None:
    """Among the facts of the result: the matrix for programs, a table for people."""
    opts.facts.update(class_names=class_names, confusion=confusion.tolist())
    opts.facts.setdefault('tables', []).append(confusion_table(confusion, class_names))


def judge_cache_dir(opts: MetricOptions) -> str | None:
    """Where trained judges are kept; None where nothing is to be kept."""
    return dnnlib.make_cache_dir_path('judges') if opts.cache else None


@torch.no_grad()
def recognised_share(
    classifier: Classifier, images: torch.Tensor, labels: torch.Tensor, num_classes: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Share of the images of each class that the classifier assigns to it.

    images: uint8 [N, C, H, W]; labels: int64 [N], the classes that were asked for.
    Returns shares, float64 [K], and the confusion matrix, int64 [K, K]: rows asked, columns judged.
    """
    judged = torch.cat([classifier(batch).argmax(dim=1).cpu() for batch in images.split(BATCH)])
    confusion = torch.bincount(labels * num_classes + judged, minlength=num_classes**2).reshape(num_classes, num_classes)
    return confusion.diagonal().double() / confusion.sum(dim=1), confusion


@dataclasses.dataclass(frozen=True)
class RealJudge:
    """A classifier, the real images held out from it, the number of those that it learnt from, and what identifies it."""

    net: JudgeNet
    held_out: LabelledImages
    num_known: int
    identity: str


def judge_of_real_images(
    train: LabelledImages,
    test: LabelledImages | None,
    seed: int,
    cache_dir: str | os.PathLike[str] | None,
    device: torch.device | str = 'cpu',
) -> RealJudge:
    """A classifier of real images: it learns from all of train and 70 % of test, without test from 70 % of train.

    The others are held out, 30 % of each class, drawn by seed. ValueError if a class has too few images for that.
    """
    divided = train if test is None else test
    if test is None and int(torch.bincount(train.labels).min()) < 2:
        name = train.class_names[int(torch.bincount(train.labels).argmin())]
        raise ValueError(f'class {name} has a single image: the judge needs one to learn from and one to be tried on')
    mask = split_held_out(divided.labels, HELD_OUT_SHARE, torch.Generator().manual_seed(seed))
    known = divided.subset(~mask)
    images, labels = known.images, known.labels
    if test is not None:
        images, labels = torch.cat([train.images, images]), torch.cat([train.labels, labels])
    net = cached_judge(images, labels, train.num_classes, seed, cache_dir, device=device)
    return RealJudge(net, divided.subset(mask), len(labels), judge_identity(net))


def confusion_table(confusion: torch.Tensor, class_names: list[str]) -> str:
    """Markdown: a row for each class asked for, columns for the classes that the judge saw, in per cent of the row."""
    shares = 100 * confusion / confusion.sum(dim=1, keepdim=True)
    names = [printable(name).replace('|', '\\|') for name in class_names]
    head = [' | '.join(['asked for', *names]), ' | '.join(['---', *['---:'] * len(names)])]
    rows = zip(names, shares.tolist(), strict=True)
    body = [' | '.join([name, *(f'{share:.0f}' for share in row)]) for name, row in rows]
    return '\n'.join(f'| {line} |' for line in [*head, *body])
