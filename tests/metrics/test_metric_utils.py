"""metrics/metric_utils.py: features of real and generated images against the detector called directly."""
import numpy as np
import pytest
import torch

import dnnlib
from metrics import metric_utils
from tests.support.metric_scenes import Everything, Features, Painter, data_kwargs, options, save_script, write_data

KWARGS = dict(return_features=True)


@pytest.fixture(autouse=True)
def cache_dir(tmp_path, monkeypatch):
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


@pytest.fixture
def detector(tmp_path):
    return save_script(tmp_path / 'features.pt', Features())


@pytest.fixture(params=['RGB', 'L'])
def data(request, tmp_path):
    return data_kwargs(write_data(tmp_path / 'data.zip', num=11, labels=[i % 4 for i in range(11)], mode=request.param))


def direct(dataset_kwargs, indices=None):
    """The features of real images one by one; one channel counts three times."""
    dataset = dnnlib.util.construct_class_by_name(**dataset_kwargs)
    images = np.stack([dataset[i][0] for i in (range(len(dataset)) if indices is None else indices)]).astype(np.float64)
    images = images.repeat(3, axis=1) if images.shape[1] == 1 else images
    return images.reshape(len(images), 3, 4, 4, 4, 4).mean(axis=(3, 5)).reshape(len(images), -1) / 255


def of_data(opts, **kwargs):
    return metric_utils.compute_feature_stats_for_dataset(opts, 'unused', KWARGS, capture_all=True, **kwargs)


@pytest.mark.parametrize('batch_size', [4, 64])
def test_features_of_all_real_images_in_order(batch_size, data, detector):
    opts = options(dataset_kwargs=data, detector=detector, batch_size=batch_size)
    np.testing.assert_allclose(of_data(opts).get_all(), direct(data), rtol=1e-5)
    assert opts.facts['num_real'] == 11 and opts.facts['detector'].startswith('features.pt sha256:')


@pytest.mark.parametrize('max_items', [1, 10, 99])
def test_fewer_real_images_are_drawn_from_all(max_items, data, detector):
    opts = options(dataset_kwargs=data, detector=detector)
    found, whole = of_data(opts, max_items=max_items).get_all(), direct(data)
    index = [int(np.abs(whole - row).sum(axis=1).argmin()) for row in found]
    np.testing.assert_allclose(found, whole[index], rtol=1e-5)
    assert index == sorted(set(index)) and len(index) == min(max_items, 11)  # each once, in order
    again = of_data(options(dataset_kwargs=data, detector=detector, cache=False), max_items=max_items)
    np.testing.assert_array_equal(again.get_all(), found)


