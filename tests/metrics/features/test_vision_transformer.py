"""metrics/features/vision_transformer.py against torch's own transformer layers and a resize by scipy."""
import re
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from metrics.features.vision_transformer import (
    IMAGE_SIZE,
    MAX_BYTES,
    PIXEL_MEAN,
    PIXEL_STD,
    VisionTransformer,
    load_vision_transformer,
)


def random_weights(width=64, depth=2, patch=14, grid=5, hidden=None):
    """Weights under the published names, of another size."""
    network = VisionTransformer(width, depth, hidden or 4 * width, patch, grid)
    generator = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(value.shape, generator=generator) / max(value.shape[-1], 4) ** 0.5
               for name, value in network.state_dict().items()}
    return {**weights, 'mask_token': torch.zeros(1, width)}


@pytest.fixture
def network(tmp_path):
    torch.save(random_weights(width=128), tmp_path / 'weights.pth')
    return load_vision_transformer(tmp_path / 'weights.pth')


def test_names_and_shapes_are_the_published_ones():
    """Of ViT-S/14: 21 M parameters in all, and these tensors."""
    with torch.device('meta'):
        shapes = {name: tuple(value.shape) for name, value in VisionTransformer(384, 12, 1536, 14, 37).state_dict().items()}
    want = {
        'cls_token': (1, 1, 384), 'pos_embed': (1, 1370, 384), 'patch_embed.proj.weight': (384, 3, 14, 14),
        'patch_embed.proj.bias': (384,), 'norm.weight': (384,), 'norm.bias': (384,),
    }
    block = {
        'norm1.weight': (384,), 'norm1.bias': (384,), 'attn.qkv.weight': (1152, 384), 'attn.qkv.bias': (1152,),
        'attn.proj.weight': (384, 384), 'attn.proj.bias': (384,), 'ls1.gamma': (384,), 'norm2.weight': (384,),
        'norm2.bias': (384,), 'mlp.fc1.weight': (1536, 384), 'mlp.fc1.bias': (1536,), 'mlp.fc2.weight': (384, 1536),
        'mlp.fc2.bias': (384,), 'ls2.gamma': (384,),
    }
    assert shapes == want | {f'blocks.{i}.{name}': shape for i in range(12) for name, shape in block.items()}


def by_torch_layers(weights, x, num_heads):
    """The same with torch.nn.TransformerEncoderLayer, whose output projections take up the factors of LayerScale."""
    width = weights['cls_token'].shape[-1]
    patches = torch.nn.functional.unfold(x, 14, stride=14).transpose(1, 2)     # [N, T - 1, 3 * 14 * 14]
    proj = weights['patch_embed.proj.weight'].flatten(1)
    tokens = patches @ proj.T + weights['patch_embed.proj.bias']
    tokens = torch.cat([weights['cls_token'].expand(len(x), -1, -1), tokens], 1) + weights['pos_embed']
    for i in range(2):
        own = {name.removeprefix(f'blocks.{i}.'): value for name, value in weights.items() if name.startswith(f'blocks.{i}.')}
        layer = torch.nn.TransformerEncoderLayer(width, num_heads, 4 * width, dropout=0, activation='gelu', layer_norm_eps=1e-6,
                                                 batch_first=True, norm_first=True)
        layer.load_state_dict({
            'self_attn.in_proj_weight': own['attn.qkv.weight'], 'self_attn.in_proj_bias': own['attn.qkv.bias'],
            'self_attn.out_proj.weight': own['ls1.gamma'][:, None] * own['attn.proj.weight'],
            'self_attn.out_proj.bias': own['ls1.gamma'] * own['attn.proj.bias'],
            'linear1.weight': own['mlp.fc1.weight'], 'linear1.bias': own['mlp.fc1.bias'],
            'linear2.weight': own['ls2.gamma'][:, None] * own['mlp.fc2.weight'],
            'linear2.bias': own['ls2.gamma'] * own['mlp.fc2.bias'],
            **{f'norm{n}.{part}': own[f'norm{n}.{part}'] for n in (1, 2) for part in ('weight', 'bias')},
        })
        tokens = layer.train()(tokens)     # without dropout the same as in evaluation, and never torch's fused path
    return torch.nn.functional.layer_norm(tokens, [width], weights['norm.weight'], weights['norm.bias'], 1e-6)[:, 0]


