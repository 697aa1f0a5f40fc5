"""Stand-ins for the commands that the benchmarks run: each notes its call in calls.txt and leaves files like the real one's."""
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]

RECORD = """
import json, os, pathlib, sys, time
options = dict(arg.lstrip('-').partition('=')[::2] for arg in sys.argv[1:])
with open(pathlib.Path(__file__).resolve().parent / 'calls.txt', 'a') as file:
    print(NAME, *sys.argv[1:], file=file)
"""
DATASET_TOOL = "NAME = 'dataset_tool'" + RECORD + "pathlib.Path(options['dest']).write_text('zip')"
GENERATE = "NAME = 'generate'" + RECORD + "(pathlib.Path(options['outdir']) / 'grid.png').write_text(options['network'])"
TRAIN_HYPER = "NAME = 'train_hyper'" + RECORD + """
run = pathlib.Path(options['outdir']) / '00000-digits'
run.mkdir()
for kimg in ('000000', '000002'):
    (run / f'network-snapshot-{kimg}.pkl').write_text('pickle')
    os.utime(run / f'network-snapshot-{kimg}.pkl', (int(kimg), int(kimg)))
(run / 'stats.jsonl').write_text(json.dumps({'timestamp': time.time()}) + '\\n{}\\n')
if 'selfinit' in options:
    (run / 'selfinit.json').write_text(json.dumps({'method': 'exact', 'relative_error': 1.5e-7, 'images': 0, 'curve': []}))
"""
CALC_METRICS = "NAME = 'calc_metrics'" + RECORD + """
VALUES = {
    'kid_per_class': {'kid_per_class': 0.05, 'kid_per_class/cat': 0.041, 'kid_per_class/dog': 0.059,
                      'kid_per_class_reference': 0.002, 'kid_per_class_reference/cat': -0.001,
                      'kid_per_class_reference/dog': 0.005},
    'pr_per_class': {'pr_per_class_precision': 0.6, 'pr_per_class_recall': 0.25, 'pr_per_class_recall/cat': 0.2,
                     'pr_per_class_recall/dog': 0.3, 'pr_per_class_recall_reference': 0.84,
                     'pr_per_class_recall_reference/cat': 0.83, 'pr_per_class_recall_reference/dog': 0.85},
    'dc5k5_full': {'dc5k5_full_density': 0.71, 'dc5k5_full_coverage': 0.87, 'dc5k5_full_density_reference': 0.97,
                   'dc5k5_full_coverage_reference': 0.996},
    'gan_test': {'gan_test': 0.97, 'gan_test/cat': 0.96, 'gan_test/dog': 0.98, 'gan_test_reference': 0.99,
                 'gan_test_reference/cat': 0.99, 'gan_test_reference/dog': 0.99},
    'gan_train': {'gan_train': 0.93, 'gan_train/cat': 0.92, 'gan_train/dog': 0.94, 'gan_train_reference': 0.975},
    'memorization': {'memorization': 1.2, 'memorization/cat': 1.1, 'memorization/dog': 1.3, 'memorization_copies': 0.002,
                     'memorization_copies/cat': 0.0, 'memorization_copies/dog': 0.004},
    'spread_per_class': {'spread_per_class': 0.8, 'spread_per_class/cat': 0.7, 'spread_per_class/dog': 0.9,
                         'spread_per_class_reference': 1, 'spread_per_class_reference/cat': 1.1,
                         'spread_per_class_reference/dog': 0.9},
}
for metric in options['metrics'].split(','):
    measured = metric + '_short' if metric != 'gan_test' else metric  # as where the count is the standard one
    values = {name.replace(metric, measured, 1): value for name, value in VALUES[metric].items()}
    print(json.dumps({'results': values, 'metric': measured, 'detector': options['detector'] + '-123', 'num_real': 50,
                      'num_held_out': 10, 'class_names': ['cat', 'dog']}))
"""


def write_repository(root: Path) -> Path:
    """A folder with the benchmarks themselves and stand-ins for everything that they run."""
    benchmarks = {str(path.relative_to(REPO)): path.read_text() for path in REPO.glob('benchmarks/**/*.py')}
    for name, text in {**benchmarks, 'dataset_tool.py': DATASET_TOOL, 'train_hyper.py': TRAIN_HYPER,
                       'generate.py': GENERATE, 'calc_metrics.py': CALC_METRICS,
                       'models/letters32.pkl': 'source'}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root
