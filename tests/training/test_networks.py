"""Generator and discriminator: structure, sums over branches, precision, gradients, noise, styles, bad input."""
import numpy as np
import pytest
import scipy.signal
import torch

from training.networks import Discriminator, Generator, MappingNetwork

ARCHITECTURES = ['skip', 'resnet', 'orig']
SMALL = dict(channel_base=128, channel_max=16)  # 16, 16, 8, 4 channels at 4, 8, 16, 32


def make_generator(resolution=16, c_dim=0, **synthesis_kwargs):
    """A small generator whose noise strengths and biases are not zero."""
    G = Generator(z_dim=8, c_dim=c_dim, w_dim=6, img_resolution=resolution, img_channels=3, mapping_kwargs=dict(num_layers=2),
                  synthesis_kwargs=dict(SMALL, **synthesis_kwargs)).eval()
    for name, tensor in G.synthesis.named_parameters():
        if tensor.ndim < 2 and 'affine' not in name:
            tensor.data.normal_(std=0.3)
    return G


def make_discriminator(resolution=16, c_dim=0, **kwargs):
    return Discriminator(c_dim=c_dim, img_resolution=resolution, img_channels=3, **{**SMALL, **kwargs}).eval()


# Structure.

@pytest.mark.parametrize('architecture', ARCHITECTURES)
def test_blocks_channels_and_styles(architecture):
    G = make_generator(32, architecture=architecture)
    assert G.num_ws == G.synthesis.num_ws == 2 * 5 - 2
    assert [name for name, _ in G.synthesis.named_children()] == ['b4', 'b8', 'b16', 'b32']
    assert [G.synthesis.get_submodule(f'b{r}.conv1').weight.shape[0] for r in (4, 8, 16, 32)] == [16, 16, 8, 4]
    assert not hasattr(G.synthesis.b4, 'conv0')
    has_torgb = [hasattr(G.synthesis.get_submodule(f'b{r}'), 'torgb') for r in (4, 8, 16, 32)]
    assert has_torgb == ([True] * 4 if architecture == 'skip' else [False] * 3 + [True])
    assert hasattr(G.synthesis.b8, 'skip') == (architecture == 'resnet')
    assert G(torch.randn(2, 8), None).shape == (2, 3, 32, 32)
    D = make_discriminator(32, architecture=architecture)
    assert [name for name, _ in D.named_children()] == ['b32', 'b16', 'b8', 'b4']
    has_fromrgb = [hasattr(D.get_submodule(f'b{r}'), 'fromrgb') for r in (32, 16, 8, 4)]
    assert has_fromrgb == ([True] * 4 if architecture == 'skip' else [True] + [False] * 3)
    assert D(torch.randn(4, 3, 32, 32), None).shape == (4, 1)


def capture(module, call):
    """call() and the outputs of `module` during it."""
    outputs = []
    handle = module.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    result = call()
    handle.remove()
    return result, outputs