def test_matches_torch_layers(network):
    x = torch.randn(3, 3, 5 * 14, 5 * 14)
    with torch.no_grad():
        torch.testing.assert_close(network(x), by_torch_layers(random_weights(width=128), x, num_heads=2), rtol=1e-4, atol=1e-4)


def cubic_resampled(values, num, scale):
    """Cubic convolution (Keys 1981) with a = -0.75, as in torch and OpenCV: output i lies at (i + 1/2) / scale - 1/2."""
    a, out = -0.75, []
    for i in range(num):
        at = (i + 0.5) / scale - 0.5
        total = 0
        for k in range(int(np.floor(at)) - 1, int(np.floor(at)) + 3):
            d = abs(at - k)
            weight = (a + 2) * d**3 - (a + 3) * d**2 + 1 if d <= 1 else a * (d**3 - 5 * d**2 + 8 * d - 4)
            total += weight * values[min(max(k, 0), len(values) - 1)]
        out.append(total)
    return np.array(out)


def test_positions_of_another_size_are_resampled(network):
    """Along each side by (patches + 0.1) / 5, as the published model does."""
    x, y = np.random.default_rng(0).normal(size=(2, 5))
    plane = torch.from_numpy(np.outer(x, y).astype(np.float32)).flatten()
    network.pos_embed = torch.nn.Parameter(torch.cat([torch.full([1], -7.0), plane])[None, :, None].expand(1, 26, 128).clone())
    got = network.positions(16, 10).detach()
    assert got.shape == (1, 161, 128) and (got[0, 0] == -7).all()
    want = np.outer(cubic_resampled(x, 16, 16.1 / 5), cubic_resampled(y, 10, 10.1 / 5))
    np.testing.assert_allclose(got[0, 1:, 5].reshape(16, 10), want, atol=1e-5)
    assert torch.equal(network.positions(5, 5), network.pos_embed)


def test_embedding_resizes_and_normalises(network):
    """A flat image stays flat, whatever its size: what comes to the patches is (level / 255 - mean) / std."""
    level = torch.tensor([0, 100, 255], dtype=torch.uint8)
    images = level[None, :, None, None].expand(2, 3, 32, 32)
    flat = ((level / 255 - torch.tensor(PIXEL_MEAN)) / torch.tensor(PIXEL_STD))[None, :, None, None]
    with torch.no_grad():
        want = network(flat.expand(2, 3, IMAGE_SIZE, IMAGE_SIZE))
        torch.testing.assert_close(network.embed(images), want, rtol=1e-4, atol=1e-4)
        assert network.embed(images).shape == (2, 128)


def test_frozen_and_float32(tmp_path):
    torch.save({name: value.half() for name, value in random_weights().items()}, tmp_path / 'half.pth')
    network = load_vision_transformer(tmp_path / 'half.pth')
    assert not network.training
    assert all(p.dtype == torch.float32 and not p.requires_grad for p in network.parameters())


