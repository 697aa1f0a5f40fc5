"""What may change when a run goes on, and what may not."""

import json
import shutil

import pytest

import legacy
import train
import train_hyper
from commands import launch
from commands.going_on import absolute_paths
from commands.options import TrainingOptions
from tests.conftest import REPO
from tests.support.commands import COMMAND, invoke, only_run
from training.config import TrainingConfig
from training.loop.training_state import find_state, read_state
from training.run.run_dir import read_json, save_json
from training.run.run_lock import lock_run

TINY = ['--kimg=0.016', '--tick=0.008', '--snap=1', *COMMAND]


def call(*args, main=train.main):
    return invoke(main, *args)


@pytest.fixture(scope='module')
def trained(tmp_path_factory, rgb_zip):
    """(directory, arguments) of a run of 16 images, for tests to copy."""
    outdir, args = tmp_path_factory.mktemp('runs'), ['--data', rgb_zip, '--cond=1', *TINY]
    result = call('--outdir', outdir, *args)
    assert result.exit_code == 0, result.output
    return only_run(outdir), args


@pytest.fixture
def run(tmp_path, trained):
    """The same, in a place of the test's own."""
    run_dir, args = trained
    return shutil.copytree(run_dir, tmp_path / 'runs' / run_dir.name), args


def images_done(run_dir):
    return read_state(find_state(run_dir))['images_done']


@pytest.mark.parametrize('options', [
    ['--kimg=0.032'],
    ['--kimg=0.032', '--snap=2', '--tick=0.004'],
    ['--kimg=0.032', '--batch-gpu=2', '--workers=1', '--keep-snapshots=1'],
])
def test_length_and_passes_may_change(run, options):
    run_dir, _args = run
    result = call('--resume', run_dir, *options)
    assert result.exit_code == 0, result.output
    assert images_done(run_dir) == 32
    config = read_json(run_dir / 'training_options.json')
    assert config['total_kimg'] == 0.032 and config['batch_gpu'] == (2 if '--batch-gpu=2' in options else 4)
    assert len(list(run_dir.glob('network-snapshot-*.pkl'))) == 1  # all are of thousand number 0
    kimgs = [json.loads(line)['Progress/kimg']['mean'] for line in (run_dir / 'stats.jsonl').read_text().splitlines()]
    assert kimgs == sorted(set(kimgs)) and kimgs[-1] == pytest.approx(0.032)


FIXED = ['--gamma=2', '--cond=0', '--seed=1', '--batch=8', '--aug=noaug', '--glr=0.1', '--z-dim=16', '--mirror=1']


@pytest.mark.parametrize('option', FIXED)
def test_what_is_learnt_may_not_change(run, option):
    run_dir, _args = run
    before = find_state(run_dir).read_bytes()
    result = call('--resume', run_dir, option)
    assert result.exit_code == 2 and result.stderr.count('\n') == 1
    assert result.stderr.startswith(f'Error: {option.split("=")[0]}=')
    assert 'leave the option out' in result.stderr and '--kimg' in result.stderr
    assert find_state(run_dir).read_bytes() == before


def test_a_change_stays_for_the_next_time(run):
    run_dir, _args = run
    assert call('--resume', run_dir, '--kimg=0.032', '--batch-gpu=2').exit_code == 0
    for path in (find_state(run_dir), *run_dir.glob('network-snapshot-*.pkl')):
        path.unlink()
    assert call('--resume', run_dir).exit_code == 0
    assert images_done(run_dir) == 32 and read_json(run_dir / 'training_options.json')['batch_gpu'] == 2
    record = read_json(run_dir / 'run.json')
    assert record['options']['kimg'] == 0.032 and record['options']['device'] == 'cpu'


def test_another_source_is_another_run(run, source_pkl):
    run_dir, args = run
    result = call('--outdir', run_dir, '--resume', source_pkl, *args)
    assert result.exit_code == 2 and '--resume=' in result.stderr and 'differs from the value None' in result.stderr


def test_data_that_moved_and_data_that_changed(run, rgb_zip, gray_zip, tmp_path):
    run_dir, _args = run
    moved = tmp_path / 'moved.zip'
    moved.write_bytes(rgb_zip.read_bytes())
    result = call('--resume', run_dir, '--data', moved, '--kimg=0.032')
    assert result.exit_code == 0 and images_done(run_dir) == 32, result.output
    assert read_json(run_dir / 'training_options.json')['training_set_kwargs']['path'] == str(moved)
    result = call('--resume', run_dir, '--data', gray_zip)
    assert result.exit_code == 2 and 'differs from the data that' in result.stderr and 'num_channels 3 -> 1' in result.stderr


