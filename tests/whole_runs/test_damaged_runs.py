"""Run directories that were damaged or edited by hand: one line, exit code 2, soon, and nothing in them is touched."""

import json
import math
import re
import shutil
import time

import pytest
import torch
from click.testing import CliRunner

import train
import train_hyper
from tests.support.commands import COMMAND, only_run
from training.loop.training_state import find_state

TINY = ['--kimg=0.016', '--tick=0.008', '--snap=1']
SECONDS = 20  # of computing, far less than a training would take to find it out
NAN, INF = math.nan, math.inf
GONE = '(gone)'


def name_of(value):
    """The value in the name of its test, without addresses: all workers of pytest must find the same names."""
    return re.sub(' at 0x[0-9a-f]+', '', str(value))[:60]


DEEP = '[' * 100_000


@pytest.fixture(scope='module')
def runs(tmp_path_factory, rgb_zip, source_pkl):
    """Directories of a plain and of a hyper-modulated run of 16 images."""
    outdir = tmp_path_factory.mktemp('runs')
    plain = ['--data', rgb_zip, '--cond=1', *TINY, *COMMAND]
    hyper = ['--data', rgb_zip, '--resume', source_pkl, '--selfinit', '--code-dim=4', '--batch=4', *TINY, '--device=cpu']
    for name, main, args in (('plain', train.main, plain), ('hyper', train_hyper.main, hyper)):
        result = CliRunner().invoke(main, [f'--outdir={outdir / name}', *map(str, args)])
        assert result.exit_code == 0, result.output
    return dict(plain=only_run(outdir / 'plain'), hyper=only_run(outdir / 'hyper'))


def edited(values, path, value):
    """Change, add or take away an entry of nested dicts and lists in place."""
    *parents, last = path
    for key in parents:
        values = values[key]
    if value is GONE:
        del values[last]
    else:
        values[last] = value(values[last]) if callable(value) else value


def refused(runs, tmp_path, kind, change, text=''):
    """Going on with a changed copy of a run is refused as it should be."""
    run_dir = tmp_path / runs[kind].name
    shutil.copytree(runs[kind], run_dir)
    change(run_dir)
    before = {path.name: path.read_bytes() for path in run_dir.iterdir()}
    start = time.process_time()
    main = train.main if kind == 'plain' else train_hyper.main
    result = CliRunner().invoke(main, [f'--resume={run_dir}', '--kimg=0.032'])
    assert result.exit_code == 2, (result.output, result.exception)
    assert result.stderr.count('\n') == 1 and text in result.stderr and len(result.stderr) < 1500, result.stderr
    assert time.process_time() - start < SECONDS
    assert {path.name: path.read_bytes() for path in run_dir.iterdir()} == before
    return result.stderr


def edit_json(name, path, value):
    def change(run_dir):
        values = json.loads((run_dir / name).read_text())
        edited(values, path, value)
        (run_dir / name).write_text(json.dumps(values))
    return change


def edit_state(path, value):
    def change(run_dir):
        state = torch.load(find_state(run_dir), weights_only=True)
        edited(state, path, value)
        torch.save(state, find_state(run_dir))
    return change


