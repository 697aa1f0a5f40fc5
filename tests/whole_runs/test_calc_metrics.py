"""calc_metrics.py as a user runs it: results, report files, repeatability, several processes, and wrong input."""
import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

import legacy
from calc_metrics import main
from metrics.frechet_inception_distance import frechet_distance
from metrics.metric_main import list_valid_metrics
from tests.conftest import CLASS_NAMES, write_dataset
from tests.support.metric_scenes import Everything, save_script

QUICK = ('--device=cpu', '--num-gen=24')
KEPT = {'judges', 'features', 'data-digests'}  # folders of the cache about real images
STANDARD = 'fid50k_full,kid50k_full,pr50k3_full,is50k,ppl2_wend'


@pytest.fixture(autouse=True)
def cache_dir(tmp_path, monkeypatch):
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


@pytest.fixture(scope='module')
def detector(tmp_path_factory):
    return save_script(tmp_path_factory.mktemp('detector') / 'everything.pt', Everything())


@pytest.fixture
def snapshot(conditional_pkl, tmp_path):
    """A class-conditional snapshot in a directory of its own."""
    (tmp_path / 'run').mkdir()
    return shutil.copy(conditional_pkl, tmp_path / 'run' / 'network-snapshot-000000.pkl')


def calc(*args):
    return CliRunner().invoke(main, [*QUICK, *map(str, args)])


def results_of(result):
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    return {line['metric']: line for line in lines}


def measure(snapshot, rgb_zip, detector, *args):
    return results_of(calc(f'--network={snapshot}', f'--data={rgb_zip}', f'--detector={detector}', *args))


def test_standard_metrics_of_a_conditional_network(snapshot, rgb_zip, detector):
    found = measure(snapshot, rgb_zip, detector, f'--metrics={STANDARD}')
    assert list(found) == ['fid0.024k_full', 'kid0.024k_full', 'pr0.024k3_full', 'is0.024k', 'ppl2_wend_0.024k']
    for name, line in found.items():
        assert all(np.isfinite(value) for value in line['results'].values()) and line['num_gen'] == 24
        assert line['detector'].startswith('everything.pt sha256:') and line['snapshot_pkl'] == 'network-snapshot-000000.pkl'
        report = snapshot.parent / f'metric-{name}.jsonl'
        assert json.loads(report.read_text()) == line
    assert found['fid0.024k_full']['num_real'] == 18
    assert 'KID' in found['fid0.024k_full']['warnings'][0]


def test_fid_is_that_of_features_computed_directly(snapshot, rgb_zip, detector, monkeypatch):
    """The noise off, since its draws depend on the batch; z and labels from the documented generators of random numbers."""
    import torch

    from training.data.image_dataset import ImageFolderDataset

    monkeypatch.setattr('metrics.features.sampling.prepare_generator', lambda opts: (opts.G, dict(noise_mode='const')))
    found = measure(snapshot, rgb_zip, detector, '--metrics=fid50k_full', '--seed=7')
    z_rng, c_rng, _ = map(np.random.default_rng, np.random.SeedSequence(7).spawn(3))
    dataset = ImageFolderDataset(rgb_zip, use_labels=True)
    G = legacy.load_network_pkl(snapshot)['G_ema']
    z = torch.from_numpy(z_rng.standard_normal([24, G.z_dim], dtype=np.float32))
    c = torch.from_numpy(np.stack([dataset.get_label(int(u * 18)) for u in c_rng.random(24)]))
    made = (G(z, c, noise_mode='const') * 127.5 + 128).clamp(0, 255).to(torch.uint8)
    real = torch.from_numpy(np.stack([dataset[i][0] for i in range(18)]))
    x, y = (Everything()(images, return_features=True).double().numpy() for images in (made, real))
    moments = [f(v) for v in (x, y) for f in (lambda v: v.mean(axis=0), lambda v: np.cov(v, rowvar=False, bias=True))]
    # a pixel level can differ: the network rounds otherwise in batches of another size
    assert found['fid0.024k_full']['results']['fid0.024k_full'] == pytest.approx(frechet_distance(*moments), rel=1e-4)


