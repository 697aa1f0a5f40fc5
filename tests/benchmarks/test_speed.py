"""The benchmark of speed: what it measures, counts, writes and finds worse. Tiny networks."""
import copy
import json

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from benchmarks.speed import __main__ as speed
from benchmarks.speed import check as bench_check
from benchmarks.speed import flops as bench_flops
from benchmarks.speed import reference
from benchmarks.speed import timing as bench_timing
from benchmarks.speed.networks import OPTIMIZER, Setup, Training, build
from benchmarks.speed.timing import Case, Way
from commands.config import build_config
from commands.data_facts import DataFacts
from commands.options import TrainingOptions
from tests.support.flop_counter import FlopCounter


@pytest.fixture(scope='module')
def report(tmp_path_factory):
    """What one tiny run leaves, all groups."""
    folder = tmp_path_factory.mktemp('speed')
    args = ['--quick', '--tiny', '--device=cpu', '--threads=1', f'--outdir={folder}']
    done = CliRunner().invoke(speed.main, args, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return folder


def test_a_run_writes_numbers_tables_and_a_picture(report):
    found = json.loads((report / 'cpu-quick.json').read_text())
    names = {case['name'] for case in found['cases']}
    assert {'train/plain-10/16', 'train/hyper-10/16', 'sample/hyper-10/16/b4', 'part/selfinit/16', 'part/augment/16',
            'part/views/16', 'transfer/hyper-10/16'} <= names
    for case in found['cases']:
        for way, parts in case['raw_seconds'].items():
            assert set(parts) == set(case['shares'])
            assert all(len(times) >= 3 and min(times) > 0 for times in parts.values()), (case['name'], way)
        assert all(0 < ratio['low'] <= ratio['median'] <= ratio['high'] for ratio in case['ratios'].values())
    assert {'processor', 'cores_used', 'threads', 'torch', 'native_kernels'} <= set(found['machine'])
    assert max(found['equality'].values()) < 1e-3 and found['peak_gflops'] > 1
    assert all(2**27 < entry[way] < 2**33 for entry in found['memory'] for way in ('ours', 'ref'))
    assert {entry['name'] for entry in found['memory']} == {'memory/train/plain-10/16', 'memory/sample/plain-10/16'}
    text = (report / 'cpu-quick.md').read_text()
    assert '| hyper-10, 16x16 | 4 |' in text and '| sampling plain-10, 16x16 | 4 |' in text and found['machine']['torch'] in text
    with Image.open(report / 'cpu-quick.png') as picture:
        assert picture.width > 500


def test_the_check_finds_a_planted_regression(report):
    measured = json.loads((report / 'cpu-quick.json').read_text())
    assert bench_check.regressions(measured, measured) == []
    for name, ratio, factor in (('train/plain-10/16', 'speedup with kept memory', 1.4), ('part/augment/16', 'speedup', 1.4),
                                ('train/hyper-10/16', 'overhead', 1 / 1.4)):
        before = copy.deepcopy(measured)
        case, = (case for case in before['cases'] if case['name'] == name)
        case['ratios'][ratio]['median'] *= factor
        worse = bench_check.regressions(before, measured)
        assert len(worse) == 1 and worse[0].startswith(f'{name}: {ratio} is ')
        assert bench_check.regressions(measured, before) == []  # better is no regression
    case['ratios'][ratio]['median'] = measured['cases'][1]['ratios']['overhead']['median'] / 1.2  # within the tolerance
    assert bench_check.regressions(before, measured) == []


def test_a_regression_is_exit_code_1(report, tmp_path, monkeypatch):
    before = json.loads((report / 'cpu-quick.json').read_text())
    sampled = copy.deepcopy(before) | dict(cases=[case for case in copy.deepcopy(before['cases']) if case['group'] == 'sample'])
    del sampled['command']  # of the report, not of what was measured
    monkeypatch.setattr(speed, 'run', lambda quick, device, groups, tiny: sampled)
    for case in before['cases']:
        for name in case['ratios']:
            case['ratios'][name]['median'] *= 100 if name.startswith('speedup') else 1
    (tmp_path / 'cpu.json').write_text(json.dumps(before))
    monkeypatch.setattr(speed, 'RESULTS', tmp_path)
    args = ['--quick', '--tiny', '--check', '--device=cpu', '--groups=sample', f'--outdir={tmp_path / "new"}']
    done = CliRunner().invoke(speed.main, args)
    assert done.exit_code == 1
    assert 'sample/plain-10/16/b4: speedup' in done.stderr and 'part/augment' not in done.stderr


@pytest.mark.parametrize('known, measured', [(['cpu'], ['cpu']), (['cpu', 'cuda'], ['cpu', 'cuda']), ([], ['cpu', 'cuda'])])
def test_every_device_is_measured(known, measured, monkeypatch, tmp_path):
    """And checked as far as there are results."""
    monkeypatch.setattr(speed, 'RESULTS', tmp_path)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    case = dict(name='train/plain-10/32', ratios=dict(speedup=dict(median=2)))
    for device in known:
        (tmp_path / f'{device}.json').write_text(json.dumps(dict(cases=[case])))
    seen = []
    monkeypatch.setattr(speed, 'run', lambda quick, device, groups, tiny: seen.append(device) or dict(cases=[case]))
    monkeypatch.setattr(speed, 'write_results', lambda outdir, report: tmp_path / 'cpu.json')
    (tmp_path / 'cpu.json').touch()
    done = CliRunner().invoke(speed.main, ['--check'] if known else [], catch_exceptions=False)
    assert done.exit_code == 0 and seen == measured


def test_nothing_to_compare_is_an_error():
    with pytest.raises(ValueError, match='no case in common'):
        bench_check.regressions(dict(cases=[]), dict(cases=[dict(name='train/plain-10/32', ratios=dict(speedup=dict(median=1)))]))


@pytest.mark.parametrize('args, message', [(['--groups=train,sampel'], "'sampel'"), (['--check', '--device=cpu'], 'make bench'),
                                           (['--check', '--groups=memory'], 'add another group')])
def test_wrong_options(args, message, monkeypatch, tmp_path):
    monkeypatch.setattr(speed, 'RESULTS', tmp_path)
    done = CliRunner().invoke(speed.main, args)
    assert done.exit_code == 2 and message in done.stderr


def test_the_page_is_filled_from_the_results(report):
    measured = json.loads((report / 'cpu-quick.json').read_text())
    text = 'before\n<!-- speed: benchmarks/results/speed -->\nold\n<!-- end of speed -->\nafter\n'
    filled = bench_check.fill_page(text, [measured])
    assert filled.startswith('before\n') and filled.endswith('after\n') and '\nold\n' not in filled
    assert '| hyper-10, 16x16 | 4 |' in filled
    assert bench_check.fill_page(filled, [measured]) == filled
    with pytest.raises(ValueError, match='0 places'):
        bench_check.fill_page('nothing', [measured])


@pytest.mark.parametrize('rank', [0, 2])
def test_flop_of_hypernetworks(rank):
    G, _D = build(Setup('hyper', 8, 3, rank, channel_base=64, channel_max=8, code=8))
    one = 64 * 64 if rank == 0 else 2 * 8 * rank * 64 + 8 * 8 * rank  # code to kernel; or to two factors, and their product
    assert bench_flops.flop_per_class(G) == 3 * 2 * (2 * one + 64 * 8)  # three layers, gamma, beta and bias


def test_flop_are_those_that_pytorch_executes():
    run = Training(Setup('plain', 32, 3, channel_base=1024, channel_max=32, code=32), 4, is_reference=True)
    for part, (g, d) in bench_flops.PASSES.items():
        with reference.composition(), FlopCounter() as counter:
            run.run(part)
        wanted = 4 * (g * bench_flops.flop_per_image(run.G) + d * bench_flops.flop_per_image(run.D))
        if part == 'Greg':  # a gradient for every image's own kernel, where the styles' is all that is needed
            wanted *= 4 / 3
        assert counter.flop == pytest.approx(wanted, rel=0.02), part


def test_expected_number_of_classes():
    torch.manual_seed(0)
    drawn = torch.randint(10, [20_000, 16]).sort(dim=1).values
    mean = (1 + (drawn.diff(dim=1) > 0).sum(dim=1)).float().mean()
    assert bench_flops.expected_classes(16, 10) == pytest.approx(float(mean), rel=0.01)


def test_ratios_are_taken_within_a_repeat():
    case = Case('train/x/8', 4, {'ours': Way(print), 'ref': Way(print)}, {'a': 1, 'b': 0.5}, dict(speedup=('ref', 'ours')))
    times = dict(ours=dict(a=[1.0, 2, 4], b=[0.0, 0, 0]), ref=dict(a=[1.0, 2, 4], b=[2.0, 4, 40]))
    found = bench_timing.summary(case, times)
    assert found['ratios']['speedup'] == dict(median=2, low=2, high=6, of=['ref', 'ours'])
    assert found['seconds'] == dict(ours=2, ref=4)


def test_the_optimiser_is_that_of_training():
    facts = DataFacts(path='x.zip', name='x', resolution=16, num_channels=3, num_images=100)
    chosen = vars(build_config(TrainingOptions(), facts).G_opt_kwargs)
    assert {**chosen, 'lr': OPTIMIZER['lr']} == OPTIMIZER


def test_the_page_shows_the_committed_results():
    reports = [json.loads(path.read_text()) for name in ('cpu', 'cuda') if (path := speed.RESULTS / f'{name}.json').is_file()]
    text = speed.PAGE.read_text()
    assert reports and bench_check.fill_page(text, reports) == text, 'python -m benchmarks.speed --page fills it'
