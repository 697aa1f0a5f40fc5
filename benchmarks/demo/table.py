"""What the demo measured, as markdown: a table by class, a line about all images, and what the columns mean."""

from benchmarks.markdown import row

COLUMNS = {  # what is shown of a class, and its format
    'gan_test': '.1%', 'spread_per_class': '.2f', 'kid_per_class': '.3f', 'pr_per_class_recall': '.2f', 'memorization': '.2f',
    'gan_train': '.1%', 'gan_test_reference': '.1%', 'spread_per_class_reference': '.2f', 'kid_per_class_reference': '.3f',
    'pr_per_class_recall_reference': '.2f',
}
HEAD = """\
| class | recognised | spread | KID | recall | memorization | GAN-train | real: recognised | spread | KID | recall |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
"""
NOTE = """
All images together, and in brackets real ones: GAN-train {gan_train:.1%} ({gan_train_reference:.1%}), \
density {dc5k5_full_density:.2f} ({dc5k5_full_density_reference:.2f}), \
coverage {dc5k5_full_coverage:.2f} ({dc5k5_full_coverage_reference:.2f}), nearly copied {memorization_copies:.1%} (1.0%).

The generator learnt from {num_train} training images. It was asked for {num_gen_per_class} images of each class (seed {seed}). \
"Real" are test images, which it never saw, in place of the generated ones.

- recognised: share that a classifier of real images puts into the class asked for. It learnt from {num_judge_train:,} of them;
  *real: recognised* is its share of the {num_held_out} others.
- spread: mean distance between two images of the class, reduced to 8x8, over that of the training images. 1 is as varied as
  these.
- KID: kernel distance to the training images of the class. 0 is best. Recall: share of them that lie among the generated ones.
- memorization: distance to the nearest training image, over that of the test images (medians). Near 0 are copies.
- GAN-train: share of the test images recognised by a classifier that learnt from the generated images alone. In brackets:
  from the training images.
- Density: do generated images lie among the training images? Coverage: share of the training images that have one near.
  Nearly copied: share nearer to a training image than 99% of the test images.

Features of KID and recall are of `{kid_detector}`, trained on ImageNet;
those of memorization, density and coverage are of `{detector}`,
a classifier that learnt from the training images.
"""


def results_table(results: dict) -> str:
    """results: seed, num_gen_per_class, and under 'metrics' what calc_metrics.py printed, by metric."""
    metrics = results['metrics']
    values = {}
    for metric, result in metrics.items():
        values.update(plain_values(metric, result))
    labels = {f'/{name}': name for name in metrics['gan_test']['class_names']} | {'': '**all**'}
    rows = [row(label, *(format(values[f'{name}{suffix}'], spec) for name, spec in COLUMNS.items()))
            for suffix, label in labels.items()]
    facts = dict(detector=metrics['memorization']['detector'], kid_detector=metrics['kid_per_class']['detector'],
                 num_train=metrics['memorization']['num_real'], num_judge_train=metrics['gan_test']['num_real'],
                 num_held_out=metrics['gan_test']['num_held_out'])
    totals = {name: value for name, value in values.items() if '/' not in name}
    return HEAD + ''.join(rows) + NOTE.format(**results, **totals, **facts)


def plain_values(metric: str, result: dict) -> dict[str, float]:
    """The values by names without the counts: kid_per_class_2k/cat -> kid_per_class/cat."""
    return {name.replace(result['metric'], metric, 1): value for name, value in result['results'].items()}