def test_two_processes_compute_the_same(snapshot, rgb_zip, detector, tmp_path, cache_dir):
    """Without per-pixel noise, of which each process draws its own; 7 real and 25 generated images do not divide by 2."""
    data = legacy.load_network_pkl(snapshot)
    for name, strength in data['G_ema'].named_parameters():
        if name.endswith('noise_strength'):
            strength.zero_()
    legacy.save_network_pkl(snapshot, data)
    out = tmp_path / 'out'
    args = ('--metrics=fid50k_full,kid50k_full,ppl2_wend,pr50k3_full', '--num-gen=25', '--max-real=7', f'--outdir={out}')
    one = measure(snapshot, rgb_zip, detector, *args)
    assert KEPT & {path.name for path in cache_dir.iterdir()}
    shutil.rmtree(cache_dir)
    result = calc(f'--network={snapshot}', f'--data={rgb_zip}', f'--detector={detector}', *args, '--gpus=2', '--no-cache')
    assert result.exit_code == 0, result.output
    assert not KEPT & {path.name for path in cache_dir.glob('*')}
    for name, line in one.items():
        first, second = map(json.loads, (out / f'metric-{name}.jsonl').read_text().splitlines())
        assert first == line and second['num_gpus'] == 2 and second['num_gen'] == 25 and second.get('num_real', 7) == 7
        for key, value in line['results'].items():
            # rounding differs with the batch, and may carry a pixel over to the next level; path lengths are divided by 1e-8
            assert second['results'][key] == pytest.approx(value, rel=0.05 if name.startswith('ppl') else 1e-3, abs=1e-6)


def test_an_error_in_several_processes_reads_as_in_one(snapshot, rgb_zip, tmp_path):
    args = (f'--network={snapshot}', f'--data={rgb_zip}', f'--detector={tmp_path}')
    one, two = (calc(*args, f'--gpus={num}') for num in (1, 2))
    lines = [[line for line in result.stderr.splitlines() if line.startswith('Error')] for result in (one, two)]
    assert one.exit_code == two.exit_code == 2 and lines[0] == lines[1] and ': Is a directory' in lines[0][0]
    assert 'Traceback' not in two.stderr


def test_without_a_cache_nothing_of_the_real_images_is_kept(snapshot, rgb_zip, cache_dir, monkeypatch):
    monkeypatch.setattr('metrics.features.class_judge.MIN_STEPS', 2)
    monkeypatch.setattr('metrics.features.class_judge.EPOCHS', 1)
    metrics = '--metrics=kid_per_class,gan_test'
    assert calc(f'--network={snapshot}', f'--data={rgb_zip}', '--detector=classifier', metrics, '--no-cache').exit_code == 0
    line = json.loads((snapshot.parent / 'metric-kid_per_class_0.024k.jsonl').read_text())
    assert line['detector'].startswith('classifier-')
    assert not KEPT & {path.name for path in cache_dir.glob('*')}


@pytest.mark.parametrize('metrics, unlimited', [
    ('kid50k_full,is50k,gan_train', 'is50k, gan_train'), ('kid_per_class,fid50k', None),
])
def test_metrics_that_no_limit_of_real_images_touches_are_named(metrics, unlimited, snapshot, rgb_zip, detector, monkeypatch):
    monkeypatch.setattr('calc_metrics.measure', lambda *args: None)
    args = (f'--network={snapshot}', f'--data={rgb_zip}', f'--detector={detector}', f'--metrics={metrics}')
    limited, plain = calc(*args, '--max-real=9'), calc(*args)
    lines = [line for line in limited.stderr.splitlines() if 'max-real' in line]
    assert lines == ([f'--max-real=9 has no effect on {unlimited}'] if unlimited else [])
    assert limited.exit_code == 0 and 'max-real' not in plain.stderr