def test_loading_draws_no_random_numbers(tmp_path):
    torch.save(random_weights(), tmp_path / 'weights.pth')
    state = torch.random.get_rng_state()
    load_vision_transformer(tmp_path / 'weights.pth')
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize('spoil', [
    lambda w: w.pop('norm.bias'),
    lambda w: w.update(register_tokens=torch.zeros(1, 4, 64)),
    lambda w: [w.pop(name) for name in list(w) if name.startswith('blocks.')],
    lambda w: w.update({'blocks.0.mlp.w12.weight': w.pop('blocks.0.mlp.fc1.weight')}),     # ViT-g
    lambda w: w.update({'blocks.999999999.ls1.gamma': torch.zeros(64)}),    # not a network of a thousand million layers
    lambda w: w.update(pos_embed=torch.zeros(26)), lambda w: w.update({5: torch.zeros(1)}),
])
def test_other_weights_are_one_line(spoil, tmp_path):
    weights = random_weights()
    spoil(weights)
    torch.save(weights, tmp_path / 'other.pth')
    with pytest.raises(ValueError, match=r'other.pth does not hold the weights') as error:
        load_vision_transformer(tmp_path / 'other.pth')
    assert '\n' not in str(error.value)


def repack(path, compression):
    """Write the same records again as another zip."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w', compression) as archive:
        for name, content in records.items():
            archive.writestr(name, content)


def test_compressed_weights_are_not_unpacked(tmp_path):
    torch.save(random_weights(), tmp_path / 'small.pth')
    repack(tmp_path / 'small.pth', zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match=r'small\.pth .*compressed records'):
        load_vision_transformer(tmp_path / 'small.pth')


def test_weights_that_are_larger_than_their_file(tmp_path):
    """Shapes fit each other, and strides of 0 repeat one number: in float32 they would take 4 GiB."""
    one, hidden = torch.zeros(1, dtype=torch.float16), 2**23
    weights = random_weights() | {'blocks.0.mlp.fc1.weight': one.expand(hidden, 64), 'blocks.0.mlp.fc1.bias': one.expand(hidden),
                                  'blocks.0.mlp.fc2.weight': one.expand(64, hidden)}
    torch.save({name: value for name, value in weights.items() if not name.startswith('blocks.1.')}, tmp_path / 'large.pth')
    assert (tmp_path / 'large.pth').stat().st_size < 2**20
    with pytest.raises(ValueError, match=f'bytes in float32, expected at most {MAX_BYTES}'):
        load_vision_transformer(tmp_path / 'large.pth')


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='asks /proc for the peak of memory')
def test_other_weights_are_not_read(tmp_path):
    """Wrong ones of 256 MiB take no such memory before they are refused."""
    torch.save(random_weights() | {'head.weight': torch.zeros(2**26)}, tmp_path / 'other.pth')
    Path('/proc/self/clear_refs').write_text('5')   # the peak begins anew
    before = memory_kib('VmRSS')
    with pytest.raises(ValueError, match=r'head\.weight'):
        load_vision_transformer(tmp_path / 'other.pth')
    assert memory_kib('VmHWM') - before < 2**15


def memory_kib(kind):
    return int(re.search(rf'{kind}:\s+(\d+) kB', Path('/proc/self/status').read_text())[1])


def test_code_in_the_file_is_not_run(tmp_path, canary):
    class Evil:
        def __reduce__(self):
            return open, (str(canary), 'w')

    torch.save({'cls_token': Evil()}, tmp_path / 'evil.pth')
    with pytest.raises(ValueError, match=r'evil\.pth'):
        load_vision_transformer(tmp_path / 'evil.pth')


@pytest.mark.parametrize('size', [32, 300])
def test_images_are_resized_as_pillow_does(size):
    """Bicubic, over all pixels where the image shrinks; what it overshoots is cut."""
    seen = []
    network = VisionTransformer(64, 1, 64, 14, 16)
    network.forward = lambda x: seen.append(x) or x
    levels = np.random.default_rng(0).choice([0, 100, 255], size=[size, size]).astype(np.uint8)
    network.embed(torch.from_numpy(levels)[None, None].expand(1, 3, -1, -1))
    image = Image.fromarray(levels.astype(np.float32)).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC)
    got = (seen[0][0, 2] * PIXEL_STD[2] + PIXEL_MEAN[2]) * 255
    np.testing.assert_allclose(got, np.asarray(image).clip(0, 255), atol=1e-2)      # float32
