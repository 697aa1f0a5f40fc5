"""The benchmarks of cold starts and of measuring: their tables tell what was measured."""
import json

from click.testing import CliRunner

import legacy
from benchmarks.speed import metrics, startup
from benchmarks.speed.networks import Setup, build


def test_starts_are_told_beside_the_import(tmp_path, monkeypatch):
    monkeypatch.setattr(startup, 'commands', lambda folder: {
        startup.IMPORT: ['-c', 'pass'], 'slow': ['-c', 'import time; time.sleep(1.5)']})
    done = CliRunner().invoke(startup.main, ['--repeats=3', f'--outdir={tmp_path}'], catch_exceptions=False)
    assert done.exit_code == 0 and done.stdout.startswith((tmp_path / 'startup.md').read_text())
    seconds = json.loads((tmp_path / 'startup.json').read_text())['seconds']
    assert all(len(times) == 3 for times in seconds.values()) and min(seconds['slow']) > 1.5
    assert float(done.stdout.splitlines()[3].split('|')[3]) > 1  # times the import


def test_every_part_of_measuring_is_timed(tmp_path, monkeypatch):
    def tiny(folder):
        G, _D = build(Setup('hyper', 32, channel_base=64, channel_max=8, code=8))
        legacy.save_network_pkl(folder / 'tiny.pkl', dict(G=G, D=None, G_ema=G, class_names=list('abcdefghij')))
        return {'32x32': folder / 'tiny.pkl'}

    monkeypatch.setattr(metrics, 'random_snapshots', tiny)
    done = CliRunner().invoke(metrics.main, ['--images=100', f'--outdir={tmp_path}'], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    seconds = json.loads((tmp_path / 'metrics.json').read_text())['seconds']
    assert list(seconds) == ['generation', 'features', *metrics.METRICS, 'the command'] and min(seconds.values()) > 0
    assert seconds['the command'] > seconds['features']  # that of three sets, and the rest
    assert [line.split('|')[1].strip() for line in done.stdout.splitlines()[2:8]] == list(seconds)