def test_gray_images_through_a_detector_of_three_channels(gray_source_pkl, gray_zip, detector, tmp_path):
    found = measure(gray_source_pkl, gray_zip, detector, f'--metrics={STANDARD}', f'--outdir={tmp_path}')
    assert len(found) == 5


@pytest.fixture
def described(source_pkl, rgb_zip, tmp_path):
    """A snapshot that says what it learnt from: described(path=..., ...)."""
    def describe(**kwargs):
        path = tmp_path / 'training-runs' / '00000-a' / 'network-snapshot-000001.pkl'
        path.parent.mkdir(parents=True, exist_ok=True)
        data = legacy.load_network_pkl(source_pkl)
        legacy.save_network_pkl(path, {**data, 'training_set_kwargs': kwargs})
        return path
    return describe


def test_newest_snapshot_and_its_data_by_default(described, rgb_zip, detector, tmp_path, monkeypatch):
    path = described(class_name='training.dataset.ImageFolderDataset', path=str(rgb_zip), use_labels=True, max_size=4, xflip=True)
    monkeypatch.chdir(tmp_path)
    found = results_of(calc(f'--detector={detector}', '--metrics=fid50k_full,fid50k'))
    assert found['fid0.024k_full']['num_real'] == 18 and found['fid0.024k']['num_real'] == 36
    assert (path.parent / 'metric-fid0.024k.jsonl').is_file()


def test_other_data_are_mirrored_as_in_training(described, rgb_zip, detector):
    path = described(path='no/such.zip', use_labels=True, max_size=4, xflip=True)
    for args, num_real in ([], 36), (['--mirror=0'], 18):
        found = measure(path, rgb_zip, detector, '--metrics=fid50k', *args)
        assert found['fid0.024k']['num_real'] == num_real


@pytest.mark.parametrize('metrics, message', [
    ('fid50k,kid_per_class', '--metrics=kid_per_class needs classes'),
    ('fid50k,memorization', '--metrics=memorization '),
])
def test_what_is_missing_is_said_before_anything_is_measured(metrics, message, source_pkl, snapshot, rgb_zip, detector):
    network = snapshot if 'memorization' in metrics else source_pkl
    result = calc(f'--network={network}', f'--data={rgb_zip}', f'--detector={detector}', f'--metrics={metrics}')
    assert result.exit_code == 2 and message in result.stderr and not result.stdout


def test_a_snapshot_cannot_name_the_class_of_its_data(described, rgb_zip, detector, canary):
    path = described(class_name='pathlib.Path.touch', path=str(rgb_zip), self=str(canary))
    assert calc(f'--network={path}', f'--detector={detector}').exit_code == 0


@pytest.mark.parametrize('kwargs', [dict(path=['a']), dict(max_size='many'), dict(xflip=[1]), dict(random_seed=None)])
def test_odd_words_of_a_snapshot_about_its_data(kwargs, described, rgb_zip):
    result = calc(f'--network={described(**{"path": str(rgb_zip), **kwargs})}')
    [key] = kwargs
    assert result.exit_code == 2 and result.stderr.count('\n') == 1
    assert f'training_set_kwargs of the snapshot has {key} of type' in result.stderr


def test_names_that_are_none_are_passed_over(snapshot, rgb_zip, detector):
    data = legacy.load_network_pkl(snapshot)
    for names in ([1, 2, 3], 'abc', ['a'], None):
        legacy.save_network_pkl(snapshot, {**data, 'class_names': names})
        measure(snapshot, rgb_zip, detector)


def test_data_that_are_gone(described):
    result = calc(f'--network={described(path="no/such.zip")}')
    assert result.exit_code == 2
    message = 'Error: the training images of the snapshot, no/such.zip: no such folder or zip; give --data'
    assert result.stderr.splitlines() == [message]