def test_damaged_run_directories(run):
    run_dir, _args = run
    state = find_state(run_dir)
    state.write_bytes(state.read_bytes()[:-1000])
    result = call('--resume', run_dir)
    assert result.exit_code == 2 and 'not a readable training state' in result.stderr and result.stderr.count('Error') == 1
    (run_dir / 'training_options.json').write_text('{"batch_size":')
    result = call('--resume', run_dir)
    assert result.exit_code == 2 and 'training_options.json is not readable as JSON' in result.stderr


def test_a_run_of_another_version(run):
    """Options that came later have their defaults; a config that lacks something is said to."""
    run_dir, _args = run
    record = read_json(run_dir / 'run.json')
    for name in ('metrics', 'device', 'keep_snapshots'):
        del record['options'][name]
    (run_dir / 'run.json').write_text(json.dumps(record))
    assert call('--resume', run_dir, '--kimg=0.02', '--device=cpu').exit_code == 0
    assert images_done(run_dir) == 20
    (run_dir / 'training_options.json').write_text('{"batch_size": 4, "colour": 1}')
    result = call('--resume', run_dir)
    assert result.exit_code == 2 and 'written by another version' in result.stderr and "'colour'" in result.stderr


def test_going_on_from_another_directory(tmp_path, rgb_zip, monkeypatch):
    (tmp_path / 'data.zip').write_bytes(rgb_zip.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert call('--outdir=runs', '--data=data.zip', *TINY).exit_code == 0
    (tmp_path / 'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path / 'elsewhere')
    result = call('--resume=latest', '--outdir=../runs', '--kimg=0.02')
    assert result.exit_code == 0 and images_done(only_run(tmp_path / 'runs')) == 20, result.output
    result = call('--resume=../runs/' + only_run(tmp_path / 'runs').name + '/', '--kimg=0.024')
    assert result.exit_code == 0 and images_done(only_run(tmp_path / 'runs')) == 24, result.output


@pytest.mark.parametrize('lost', [[], ['training_options.json']])
def test_snapshots_without_a_state_are_not_written_over(run, lost):
    run_dir, args = run
    snapshot, = run_dir.glob('network-snapshot-*.pkl')
    for path in (find_state(run_dir), *(run_dir / name for name in lost)):
        path.unlink()
    before = {path.name: path.read_bytes() for path in run_dir.iterdir()}
    for how in (['--resume', run_dir], ['--resume', run_dir, '--kimg=0.1'], ['--outdir', run_dir, *args]):
        result = call(*how)
        assert result.exit_code == 2 and result.stderr.count('\n') == 1
        assert 'has snapshots but no training-state-*.pt' in result.stderr and f'--resume={snapshot}' in result.stderr
        assert {path.name: path.read_bytes() for path in run_dir.iterdir()} == before


def test_a_best_snapshot_that_is_left_alone_is_not_written_over(run):
    run_dir, _args = run
    snapshot, = run_dir.glob('network-snapshot-*.pkl')
    best = snapshot.rename(run_dir / 'network-best.pkl')
    find_state(run_dir).unlink()
    before = best.read_bytes()
    result = call('--resume', run_dir)
    assert result.exit_code == 2 and f'--resume={best}' in result.stderr and best.read_bytes() == before


def test_a_state_without_its_configuration(run):
    run_dir, _args = run
    (run_dir / 'training_options.json').unlink()
    result = call('--resume', run_dir)
    assert result.exit_code == 2 and 'has a training state but no training_options.json' in result.stderr


def test_a_process_that_dies_between_state_and_snapshot(run):
    """The state is written first; the snapshot that belongs to it comes when the run goes on."""
    run_dir, _args = run
    snapshot, = run_dir.glob('network-snapshot-*.pkl')
    want = legacy.load_network_pkl(snapshot)['G_ema'].state_dict()
    snapshot.unlink()
    assert call('--resume', run_dir).exit_code == 0
    found = legacy.load_network_pkl(snapshot)['G_ema'].state_dict()
    assert all((found[name] == want[name]).all() for name in want) and images_done(run_dir) == 16


def test_one_training_at_a_time(run):
    run_dir, _args = run
    with lock_run(run_dir):
        result = call('--resume', run_dir, '--kimg=0.02')
    assert result.exit_code == 2 and 'is in use by another training process' in result.stderr
    assert call('--resume', run_dir, '--kimg=0.02').exit_code == 0


@pytest.mark.parametrize('main, options', [(train_hyper.main, ['--selfinit', '--code-dim=4']), (train.main, ['--cond=1'])])
def test_going_on_needs_no_source(tmp_path, rgb_zip, source_pkl, main, options):
    """The source of a transfer may be gone, or be a long download."""
    source = tmp_path / 'source.pkl'
    source.write_bytes(source_pkl.read_bytes())
    args = ['--data', rgb_zip, '--resume', source, *options, '--batch=4', '--kimg=0.008', '--tick=0.004', '--device=cpu']
    assert call('--outdir', tmp_path / 'runs', *args, main=main).exit_code == 0
    source.unlink()
    result = call('--resume=latest', '--outdir', tmp_path / 'runs', '--kimg=0.016', main=main)
    assert result.exit_code == 0, result.output
    assert images_done(only_run(tmp_path / 'runs')) == 16


def test_the_contrastive_loss_keeps_its_views(tmp_path, rgb_zip, source_pkl):
    args = ['--outdir', tmp_path / 'runs', '--data', rgb_zip, '--resume', source_pkl, '--selfinit', '--code-dim=4', '--batch=4',
            '--kimg=0.008', '--tick=0.004', '--contrastive=barlow', '--device=cpu']
    assert call(*args, main=train_hyper.main).exit_code == 0
    result = call('--resume=latest', '--outdir', tmp_path / 'runs', '--kimg=0.016', '--batch-gpu=1', main=train_hyper.main)
    assert result.exit_code == 2 and '--contrastive=barlow compares the images of a pass' in result.stderr


def test_passes_for_fewer_processes_do_not_stand_in_the_way(run):
    run_dir, _args = run
    assert call('--resume', run_dir, '--kimg=0.024', '--batch-gpu=4').exit_code == 0
    result = call('--resume', run_dir, '--kimg=0.032', '--gpus=2', '-n')
    assert result.exit_code == 0 and json.loads(result.stdout)['batch_gpu'] == 2
    result = call('--resume', run_dir, '--kimg=0.032', '--gpus=2', '--batch-gpu=3', '-n')
    assert result.exit_code == 2 and '--batch-gpu must divide the 2 images' in result.stderr


def test_half_precision_comes_back_with_the_gpu(tmp_path, run):
    run_dir, _args = run
    path = run_dir / 'training_options.json'
    config = read_json(path)
    config['G_kwargs']['synthesis_kwargs']['num_fp16_res'] = config['D_kwargs']['num_fp16_res'] = 4  # as started on a GPU
    save_json(path, config)
    assert call('--resume', run_dir, '--kimg=0.024').exit_code == 0
    kept = read_json(path)
    assert kept['G_kwargs']['synthesis_kwargs']['num_fp16_res'] == kept['D_kwargs']['num_fp16_res'] == 4
    on_gpu, on_cpu = (launch._on_device(TrainingConfig.from_json(kept | dict(device=device)), 0) for device in ('cuda', 'cpu'))
    assert on_gpu.G_kwargs == kept['G_kwargs'] and on_gpu.D_kwargs == kept['D_kwargs']
    assert on_cpu.G_kwargs['synthesis_kwargs']['num_fp16_res'] == on_cpu.D_kwargs['num_fp16_res'] == 0


def test_files_are_found_from_another_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('data.zip', 'source.pkl', 'detector.pt'):
        (tmp_path / name).touch()
    found = absolute_paths(TrainingOptions(data='data.zip', resume='source.pkl', metrics_detector='detector.pt', desc='data.zip'))
    assert found == TrainingOptions(data=str(tmp_path / 'data.zip'), resume=str(tmp_path / 'source.pkl'),
                                    metrics_detector=str(tmp_path / 'detector.pt'), desc='data.zip')
    assert absolute_paths(TrainingOptions(resume='latest')) == TrainingOptions(resume='latest')


def test_a_run_that_only_self_initialised_is_done(tmp_path, source_pkl):
    args = ['--outdir', tmp_path / 'runs', '--resume', source_pkl, '--selfinit', '--no-cond-transfer', '--classes=3',
            '--device=cpu']
    assert call(*args, main=train_hyper.main).exit_code == 0
    result = call('--resume', only_run(tmp_path / 'runs'), main=train_hyper.main)
    assert result.exit_code == 0 and 'is already self-initialised' in result.output


def test_help_names_the_ways_to_go_on():
    for main in (train.main, train_hyper.main):
        text = ' '.join(call('--help', main=main).output.split())
        assert '--resume=latest' in text and '--outdir=RUNDIR' in text and '--keep-snapshots' in text
    assert (REPO / 'train.py').is_file()
