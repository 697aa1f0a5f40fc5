"""Labelled images: read whole, divided by class, and what is refused."""
import pytest
import torch
from PIL import Image

from metrics.features.labelled_images import (
    LabelledImages,
    check_labels,
    folder_kwargs,
    load_labelled,
    open_labelled,
    shrink,
    split_held_out,
)


@pytest.mark.parametrize('labels, num_classes, message', [
    ([0, 0], 1, 'at least 2'), ([0, 2], 2, r'0\.\.1'), ([0, -1], 2, r'-1\.\.0'), ([0, 2], 3, 'class 1'), ([], 2, 'class 0, 1')])
def test_refuses_unfit_labels(labels, num_classes, message):
    with pytest.raises(ValueError, match=message):
        check_labels(torch.tensor(labels, dtype=torch.int64), [str(index) for index in range(num_classes)])


def test_an_empty_class_is_named():
    with pytest.raises(ValueError, match='no images of class dog, owl: every class needs some'):
        check_labels(torch.tensor([0, 0]), ['cat', 'dog', 'owl'])


def save_folders(root, names, num_per_class=4, size=16, first=0):
    """The image i of class k is filled with 10 k + i."""
    for k, name in enumerate(names):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(num_per_class):
            Image.new('L', (size, size), 10 * k + i).save(root / name / f'{i:03}.png')
    return folder_kwargs(root)


def test_data_sets_are_read_whole(tmp_path):
    data = load_labelled(save_folders(tmp_path, ['a', 'b', 'c']))
    assert data.class_names == ['a', 'b', 'c'] and data.num_classes == 3 and len(data) == 12
    assert data.images.shape == (12, 1, 16, 16) and data.images.dtype == torch.uint8
    assert (data.images[:, 0, 3, 5] // 10).tolist() == data.labels.tolist()
    assert sorted(data.images[:, 0, 0, 0].tolist()) == [10 * k + i for k in range(3) for i in range(4)]


def test_labels_follow_the_items_of_a_mirrored_set(tmp_path):
    dataset = open_labelled({**save_folders(tmp_path, ['a', 'b']), 'xflip': True, 'use_labels': False})
    labels = dataset.classes()
    assert labels.tolist() == [int(dataset[i][0][0, 0, 0]) // 10 for i in range(16)]
    dataset.close()


def test_large_images_are_averaged():
    images = torch.tensor([[10, 20], [30, 41]], dtype=torch.uint8).repeat(1, 1, 4, 4)  # [1, 1, 8, 8]
    assert shrink(images, 4).tolist() == [[[[25] * 4] * 4]]  # 25.25
    assert shrink(images, 8) is images and shrink(images, None) is images


def test_subset_keeps_images_and_labels_together():
    images = torch.arange(4, dtype=torch.uint8).reshape(4, 1, 1, 1)
    part = LabelledImages(images, torch.tensor([0, 1, 1, 0]), ['a', 'b']).subset(torch.tensor([True, False, True, False]))
    assert part.images.flatten().tolist() == [0, 2] and part.labels.tolist() == [0, 1]


def test_unlabelled_data_is_refused(tmp_path):
    for i in range(3):
        Image.new('L', (16, 16)).save(tmp_path / f'{i}.png')
    with pytest.raises(ValueError, match='no class labels'):
        load_labelled(folder_kwargs(tmp_path))


def test_held_out_is_a_share_of_every_class():
    labels = torch.tensor([0] * 100 + [1] * 10 + [2])
    mask = split_held_out(labels, 0.3, torch.Generator().manual_seed(0))
    assert torch.bincount(labels[mask]).tolist() == [30, 3, 1]
    assert torch.equal(mask, split_held_out(labels, 0.3, torch.Generator().manual_seed(0)))
    assert not torch.equal(mask, split_held_out(labels, 0.3, torch.Generator().manual_seed(1)))