@pytest.mark.parametrize('args, message', [
    (['--metrics=fid50k_ful'], "metric 'fid50k_ful' is unknown: did you mean fid50k_full"),
    (['--data=absent.zip'], 'Error: --data absent.zip: no such folder or zip'),
    (['--detector=nonsense'], "'nonsense' is neither a file"),
    (['--metrics=gan_test,pr50k3_full', '--max-real=3'], 'pr50k3_full needs 4 real images or more, found 3'),
    (['--metrics=gan_test,is50k', '--num-gen=9'], 'is50k needs 10 generated images or more, found 9'),
    (['--metrics=fid50k_full,kid_per_class', '--num-gen=5'], '6 generated images or more (2 of each of 3 classes), found 5'),
    (['--metrics=fid50k_full,ppl2_wend', '--detector=dinov2'], 'ppl2_wend: detector dinov2 has features alone'),
    (['--outdir={tmp_path}/run/network-snapshot-000000.pkl/x'], 'is not a directory'),
])
def test_wrong_input_is_one_line(args, message, snapshot, rgb_zip, detector, tmp_path):
    args = [arg.format(tmp_path=tmp_path) for arg in args]
    result = calc(f'--network={snapshot}', f'--data={rgb_zip}', f'--detector={detector}', *args)
    errors = [line for line in result.stderr.splitlines() if line.startswith('Error')]
    assert result.exit_code == 2 and len(errors) == 1 and message in errors[0]
    assert 'Traceback' not in result.output and not list((tmp_path / 'run').glob('metric-*'))


@pytest.mark.parametrize('kind, message', [
    ('gray', 'the data set other has 16x16 with 1'), ('large', 'the data set other has 32x32 with 3'),
    ('unlabelled', 'has no labels'), ('other names', 'the classes differ: the network has cat, dog, owl'),
])
def test_data_that_do_not_fit(kind, message, snapshot, tmp_path, detector):
    path = tmp_path / 'other.zip'
    write_dataset(path, 'L' if kind == 'gray' else 'RGB', resolution=32 if kind == 'large' else 16)
    if kind in ('unlabelled', 'other names'):
        folder = tmp_path / 'other'
        shutil.unpack_archive(path, folder)
        if kind == 'unlabelled':
            images = [image.rename(folder / f'{image.parent.name}-{image.name}') for image in list(folder.glob('*/*.png'))]
            assert images
            (folder / 'dataset.json').write_text('{"labels": null}')
        else:
            text = (folder / 'dataset.json').read_text()
            (folder / 'dataset.json').write_text(text.replace(json.dumps(CLASS_NAMES), '["a", "b", "c"]'))
        path = folder
    result = calc(f'--network={snapshot}', f'--data={path}', f'--detector={detector}')
    assert result.exit_code == 2 and message in result.stderr and result.stderr.count('\n') == 1


def test_damaged_images_are_one_line(snapshot, rgb_zip, detector, tmp_path):
    folder = tmp_path / 'damaged'
    shutil.unpack_archive(rgb_zip, folder)
    image = folder / 'dog' / '03.png'
    image.write_bytes(image.read_bytes()[:200])
    for workers in (0, 1):      # as many as any machine has cores for: with more, torch warns
        result = calc(f'--network={snapshot}', f'--data={folder}', f'--detector={detector}', f'--workers={workers}')
        assert result.exit_code == 2 and 'dog/03.png' in result.stderr.splitlines()[-1] and result.stderr.count('Error: ') == 1
        assert len(result.stderr.splitlines()) == 3     # network, data, error


def test_help_has_every_option_an_example_and_all_metrics():
    result = CliRunner().invoke(main, ['--help'])
    text = ' '.join(result.output.split())
    assert result.exit_code == 0 and 'python calc_metrics.py --metrics=fid50k_full,kid50k_full' in text
    for part in ['[default: fid50k_full]', '[default: inception]', '--test-data', *list_valid_metrics()]:
        assert part in text