CONFIG = [
    (['batch_size'], GONE), (['batch_size'], 0), (['batch_size'], -4), (['batch_size'], '4'), (['batch_size'], 4.5),
    (['batch_size'], 10**9), (['batch_size'], 10**400), (['batch_size'], None), (['batch_size'], [4]), (['batch_size'], True),
    (['batch_size'], 8), (['batch_gpu'], 3), (['batch_gpu'], 0), (['colour'], 1), (['G_kwargs'], None), (['G_kwargs'], []),
    (['G_kwargs', 'z_dim'], 10**9), (['G_kwargs', 'z_dim'], -8), (['G_kwargs', 'z_dim'], 16), (['G_kwargs', 'z_dim'], 8.0),
    (['G_kwargs', 'z_dim'], GONE), (['G_kwargs', 'colour'], 1), (['G_kwargs', 'c_dim'], 3),
    (['G_kwargs', 'class_name'], 'os.system'),
    (['G_kwargs', 'class_name'], GONE), (['G_kwargs', 'class_name'], ['x']), (['G_kwargs', 'synthesis_kwargs'], [1]),
    (['G_kwargs', 'synthesis_kwargs', 'conv_clamp'], 'x'), (['G_kwargs', 'synthesis_kwargs', 'conv_clamp'], NAN),
    (['G_kwargs', 'synthesis_kwargs', 'num_fp16_res'], -10**9), (['G_kwargs', 'synthesis_kwargs', 'architecture'], 'round'),
    (['G_kwargs', 'mapping_kwargs', 'num_layers'], 10**9), (['G_kwargs', 'mapping_kwargs', 'lr_multiplier'], INF),
    (['G_kwargs', 'mapping_kwargs', 'activation'], 'wavy'), (['D_kwargs', 'epilogue_kwargs', 'mbstd_group_size'], 0),
    (['D_kwargs', 'epilogue_kwargs'], 7), (['D_kwargs', 'block_kwargs', 'freeze_layers'], 'two'),
    (['G_opt_kwargs', 'lr'], NAN), (['G_opt_kwargs', 'lr'], -1), (['G_opt_kwargs', 'betas'], [0]),
    (['G_opt_kwargs', 'betas'], [0, 1]), (['D_opt_kwargs', 'class_name'], 'subprocess.Popen'), (['D_opt_kwargs', 'args'], 'true'),
    (['loss_kwargs', 'r1_gamma'], 'x'), (['loss_kwargs', 'class_name'], 'builtins.exec'), (['loss_kwargs', 'augment_pipe'], None),
    (['augment_p'], NAN), (['augment_p'], 2), (['augment_p'], None), (['augment_kwargs', 'xflip'], [1]),
    (['augment_kwargs', 'class_name'], 'subprocess.Popen'), (['ada_target'], 'high'), (['ada_interval'], 0), (['ada_kimg'], 0),
    (['cond_ramp'], [1]), (['cond_ramp'], [2, 1]), (['cond_ramp'], [[0, 1], 1]), (['ema_kimg'], NAN), (['ema_rampup'], -1),
    (['D_reg_interval'], 0), (['random_seed'], -1), (['random_seed'], 2**33), (['training_set_kwargs'], 'x.zip'),
    (['training_set_kwargs', 'class_name'], 'subprocess.Popen'), (['training_set_kwargs', 'resolution'], 32),
    (['training_set_kwargs', 'max_size'], 3), (['data_loader_kwargs', 'num_workers'], 10**9),
    (['data_loader_kwargs', 'num_workers'], -1), (['metrics'], 'fid50k'), (['device'], None),
]
RECORD = [
    (['options'], GONE), (['options'], []), (['options', 'kimg'], [200]), (['options', 'batch'], 'four'),
    (['options', 'batch'], -4),
    (['options', 'seed'], NAN), (['options', 'threads'], 10**9), (['options', 'threads'], 0), (['options', 'workers'], 10**9),
    (['options', 'tick'], 0), (['options', 'tick'], INF), (['options', 'snap'], 0), (['options', 'snap'], 1.5),
    (['options', 'gpus'], 0), (['options', 'gpus'], 10**9), (['options', 'gpus'], 3), (['options', 'cond'], 'yes'),
    (['options', 'device'], 'abacus'), (['options', 'device'], 7), (['options', 'data'], None), (['options', 'data'], 5),
    (['options', 'data'], '\0'), (['options', 'batch_gpu'], 0), (['options', 'metrics'], 'beauty'), (['options', 'metrics'], 3),
    (['options', 'subset'], 0), (['options', 'subset'], [1]), (['options', 'aug'], 'much'), (['options', 'keep_snapshots'], 0),
    (['data'], GONE), (['data'], {}), (['data'], [1]), (['data', 'label_dim'], '3'), (['data', 'class_names'], 3),
    (['data', 'num_images'], NAN), (['command'], 5),
]
STATE = [
    (['networks'], GONE), (['networks'], []), (['networks', 'G'], {}), (['networks', 'D'], None), (['images_done'], -4),
    (['images_done'], 20), (['images_done'], 'many'), (['images_done'], NAN), (['batch_index'], 10**9), (['augment_p'], NAN),
    (['augment_p'], -1), (['augment_p'], torch.zeros(3)), (['optimizers'], 3), (['optimizers', 'G'], {}),
    (['optimizers', 'D', 'state'], {10**9: {}}), (['optimizers', 'D', 'state', 0], {}),
    (['optimizers', 'D', 'state', 0, 'exp_avg'], torch.zeros(2)), (['optimizers', 'D', 'state', 0, 'step'], NAN),
    (['optimizers', 'D', 'state', 0, 'exp_avg_sq'], lambda tensor: tensor - 1), (['phases'], {}), (['phases', 'Dmain'], 1),
    (['phases', 'Dmain', 'bad_run'], -1), (['loss'], [1]), (['loss', 'pl_mean'], torch.zeros(2)),
    (['loss', 'pl_mean'], torch.tensor(NAN)), (['loss', 'other'], torch.tensor(0.0)), (['real_signs'], None),
    (['real_signs', 'visible'], {'x': [1.0]}), (['progress'], GONE), (['progress', 'tick'], 'x'),
    (['progress', 'tick_start_images'], 10**6), (['progress', 'collector'], []),
    (['progress', 'collector', 'pending'], {'x': ['a', 'b', 'c']}), (['progress', 'tick_seconds'], INF),
    (['alarm', 'start'], [1]),
    (['alarm', 'start'], {'cat': NAN}), (['random'], 1), (['random'], [{}]), (['random', 0, 'torch'], torch.zeros(3)),
    (['random', 0, 'numpy', 'position'], 10**9), (['random', 0, 'python', 'numbers'], [1, 2]), (['format'], 99), (['extra'], 1),
]
TENSORS = [lambda t: t.to(torch.complex64), lambda t: t.double(), lambda t: t[:1], lambda t: t * NAN, lambda t: t.tolist(),
           lambda t: torch.zeros_like(t, device='meta'), lambda t: t.to_sparse(), lambda t: torch.full_like(t, INF)]


