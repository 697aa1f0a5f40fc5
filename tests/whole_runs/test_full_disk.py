"""A real training on a real disk that is full for a while: it goes on, and in the end nothing is missing."""

import json
import subprocess
import sys
import time

import legacy
from tests.conftest import REPO
from tests.support.small_disk import fill_disk, small_disk

PATIENCE_SEC = 300
TINY = ['--device=cpu', '--threads=1', '--z-dim=8', '--w-dim=8', '--cbase=64', '--cmax=8', '--batch=4', '--gamma=1',
        '--aug=noaug', '--kimg=0.8', '--tick=0.04', '--snap=2', '--keep-snapshots=2']
NUM_TICKS = 21      # one of 4 images, and 20 of 40


def wait_for(condition, process, out):
    start = time.monotonic()
    while not condition():
        assert process.poll() is None and time.monotonic() - start < PATIENCE_SEC, out.read_text()
        time.sleep(0.05)


def test_a_training_outlives_a_full_disk(rgb_zip, tmp_path):
    out = tmp_path / 'console'
    with small_disk(tmp_path / 'disk', kib=20_000) as disk:
        with open(out, 'w') as console:
            command = [sys.executable, 'train.py', *TINY, '--data', str(rgb_zip), '--outdir', str(disk / 'runs')]
            process = subprocess.Popen(command, cwd=REPO, stdout=console, stderr=subprocess.STDOUT)
        try:
            wait_for(lambda: list(disk.glob('runs/*/network-snapshot-*.pkl')), process, out)
            filler = fill_disk(disk)
            ticks = out.read_text().count('\ntick ')
            wait_for(lambda: out.read_text().count('\ntick ') >= min(ticks + 6, NUM_TICKS), process, out)
            run_dir, = (disk / 'runs').iterdir()
            legacy.load_network_pkl(max(run_dir.glob('network-snapshot-*.pkl')))    # the last good one is whole
            filler.unlink()
            assert process.wait(PATIENCE_SEC) == 0, out.read_text()
        finally:
            process.kill()
        console, log = out.read_text().splitlines(), (run_dir / 'log.txt').read_text().splitlines()
        stats = [json.loads(line) for line in (run_dir / 'stats.jsonl').read_text().splitlines()]
        legacy.load_network_pkl(run_dir / 'network-snapshot-000000.pkl')
        left = {path.name for path in run_dir.iterdir()}
    assert [line['Progress/tick']['mean'] for line in stats] == list(range(NUM_TICKS))
    assert any('The disk of' in line and 'until there is space' in line for line in console)
    on_screen, kept = ([line for line in lines if 'The disk of' not in line] for lines in (console, log))
    assert on_screen == kept
    assert 'report.html' in left and 'training-state-000000800.pt' in left and not any('.part' in name for name in left)
