"""GAN-train, also called classification accuracy score (Ravuri and Vinyals 2019, arXiv:1905.10887).

A classifier learns from generated images and the classes that they were asked for, and is tried on real images. It does
badly if the classes do not come out, and also if each comes out in one way only. The same classifier after learning from
the real training images is the number to compare with.

Shapes: N images, C channels, K classes. Images are uint8 [0, 255].
"""

import torch

from metrics.features.class_judge import MAX_RESOLUTION, dataset_judge, train_judge
from metrics.features.labelled_images import load_labelled
from metrics.metric_options import MetricOptions
from metrics.registry import register_metric

from .class_features import checked_class_names, generated_images
from .gan_test import class_accuracies, judge_cache_dir, keep_confusion

NUM_GEN = 10000  # over all classes; learning from them takes two minutes on one core at 32x32


@register_metric(num_gen=NUM_GEN, uses_reals=False, higher_is_better=True, needs=('classes',))
def gan_train(opts: MetricOptions) -> dict[str, float]:
    """Accuracy on real images, those of --test-data if given, of a classifier trained on generated ones; also of each class."""
    names = checked_class_names(opts)
    real = load_labelled(opts.test_dataset_kwargs or opts.dataset_kwargs, MAX_RESOLUTION, opts.data)
    fake = generated_images(opts, names, MAX_RESOLUTION)
    if opts.rank != 0:
        return {}  # the first process has the values for all
    judge = train_judge(fake.images, fake.labels, len(names), torch.Generator().manual_seed(opts.seed), device=opts.device)
    results, confusion = class_accuracies('gan_train', judge, real)
    if opts.test_dataset_kwargs is None:
        opts.warn('gan_train: without --test-data the classifier is tried on the images that the network learnt from, '
                  'so a network that copies them does well')
    else:
        reference, _ = dataset_judge(opts.dataset_kwargs, opts.device, judge_cache_dir(opts), opts.seed)
        results['gan_train_reference'] = class_accuracies('reference', reference, real)[0]['reference']
    keep_confusion(opts, confusion, names)
    opts.facts.update(num_gen=len(fake), num_real=len(real))
    return results
