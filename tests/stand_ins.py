"""Stand-ins for the commands that the benchmarks run: each notes its call in calls.txt and leaves files like the real one's."""
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent

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
JUDGE = "NAME = 'judge'" + RECORD + """
report = {'recognised': 0.97, 'spread': 0.8, 'real_recognised': 0.99, 'real_spread': 1.0, 'classes': []}
pathlib.Path(options['json']).write_text(json.dumps({**report, 'seed': int(options['seed'])}))
print('| the table |')
"""


def write_repository(root: Path) -> Path:
    """A folder with the benchmarks themselves and stand-ins for everything that they run."""
    benchmarks = {f'benchmarks/{path.name}': path.read_text() for path in REPO.glob('benchmarks/*.py')}
    for name, text in {**benchmarks, 'dataset_tool.py': DATASET_TOOL, 'train_hyper.py': TRAIN_HYPER,
                       'generate.py': GENERATE, 'metrics/__init__.py': '', 'models/letters32.pkl': 'source',
                       'metrics/class_recognition.py': JUDGE.replace('.parent /', '.parent.parent /')}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root
