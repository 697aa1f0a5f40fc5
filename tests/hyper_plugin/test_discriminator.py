"""HyperDiscriminator: the source's logits for every class at the start, and what the class adds."""

import numpy as np
import pytest
import torch

from hyper_plugin.networks import order_by_class
from tests.support.hyper_sources import labels, make_hyper_D, make_source_D, randomise_, tensors

KINDS = ('heads', 'projection')


def images(count=4, side=16):
    return torch.randn(count, 3, side, side)


@pytest.mark.parametrize('d_cond', KINDS)
@pytest.mark.parametrize('source_kwargs', [
    dict(), dict(architecture='orig'), dict(architecture='skip'), dict(epilogue_kwargs=dict(mbstd_num_channels=0)),
    dict(num_fp16_res=2, conv_clamp=256),
])
def test_starts_as_the_source_for_every_class(d_cond, source_kwargs):
    source = make_source_D(**source_kwargs)
    D = make_hyper_D(source, d_cond=d_cond)
    img = images()
    want = source(img, None)
    for c in (labels(0, 1, 2, 1), labels(2, 2, 0, 0), torch.full([4, 3], 1 / 3)):
        torch.testing.assert_close(D(img, c), want, rtol=1e-5, atol=1e-6)


def give_class_terms(D):
    with torch.no_grad():
        if D.d_cond == 'heads':
            D.heads.normal_()
        else:
            D.project.weight.normal_()
            randomise_(D.mapping)
    return D


@pytest.mark.parametrize('d_cond', KINDS)
def test_class_term(d_cond):
    D = give_class_terms(make_hyper_D(make_source_D(), d_cond=d_cond))
    img, c = images(), torch.cat([labels(0, 2, 1), torch.tensor([[0.5, 0, 0.5]])])
    h = D.features(img, c)
    got = D.logits(h, c)
    assert torch.equal(D(img, c), got) and got.shape == (4, 1)
    h, c_ = h.detach().double().numpy(), c.double().numpy()
    dim = h.shape[1]
    out = h @ D.b4.out.weight.detach().double().numpy()[0] / np.sqrt(dim) + D.b4.out.bias.item()
    if d_cond == 'heads':
        inner = [c_[n] @ D.heads.detach().double().numpy() @ h[n] for n in range(4)]
    else:
        mapped = D.mapping(None, c).detach().double().numpy()
        weight = D.project.weight.detach().double().numpy() / np.sqrt(dim)
        inner = [mapped[n] @ weight @ h[n] for n in range(4)]
    np.testing.assert_allclose(got[:, 0].detach().numpy(), out + np.array(inner) / np.sqrt(dim), rtol=1e-4, atol=1e-5)


def test_deviation_is_taken_within_classes():
    """Two classes that fill a group each: their logits are those of two batches of one class."""
    source = make_source_D(epilogue_kwargs=dict(mbstd_group_size=4))
    D = make_hyper_D(source)
    img, classes = images(8), torch.tensor([0, 2, 2, 0, 0, 2, 0, 2])
    found = D(img, labels(*classes.tolist()))
    for k in (0, 2):
        torch.testing.assert_close(found[classes == k], source(img[classes == k], None), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(found, source(img, None), atol=1e-3)


def test_groups_hold_as_few_classes_as_they_can():
    for _ in range(20):
        classes = torch.randint(3, [12])
        order = order_by_class(labels(*classes.tolist()), 4)
        assert sorted(order.tolist()) == list(range(12))
        mixed = [len(set(classes[order[group::3]].tolist())) for group in range(3)]  # image i belongs to group i mod 3
        assert sum(mixed) <= 3 + len(set(classes.tolist())) - 1  # a class ends inside a group at most once


@pytest.mark.parametrize('d_cond', KINDS)
def test_the_class_can_be_learned_from_the_start(d_cond):
    D = make_hyper_D(make_source_D(), d_cond=d_cond)
    D(images(), labels(0, 0, 1, 1)).mul(torch.tensor([[1.], [2.], [3.], [4.]])).sum().backward()
    if d_cond == 'heads':
        assert D.heads.grad[:2].abs().sum(dim=1).all() and not D.heads.grad[2].any()  # only the classes that were seen
    else:
        assert D.project.weight.grad.any()


@pytest.mark.parametrize('finetune', [False, True])
@pytest.mark.parametrize('architecture', ['resnet', 'skip'])
def test_layers_that_read_the_image_are_frozen(finetune, architecture):
    D = make_hyper_D(make_source_D(architecture=architecture), finetune=finetune)
    learning = {name for name, _parameter in D.named_parameters()}
    reading = {name for name in tensors(D) if '.fromrgb.' in name and 'filter' not in name}
    assert len(reading) == (2 if architecture == 'resnet' else 6)
    assert reading <= learning if finetune else not reading & learning
    assert {name for name in tensors(D) if name.endswith(('weight', 'bias', 'heads'))} - reading <= learning


def test_freeze_layers():
    D = make_hyper_D(make_source_D(), block_kwargs=dict(freeze_layers=3), finetune=True)
    learning = {name for name, _parameter in D.named_parameters()}
    frozen = {name for name in tensors(D) if name.startswith('b16.') and not name.endswith('filter')} - learning
    assert {name.split('.')[1] for name in frozen} == {'fromrgb', 'conv0', 'conv1'}


def test_an_unknown_kind_and_wrong_labels_are_refused():
    source = make_source_D()
    with pytest.raises(ValueError, match="d_cond is 'magic'; expected 'heads' or 'projection'"):
        make_hyper_D(source, d_cond='magic')
    with pytest.raises(AssertionError, match=r'\[4, 2\], expected \[None, 3\]'):
        make_hyper_D(source)(images(), labels(0, 1, 1, 0, c_dim=2))
