"""Shares and confusion by hand; the judge of real images."""
import pytest
import torch

from metrics.classes.gan_test import confusion_table, gan_test, judge_of_real_images, recognised_share
from metrics.classes.gan_train import gan_train
from metrics.features import class_judge
from metrics.features.labelled_images import LabelledImages
from tests.support.class_metric_stand_ins import NAMES, Bars, options, save_bars


def first_pixel_classifier(num_classes):
    """Calls the class that the value of the first pixel names."""
    return lambda images: torch.nn.functional.one_hot(images[:, 0, 0, 0].long(), num_classes).float()


def images_judged_as(judged):
    images = torch.zeros(len(judged), 1, 4, 4, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.tensor(judged)
    return images


def test_share_and_confusion_by_hand():
    asked, judged = [0, 0, 0, 0, 1, 1, 2], [0, 0, 0, 2, 1, 0, 2]
    share, confusion = recognised_share(first_pixel_classifier(3), images_judged_as(judged), torch.tensor(asked), 3)
    assert share.dtype == torch.float64
    assert share.tolist() == [0.75, 0.5, 1.0]
    assert confusion.tolist() == [[3, 0, 1], [1, 1, 0], [0, 0, 1]]


def test_renaming_the_classes_permutes_the_confusion():
    asked = torch.arange(4).repeat(50)
    judged = torch.randint(4, [200], generator=torch.Generator().manual_seed(0))
    order = torch.tensor([2, 0, 3, 1])
    classifier = first_pixel_classifier(4)
    share, confusion = recognised_share(classifier, images_judged_as(judged.tolist()), asked, 4)
    new_share, new_confusion = recognised_share(classifier, images_judged_as(order[judged].tolist()), order[asked], 4)
    assert torch.equal(new_share[order], share)
    assert torch.equal(new_confusion[order][:, order], confusion)


# the judge of real images


@pytest.fixture
def short_training(monkeypatch):
    monkeypatch.setattr('metrics.features.class_judge.MIN_STEPS', 40)


def bright_or_dark(num_per_class, seed):
    """Two classes told apart by their brightness."""
    labels = torch.arange(2).repeat(num_per_class)
    noise = torch.randint(60, [len(labels), 1, 16, 16], generator=torch.Generator().manual_seed(seed))
    return LabelledImages((noise + 150 * labels[:, None, None, None]).to(torch.uint8), labels, ['dark', 'bright'])


@pytest.mark.parametrize(('num_test', 'num_known', 'num_held_out'), [(10, 20 + 14, 6), (None, 14, 6)])
def test_the_judge_is_tried_on_images_that_it_never_saw(num_test, num_known, num_held_out, short_training, monkeypatch):
    learnt = []
    train_judge = class_judge.train_judge
    monkeypatch.setattr(class_judge, 'train_judge', lambda images, *args: learnt.append(images) or train_judge(images, *args))
    train, test = bright_or_dark(10, 0), num_test and bright_or_dark(num_test, 1)
    judge = judge_of_real_images(train, test, seed=0, cache_dir=None)
    held_out = judge.held_out
    assert (judge.num_known, len(learnt[0]), len(held_out)) == (num_known, num_known, num_held_out)
    assert torch.bincount(held_out.labels).tolist() == [3, 3]
    known = {image.numpy().tobytes() for image in learnt[0]}
    assert not known & {image.numpy().tobytes() for image in held_out.images}
    assert recognised_share(judge.net, held_out.images, held_out.labels, 2)[0].tolist() == [1, 1]


def test_a_single_image_cannot_be_divided():
    data = bright_or_dark(1, 0)
    with pytest.raises(ValueError, match='class dark has a single image'):
        judge_of_real_images(data, None, seed=0, cache_dir=None)


# on a generator and data sets


def test_the_metric_on_good_and_blind_generators(tmp_path, short_training):
    train, test = save_bars(tmp_path / 'train.zip', 20, seed=1), save_bars(tmp_path / 'test.zip', 10, seed=2)
    opts = options(train, test_dataset_kwargs=test)
    assert gan_test(opts) == {f'{name}{end}': 1 for name in ('gan_test', 'gan_test_reference')
                              for end in ('', *(f'/{name}' for name in NAMES))}
    assert (opts.facts['num_gen'], opts.facts['num_real'], opts.facts['num_held_out']) == (60, 60 + 21, 9)
    assert opts.facts['detector'].startswith('classifier-')
    opts = options(dict(train, max_size=5, xflip=True), Bars(blind=True))  # neither keeps images from the judge
    values = gan_test(opts)
    assert [values[f'gan_test/{name}'] for name in NAMES] == [1, 0, 0] and values['gan_test'] == pytest.approx(1 / 3)
    assert opts.facts['num_real'] + opts.facts['num_held_out'] == 60
    assert opts.facts['confusion'] == [[20, 0, 0]] * 3 and opts.facts['class_names'] == NAMES
    assert opts.facts['tables'][0].splitlines()[3] == '| middle | 100 | 0 | 0 |'


def test_one_pass_of_images_serves_both_metrics(tmp_path, short_training):
    train, shared, before = save_bars(tmp_path / 'train.zip', 20, seed=1), {}, Bars.num_made
    gan_test(options(train, shared=shared))
    gan_train(options(train, shared=shared))
    assert Bars.num_made == before + 60


def test_the_judge_is_kept(tmp_path, short_training, monkeypatch):
    monkeypatch.setenv('DNNLIB_CACHE_DIR', str(tmp_path / 'cache'))
    train = save_bars(tmp_path / 'train.zip', 20, seed=1)
    first = gan_test(options(train, cache=True))
    monkeypatch.setattr(class_judge, 'train_judge', None)  # a second training would fail
    assert gan_test(options(train, cache=True)) == first


def test_table_is_in_per_cent_of_the_row():
    table = confusion_table(torch.tensor([[3, 1], [0, 8]]), ['cat', 'dog'])
    assert table.splitlines() == ['| asked for | cat | dog |', '| --- | ---: | ---: |', '| cat | 75 | 25 |', '| dog | 0 | 100 |']
