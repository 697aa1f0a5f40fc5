"""HyperGenerator: equal to its source at zero modulation, a class per image and per copy of w, what learns, what is frozen."""

import math

import pytest
import torch

from hyper_plugin.networks import HyperGenerator
from hyper_plugin.selfinit import block_features
from tests.support.hyper_sources import NUM_CLASSES, labels, make_hyper, make_source, tensors

LEARNING = ('class_code', 'hyper')  # parts of the names of everything that is new


def is_new(name):
    return any(part in LEARNING for part in name.split('.'))


def assert_near(got, want, relative=1e-5):
    torch.testing.assert_close(got, want, rtol=0, atol=relative * float(want.detach().abs().max()))


# --- equal to the source ---

@pytest.mark.parametrize('options', [{}, dict(truncation_psi=0.5), dict(truncation_psi=-1, truncation_cutoff=2)])
@pytest.mark.parametrize('noise_mode', ['const', 'random'])
@pytest.mark.parametrize('kwargs', [dict(rank=2), dict(finetune=True)])
def test_zero_modulation_equals_the_source(kwargs, noise_mode, options):
    source = make_source()
    G = make_hyper(source, init_scale=0, **kwargs)
    z = torch.randn(5, source.z_dim)
    c = torch.cat([labels(2, 0, 1, 0), torch.tensor([[0.2, 0.5, 0.3]])])  # mixed classes, and a soft label
    images = []
    for network, label in ((source, None), (G, c)):
        torch.manual_seed(5)
        images.append(network(z, label, noise_mode=noise_mode, **options))
    assert_near(images[1], images[0])


@pytest.mark.parametrize('architecture', ['orig', 'skip', 'resnet'])
def test_every_architecture_of_source(architecture):
    source = make_source(architecture=architecture, img_channels=1, resolution=8)
    z = torch.randn(3, source.z_dim)
    same = make_hyper(source, init_scale=0)(z, labels(0, 1, 2), noise_mode='const')
    assert_near(same, source(z, None, noise_mode='const'))
    assert not torch.allclose(make_hyper(source)(z, labels(0, 1, 2), noise_mode='const'), same, atol=1e-2)


def test_half_precision_is_near():
    source = make_source(num_fp16_res=2, conv_clamp=256)
    G = make_hyper(source, init_scale=0.3)
    z, c = torch.randn(4, source.z_dim), labels(0, 2, 1, 2)
    half, full = G(z, c, noise_mode='const'), G(z, c, noise_mode='const', force_fp32=True)
    assert half.dtype == torch.float32 and not torch.equal(half, full)
    assert_near(half, full, relative=0.02)
    with torch.no_grad():
        first, again = (G(z, c, noise_mode='const') for _ in range(2))
    assert torch.equal(first, again) and not torch.equal(first, full)
    assert_near(first, full, relative=0.02)


def test_an_image_does_not_depend_on_its_batch():
    """Work once per class gives the values and gradients of the computation image by image."""
    G = make_hyper(make_source(), rank=2)
    z, c = torch.randn(6, G.z_dim), labels(0, 2, 1, 0, 2, 2)
    weights = torch.randn(6, 3, 16, 16)
    results = []
    for rows in ([range(6)], [[i] for i in range(6)]):
        G.zero_grad(set_to_none=True)
        parts = []
        for row in map(list, rows):
            parts.append(G(z[row], c[row], noise_mode='const'))
            (parts[-1] * weights[row]).sum().backward()
        results.append((torch.cat(parts), {name: p.grad for name, p in G.named_parameters()}))
    (together, gradients), (alone, wanted) = results
    assert_near(together, alone)
    for name, gradient in gradients.items():
        assert gradient.any(), name  # everything that learns has an effect
        assert_near(gradient, wanted[name], relative=1e-4)


# --- classes ---

def test_a_soft_label_leads_from_class_to_class_without_jumps():
    G = make_hyper(make_source())
    z = torch.randn(1, G.z_dim)

    def draw(shares):
        c = torch.outer(1 - shares, labels(0)[0]) + torch.outer(shares, labels(2)[0])
        return G(z.repeat(len(shares), 1), c, noise_mode='const').detach()

    path, ends = draw(torch.linspace(0, 1, 65)), G(z.repeat(2, 1), labels(0, 2), noise_mode='const')
    assert torch.equal(draw(torch.tensor([0.0])), G(z, labels(0), noise_mode='const'))
    assert_near(path[[0, -1]], ends)
    whole = (path[-1] - path[0]).abs().mean()
    steps = (path[1:] - path[:-1]).abs().mean(dim=(1, 2, 3))
    assert whole > 0 and (steps > 0).all() and steps.max() < 0.2 * whole
    fine = draw(torch.linspace(0.5, 0.5 + 1 / 6400, 2))
    assert (fine[1] - fine[0]).abs().mean() < 0.05 * steps.max()  # a hundredth of the step: about a hundredth of the change