def test_skip_generator_adds_the_upsampled_images():
    G = make_generator()
    images = []
    for res in (4, 8, 16):
        G.synthesis.get_submodule(f'b{res}').torgb.register_forward_hook(lambda _m, _i, y: images.append(y.detach().numpy()))
    got = G(torch.randn(1, 8), None, noise_mode='const')
    want, fir = 0, np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 16  # times 4, for the zeros in between
    for image in images:
        if np.ndim(want):
            spread = np.zeros(image.shape)
            spread[:, :, ::2, ::2] = want
            spread = np.pad(spread, [(0, 0), (0, 0), (2, 1), (2, 1)])  # outputs 2i and 2i + 1 lie around input i
            want = scipy.signal.convolve(spread, fir[None, None], 'valid')
        want = want + image
    np.testing.assert_allclose(got.detach().numpy(), want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('cmap_dim', [None, 5])
def test_conditional_logit_is_an_inner_product(cmap_dim):
    D, c = make_discriminator(c_dim=3, cmap_dim=cmap_dim), torch.eye(3)
    cmap = D.mapping(None, c)
    assert cmap.shape == (3, cmap_dim or 16)
    logits, (features,) = capture(D.b4.out, lambda: D(torch.randn(3, 3, 16, 16), c))
    want = np.einsum('nd,nd->n', features.detach().numpy(), cmap.detach().numpy()) / np.sqrt(cmap.shape[1])
    np.testing.assert_allclose(logits[:, 0].detach().numpy(), want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('architecture, frozen', [
    ('resnet', ['b16.fromrgb', 'b16.conv0', 'b16.conv1', 'b16.skip', 'b8.conv0']),
    ('orig', ['b16.fromrgb', 'b16.conv0', 'b16.conv1', 'b8.conv0', 'b8.conv1']),
    ('skip', ['b16.fromrgb', 'b16.conv0', 'b16.conv1', 'b8.fromrgb', 'b8.conv0']),
])
def test_freezing_the_first_layers(architecture, frozen):
    free, D = (make_discriminator(architecture=architecture, block_kwargs=dict(freeze_layers=n)) for n in (0, 5))
    names = dict(free.named_parameters())
    want = {n for n in names if n.rpartition('.')[0] in frozen}
    assert set(names) - set(dict(D.named_parameters())) == want
    assert set(dict(D.named_buffers())) - set(dict(free.named_buffers())) == want
    D.load_state_dict(free.state_dict())
    img = torch.randn(2, 3, 16, 16)
    assert torch.equal(D(img, None), free(img, None))
    everything = make_discriminator(architecture=architecture, block_kwargs=dict(freeze_layers=99))
    assert {n.split('.')[0] for n in dict(everything.named_parameters())} == {'b4'}


# Precision and memory layout.

@pytest.mark.parametrize('half_type, tolerance', [('float16', 0.02), ('bfloat16', 0.15)])  # some ten roundings of 2^-11 and 2^-8
@pytest.mark.parametrize('architecture', ARCHITECTURES)
@pytest.mark.parametrize('channels_last', [True, False])
def test_half_precision_is_near_float32(architecture, half_type, tolerance, channels_last):
    half = dict(architecture=architecture, num_fp16_res=1, conv_clamp=256)
    block = dict(fp16_channels_last=channels_last, half_type=half_type)
    G, D = make_generator(**half, **block), make_discriminator(**half, block_kwargs=block)
    z, dtype = torch.randn(4, 8), getattr(torch, half_type)
    img, (top,) = capture(G.synthesis.b16.conv1, lambda: G(z, None, noise_mode='const'))
    logits, (first,) = capture(D.b16.conv0, lambda: D(img, None))
    assert top.dtype == first.dtype == dtype and img.dtype == logits.dtype == torch.float32
    exact_img, (top,) = capture(G.synthesis.b16.conv1, lambda: G(z, None, noise_mode='const', force_fp32=True))
    exact_logits, (first,) = capture(D.b16.conv0, lambda: D(img, None, force_fp32=True))
    assert top.dtype == first.dtype == torch.float32
    assert 0 < (img - exact_img).abs().max() < tolerance * exact_img.abs().max()
    assert 0 < (logits - exact_logits).abs().max() < tolerance * (exact_logits.abs().max() + 1)


def test_which_blocks_run_in_half_precision():
    def flags(num_fp16_res):
        return [block.use_fp16 for block in make_generator(32, num_fp16_res=num_fp16_res).synthesis.children()]

    assert flags(0) == [False] * 4
    assert flags(2) == [False, False, True, True]
    assert flags(9) == [False, True, True, True]  # never 4x4


@pytest.mark.parametrize('architecture', ARCHITECTURES)
@pytest.mark.parametrize('count', [1, 3])
def test_fused_and_unfused_gradients_agree(architecture, count):
    """In evaluation mode convolutions are fused; PyTorch 2.13 once gave ToRGB wrong weight gradients there."""
    G = make_generator(architecture=architecture)
    ws, target, grads = G.mapping(torch.randn(count, 8), None).detach(), torch.randn(count, 3, 16, 16), []
    for fused in (None, False):
        img = G.synthesis(ws, noise_mode='const', fused_modconv=fused)
        grads.append(torch.autograd.grad((img * target).sum(), list(G.synthesis.parameters())))
    for fused, unfused in zip(*grads, strict=True):
        assert (fused - unfused).norm() < 1e-4 * unfused.norm()


# Noise and styles.

def test_noise_modes():
    G, z = make_generator(), torch.randn(2, 8)
    torch.manual_seed(1)
    images = {mode: [G(z, None, noise_mode=mode) for _ in range(2)] for mode in ('const', 'none', 'random')}
    assert torch.equal(*images['const']) and torch.equal(*images['none'])

    def distance(a, b):
        return (a - b).abs().mean()

    assert distance(*images['random']) > 0.01
    assert distance(images['const'][0], images['none'][0]) > 0.01
    assert distance(*G(z[:1].repeat(2, 1), None, noise_mode='random')) > 0.01, 'each image has noise of its own'
    silent = make_generator(use_noise=False)
    assert torch.equal(silent(z, None), silent(z, None))
    assert not any('noise' in name for name in silent.state_dict())


def test_a_style_reaches_its_own_layer_and_those_after():
    G = make_generator(32)
    ws = torch.randn(1, G.num_ws, 6, requires_grad=True)
    sums = []
    for res in (4, 8, 16, 32):
        G.synthesis.get_submodule(f'b{res}').register_forward_hook(lambda _m, _i, y: sums.append((y[0].sum(), y[1].sum())))
    G.synthesis(ws, noise_mode='const')
    for i, (features, image) in enumerate(sums):
        for value, last in ((features, 2 * i), (image, 2 * i + 1)):  # a block's image layer uses one style more
            grad, = torch.autograd.grad(value, ws, retain_graph=True)
            assert (grad[0].abs().sum(dim=1) > 0).nonzero().flatten().tolist() == list(range(last + 1))


# Bad input.

@pytest.mark.parametrize('make', [make_generator, make_discriminator])
def test_unknown_architecture(make):
    with pytest.raises(ValueError, match="architecture is 'unet'; expected 'orig', 'skip' or 'resnet'"):
        make(architecture='unet')


@pytest.mark.parametrize('make', [make_generator, make_discriminator])
@pytest.mark.parametrize('resolution', [2, 24])
def test_resolution_must_be_a_power_of_two(make, resolution):
    with pytest.raises(ValueError, match=f'img_resolution is {resolution}; expected a power of two'):
        make(resolution)


def test_shapes_are_checked():
    G, D = make_generator(c_dim=3), make_discriminator()
    with pytest.raises(AssertionError, match='tensor has shape'):
        G.synthesis(torch.randn(1, G.num_ws + 1, 6))
    with pytest.raises(AssertionError, match='tensor has shape'):
        G(torch.randn(1, 8), torch.randn(1, 2))
    with pytest.raises(AssertionError, match='tensor has shape'):
        D(torch.randn(1, 3, 8, 8), None)
    with pytest.raises(ValueError, match="noise_mode is 'fixed'; expected 'random', 'const' or 'none'"):
        G(torch.randn(1, 8), torch.randn(1, 3), noise_mode='fixed')
    with pytest.raises(TypeError, match='num_layer'):
        MappingNetwork(5, 0, w_dim=6, num_ws=4, num_layer=2)