@pytest.mark.parametrize('path, value', CONFIG, ids=name_of)
def test_configurations(runs, tmp_path, path, value):
    refused(runs, tmp_path, 'plain', edit_json('training_options.json', path, value))


@pytest.mark.parametrize('path, value', RECORD, ids=name_of)
def test_records(runs, tmp_path, path, value):
    refused(runs, tmp_path, 'plain', edit_json('run.json', path, value))


@pytest.mark.parametrize('path, value', STATE, ids=name_of)
def test_states(runs, tmp_path, path, value):
    refused(runs, tmp_path, 'plain', edit_state(path, value), 'training-state-000000016.pt')


@pytest.mark.parametrize('value', TENSORS)
@pytest.mark.parametrize('name', ['G', 'G_ema'])
def test_tensors_of_states(runs, tmp_path, name, value):
    refused(runs, tmp_path, 'plain', edit_state(['networks', name, 'mapping.fc0.weight'], value), 'mapping.fc0.weight')


@pytest.mark.parametrize('path, value', [
    (['G_kwargs', 'code_dim'], 10**9), (['G_kwargs', 'rank'], -1), (['G_kwargs', 'own_classes'], [0.5]),
    (['D_kwargs', 'd_cond'], 3),
    (['D_kwargs', 'd_cond'], 'guess'), (['loss_kwargs', 'contrastive_loss'], 'other'),
    (['loss_kwargs', 'contrastive_weight'], None),
    (['loss_kwargs', 'share_fakes'], 'x'), (['G_reg_interval'], 4),
], ids=name_of)
def test_configurations_of_a_transfer(runs, tmp_path, path, value):
    refused(runs, tmp_path, 'hyper', edit_json('training_options.json', path, value))


@pytest.mark.parametrize('content', ['', '[]', '3', '{"a":' + DEEP, '{"a":' * 900 + '1' + '}' * 900, '\0',
                                     '{"a": ' + '9' * 5000 + '}'], ids=lambda content: content[:12])
@pytest.mark.parametrize('name', ['run.json', 'training_options.json'])
def test_files_that_are_no_json(runs, tmp_path, name, content):
    assert name in refused(runs, tmp_path, 'plain', lambda run_dir: (run_dir / name).write_text(content))


@pytest.mark.parametrize('kind', ['plain', 'hyper'])
def test_snapshots_without_a_state_are_never_replaced(runs, tmp_path, kind):
    told = refused(runs, tmp_path, kind, lambda run_dir: find_state(run_dir).unlink(), 'has snapshots but no training-state-*.pt')
    assert '/network-snapshot-000000.pkl' in told


def test_no_class_of_a_file_is_made_that_is_not_known(runs, tmp_path):
    """It once ran any program."""
    canary = tmp_path / 'canary'
    evil = dict(class_name='subprocess.Popen', args=['touch', str(canary)])
    for number, key in enumerate(('augment_kwargs', 'loss_kwargs', 'G_kwargs', 'D_kwargs', 'training_set_kwargs')):
        told = refused(runs, tmp_path / str(number), 'plain', edit_json('training_options.json', [key], evil))
        assert 'training_options.json' in told
    assert not canary.exists()


def test_the_runs_themselves_go_on(runs, tmp_path):
    for kind, main in (('plain', train.main), ('hyper', train_hyper.main)):
        shutil.copytree(runs[kind], tmp_path / kind)
        result = CliRunner().invoke(main, [f'--resume={tmp_path / kind}', '--kimg=0.02'])
        assert result.exit_code == 0, result.output


def test_one_damaged_record_does_not_hide_the_other_runs(runs, tmp_path):
    shutil.copytree(runs['plain'], tmp_path / 'good')
    for name, content in dict(deep='{"command":' + DEEP, cut='{"comm', listed='[1]', odd='{"command": "train.py"}').items():
        (tmp_path / name).mkdir()
        (tmp_path / name / 'run.json').write_text(content)
    result = CliRunner().invoke(train.main, ['--resume=latest', f'--outdir={tmp_path}', '-n'])
    assert result.exit_code == 0, result.output