@pytest.mark.parametrize('labels', [[i % 10 for i in range(500)], [i // 50 for i in range(500)]])
@pytest.mark.parametrize('num_items', [50, 250])
def test_images_are_drawn_whatever_the_order_of_the_classes(labels, num_items, tmp_path):
    """As many as are a multiple of what lies between images of a class: the old stride met the same class again and again."""
    data = data_kwargs(write_data(tmp_path / 'data.zip', num=500, labels=labels), use_labels=True)
    dataset = dnnlib.util.construct_class_by_name(**data)
    counts = [np.bincount(np.array(labels)[metric_utils.draw_items(dataset, num_items, in_turn)], minlength=10)
              for in_turn in (False, True)]
    assert 0 < counts[0].min() < counts[0].max() and (counts[1] == num_items // 10).all()


def test_classes_take_turns_until_they_are_used_up(tmp_path):
    labels = [0] * 20 + [1] * 2 + [2] * 5
    data = data_kwargs(write_data(tmp_path / 'data.zip', num=27, labels=labels), use_labels=True)
    drawn = metric_utils.draw_items(dnnlib.util.construct_class_by_name(**data), 16, in_turn=True)
    assert np.bincount(np.array(labels)[drawn]).tolist() == [9, 2, 5] and (np.diff(drawn) > 0).all()


def test_images_in_turn_and_images_of_all_are_kept_apart(data, detector):
    data = dict(data, use_labels=True)
    drawn = [of_data(options(dataset_kwargs=data, detector=detector), max_items=4, **labels).get_labels().tolist()
             for labels in ({}, dict(capture_labels=True))]
    assert drawn[0] != [0, 1, 2, 3] and sorted(drawn[1]) == [0, 1, 2, 3]


def test_mirrored_copies_and_classes(data, detector):
    data = dict(data, xflip=True, use_labels=True)
    stats = of_data(options(dataset_kwargs=data, detector=detector), capture_labels=True)
    np.testing.assert_allclose(stats.get_all(), direct(data), rtol=1e-5)
    assert stats.get_labels().tolist() == [i % 4 for i in range(11)] * 2


def test_computed_once_and_kept(data, detector, monkeypatch):
    first = of_data(options(dataset_kwargs=data, detector=detector)).get_all()
    monkeypatch.setattr(metric_utils, 'real_images', lambda *args: pytest.fail('computed again'))
    opts = options(dataset_kwargs=data, detector=detector)
    np.testing.assert_array_equal(of_data(opts).get_all(), first)
    assert opts.facts['num_real'] == 11
    with pytest.raises(pytest.fail.Exception, match='computed again'):
        of_data(opts, max_items=4)
    with pytest.raises(pytest.fail.Exception, match='computed again'):
        of_data(options(dataset_kwargs=data, detector=detector, cache=False))


def test_all_metrics_find_the_same_features(data, detector, monkeypatch):
    opts = options(dataset_kwargs=dict(data, use_labels=True), detector=detector)
    metric_utils.compute_feature_stats_for_dataset(opts, 'unused', KWARGS, capture_mean_cov=True)
    monkeypatch.setattr(metric_utils, 'real_images', lambda *args: pytest.fail('computed again'))
    whole = dict(data, use_labels=True, max_size=None, xflip=False, random_seed=0)      # as some metrics spell it out
    found = of_data(options(dataset_kwargs=whole, detector=detector), capture_labels=True)
    assert found.get_labels().tolist() == [i % 4 for i in range(11)]
    mean, cov = found.get_mean_cov()
    np.testing.assert_allclose(mean, direct(data).mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(cov, np.cov(direct(data), rowvar=False, bias=True), atol=1e-7)


def test_of_very_many_images_only_what_is_needed_is_kept(data, detector, monkeypatch):
    monkeypatch.setattr(metric_utils, 'MAX_SHARED', 10)
    opts = options(dataset_kwargs=data, detector=detector)
    stats = metric_utils.compute_feature_stats_for_dataset(opts, 'unused', KWARGS, capture_mean_cov=True)
    assert not stats.capture_all
    np.testing.assert_allclose(stats.get_mean_cov()[0], direct(data).mean(axis=0), rtol=1e-5)


def test_another_detector_of_the_same_name_is_another(data, detector):
    first = of_data(options(dataset_kwargs=data, detector=detector))
    save_script(detector, Everything())
    metric_utils.get_detector.__globals__['_from_file'].cache_clear()   # as in another process
    opts = options(dataset_kwargs=data, detector=detector)
    of_data(opts)
    assert len(set(dnnlib.util.os.listdir(dnnlib.make_cache_dir_path('features')))) == 2 and first.num_items == 11


def test_what_cannot_be_kept_is_measured_all_the_same(data, detector, monkeypatch):
    def fail(stats, path):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(metric_utils.feature_cache, 'save_features', fail)
    opts = options(dataset_kwargs=data, detector=detector)
    np.testing.assert_allclose(of_data(opts).get_all(), direct(data), rtol=1e-5)
    assert 'No space left' in opts.facts['warnings'][0]


def of_generator(opts, num, **kwargs):
    return metric_utils.compute_feature_stats_for_generator(opts, 'unused', KWARGS, max_items=num, capture_all=True, **kwargs)


@pytest.mark.parametrize('batch_size, batch_gen', [(4, 3), (64, None)])
@pytest.mark.parametrize('channels', [1, 3])
def test_features_of_generated_images(batch_size, batch_gen, channels, detector):
    opts = options(G=Painter(img_channels=channels), detector=detector)
    levels = torch.cat([images for images, _ in metric_utils.generate_images(opts, 10)])[:, 0, 0, 0].numpy() / 255
    opts = options(G=Painter(img_channels=channels), detector=detector, batch_size=batch_size)
    got = of_generator(opts, 10, batch_gen=batch_gen)
    np.testing.assert_allclose(got.get_all(), np.repeat(levels[:, None], 48, axis=1), rtol=1e-5)


@pytest.mark.parametrize('balanced', [False, True])
def test_classes_of_generated_images(balanced, data, detector):
    G = Painter(c_dim=4, img_channels=dnnlib.util.construct_class_by_name(**data).num_channels)
    stats = of_generator(options(G=G, dataset_kwargs=data, detector=detector), 30, capture_labels=True, balanced_labels=balanced)
    level = stats.get_all()[:, 0] * 255
    lo = (stats.get_labels() / 2 - 0.75) * 127.5 + 128
    assert ((lo - 1 <= level) & (level <= np.minimum(lo + 63.75, 255))).all()
    assert (stats.get_labels() == np.arange(30) % 4).all() == balanced


def test_generated_once_for_metrics_that_share(detector, monkeypatch):
    shared = {}
    first = of_generator(options(G=Painter(), detector=detector, shared=shared), 6)
    monkeypatch.setattr(metric_utils, 'generate_images', lambda *args: pytest.fail('generated again'))
    opts = options(G=Painter(), detector=detector, shared=shared)
    again = metric_utils.compute_feature_stats_for_generator(opts, 'unused', KWARGS, max_items=6, capture_mean_cov=True)
    np.testing.assert_allclose(again.get_mean_cov()[0], first.get_all().mean(axis=0), rtol=1e-5)
    assert opts.facts['num_gen'] == 6
    for num, kwargs, labels in [(7, {}, {}), (6, dict(seed=1), {}), (6, {}, dict(balanced_labels=True))]:
        with pytest.raises(pytest.fail.Exception, match='generated again'):
            of_generator(options(G=Painter(), detector=detector, shared=shared, **kwargs), num, **labels)


def test_a_detector_may_be_given_itself(data):
    class Brightness:
        identity = 'brightness'

        def __call__(self, images, **wanted):
            return images.float().mean(dim=(2, 3))[:, :1]

    opts = options(dataset_kwargs=data, detector=Brightness())
    assert of_data(opts).get_all().shape == (11, 1) and opts.facts['detector'] == 'brightness'


def test_inception_means_the_network_of_the_metric(monkeypatch):
    asked = []
    monkeypatch.setattr(metric_utils, 'get_detector', lambda spec, *args: asked.append(spec) or Painter)
    Painter.identity = 'x'
    metric_utils.get_feature_detector(options(), 'https://some/vgg16.pt')
    metric_utils.get_feature_detector(options(detector='dinov2'), 'https://some/vgg16.pt')
    assert asked == ['https://some/vgg16.pt', 'dinov2']


def test_how_many_must_be_said(detector):
    with pytest.raises(ValueError, match='max_items'):
        of_generator(options(G=Painter(), detector=detector), None)