def test_every_layer_uses_the_class_of_its_own_copy():
    G = make_hyper(make_source())
    ws = G.mapping(torch.randn(2, G.z_dim), labels(0, 1)).detach()
    other = G.mapping(torch.randn(2, G.z_dim), labels(2, 0)).detach()
    plain = block_features(G.synthesis, ws)
    block_of = [0, 1, 1, 2, 2]  # of each copy's convolution; the last copy belongs to an image layer
    for copy in range(G.num_ws):
        changed = ws.clone()
        changed[1, copy, G.synthesis.w_dim:] = other[1, copy, G.synthesis.w_dim:]  # the class code alone, of one image
        *features, image = block_features(G.synthesis, changed)
        first = block_of[copy] if copy < 5 else 3
        for block, (got, want) in enumerate(zip(features, plain, strict=False)):
            assert_near(got[0], want[0])
            assert (block < first) == torch.allclose(got[1], want[1], rtol=1e-5, atol=1e-5)
        assert (copy == 5) == torch.allclose(image, plain[-1], rtol=1e-5, atol=1e-5)


def test_style_mixing_across_classes_equals_layer_by_layer_images():
    """Copies of class 0 up to a crossover, of class 1 after it: the features before it are those of class 0."""
    G = make_hyper(make_source())
    z = torch.randn(3, G.z_dim)
    first, second = (G.mapping(z, labels(k, k, k)).detach() for k in (0, 1))
    mixed = torch.cat([first[:, :3], second[:, 3:]], dim=1)
    *features, image = block_features(G.synthesis, mixed)
    *wanted, plain = block_features(G.synthesis, first)
    assert_near(features[0], wanted[0])
    assert_near(features[1], wanted[1])
    assert not torch.allclose(image, plain, atol=1e-2)
    alone = torch.cat([G.synthesis(ws[None], noise_mode='const') for ws in mixed])
    assert_near(image, alone)


# --- ws ---

def test_ws_carry_the_code_behind_w():
    source = make_source()
    G = make_hyper(source)
    assert (G.w_dim, G.num_ws, G.mapping.w_avg.shape) == (source.w_dim + 4, source.num_ws, (source.w_dim + 4,))
    z, c = torch.randn(2, G.z_dim), labels(1, 0)
    ws = G.mapping(z, c)
    assert ws.shape == (2, G.num_ws, G.w_dim)
    assert torch.equal(ws[:, :, :source.w_dim], source.mapping(z, None))
    assert torch.equal(ws[:, :, source.w_dim:], G.mapping.class_code(c)[:, None].expand(-1, G.num_ws, -1))
    assert torch.equal(G(z, c, noise_mode='const'), G.synthesis(ws, noise_mode='const'))


@pytest.mark.parametrize('psi, cutoff', [(0.7, None), (-0.5, 1)])
def test_truncation_leaves_the_code_alone(psi, cutoff):
    source = make_source()
    G = make_hyper(source)
    z, c = torch.randn(3, G.z_dim), labels(0, 1, 2)
    truncated = G.mapping(z, c, truncation_psi=psi, truncation_cutoff=cutoff)
    w, v = truncated.split([source.w_dim, 4], dim=2)
    torch.testing.assert_close(w, source.mapping(z, None, truncation_psi=psi, truncation_cutoff=cutoff))
    assert torch.equal(v, G.mapping(z, c)[:, :, source.w_dim:])


def test_truncation_by_hand_as_other_tools_do_it():
    G = make_hyper(make_source())
    w_avg = G.mapping.w_avg
    assert not w_avg[-4:].any() and w_avg[:-4].all()
    ws = G.mapping(torch.randn(2, G.z_dim), labels(0, 1))
    by_hand = w_avg + 0.6 * (ws - w_avg)
    want = G.mapping.w_avg[:-4] + 0.6 * (ws[..., :-4] - G.mapping.w_avg[:-4])
    torch.testing.assert_close(by_hand[..., :-4], want)
    assert G.synthesis(by_hand, noise_mode='const').isfinite().all()


def test_gradients_of_ws_are_each_image_s_and_each_copy_s_own():
    """Against central differences along random directions in each image's and each copy's part, w's and the code's."""
    G = make_hyper(make_source()).requires_grad_(False)
    ws = G.mapping(torch.randn(3, G.z_dim), labels(1, 0, 1)).requires_grad_()
    target = torch.randn(3, 3, 16, 16)

    def loss(points):
        return (G.synthesis(points, noise_mode='const') * target).double().sum()

    gradient, = torch.autograd.grad(loss(ws), ws)
    step, w_dim = 3e-4, G.synthesis.w_dim  # a large step meets the kinks of the activations, a small one rounding
    for image in range(3):
        for copy in range(G.num_ws - 1):  # the last copy's code belongs to an image layer, which has none
            for part in (slice(0, w_dim), slice(w_dim, None)):
                direction = torch.zeros_like(ws)
                direction[image, copy, part].normal_()
                with torch.no_grad():
                    slope = (loss(ws + step * direction) - loss(ws - step * direction)) / (2 * step)
                allowed = 0.05 * float(gradient[image, copy, part].norm() * direction.norm())
                torch.testing.assert_close(slope, (gradient * direction).double().sum(), rtol=0, atol=allowed)


@pytest.mark.parametrize('shape', [(2, 6, 5), (2, 5, 9), (2, 9)])
def test_ws_of_another_shape_are_refused(shape):
    with pytest.raises(AssertionError, match=r'expected \[None, 6, 9\]'):
        make_hyper(make_source()).synthesis(torch.zeros(shape))


def test_the_running_mean_moves_only_with_finetune():
    source = make_source().train()
    z, c = torch.randn(8, source.z_dim), labels(*[0] * 8)
    frozen, tuned = make_hyper(source).train(), make_hyper(source, finetune=True).train()
    before = source.mapping.w_avg.clone()
    for G in (frozen, tuned):
        G.mapping(z, c, skip_w_avg_update=True)
        assert torch.equal(G.mapping.w_avg[:-4], before)
        G.mapping(z, c)
    source.mapping(z, None)
    assert torch.equal(frozen.mapping.w_avg[:-4], before)
    assert not torch.equal(source.mapping.w_avg, before)
    torch.testing.assert_close(tuned.mapping.w_avg[:-4], source.mapping.w_avg)


# --- what learns ---

def test_only_hypernetworks_and_class_code_are_parameters():
    source = make_source()
    G = make_hyper(source)
    assert all(is_new(name) for name, _parameter in G.named_parameters())
    assert dict(G.named_buffers()).keys() == tensors(source).keys()
    for name, tensor in tensors(source).items():
        assert torch.equal(dict(G.named_buffers())[name], tensor)
    modulated = {name.split('.hyper.')[0] for name, _parameter in G.named_parameters() if '.hyper.' in name}
    assert modulated == {'synthesis.b4.conv1', *(f'synthesis.b{res}.conv{i}' for res in (8, 16) for i in (0, 1))}


def test_finetune_frees_all_but_the_modulated_kernels():
    source = make_source()
    G = make_hyper(source, finetune=True)
    learning = {name for name, _parameter in G.named_parameters() if not is_new(name)}
    convolutions = {name for name, _parameter in source.named_parameters()
                    if '.conv' in name and '.affine.' not in name and name.endswith(('.weight', '.bias'))}
    assert learning == {name for name, _parameter in source.named_parameters()} - convolutions
    assert convolutions <= {name for name, _buffer in G.named_buffers()}


@pytest.mark.parametrize('rank', [0, 3])
def test_number_of_weights(rank):
    """d (2 O I + O) + (2 O I + O) per convolution, or R (O + I) in place of O I; the class code is a table and 4 squares."""
    source = make_source(resolution=8)
    G = make_hyper(source, rank=rank)
    expected = NUM_CLASSES * 4 + 4 * (4 * 4 + 4)
    for name, weight in source.named_parameters():
        if '.conv' in name and weight.ndim == 4:
            O, I = weight.shape[:2]
            expected += 5 * (2 * (rank * (O + I) if rank else O * I) + O)
    assert sum(math.prod(p.shape) for p in G.parameters()) == expected


def test_a_generator_without_classes_is_refused():
    with pytest.raises(ValueError, match='c_dim 0'):
        HyperGenerator(8, 0, 8, 8, 3)
