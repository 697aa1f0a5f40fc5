"""The vision transformer of DINOv2 (Dosovitskiy et al. 2020, arXiv:2010.11929; Oquab et al. 2023, arXiv:2304.07193).

    x_0 = [class token, patches] + positions
    x  <- x + gamma_1 * attention(norm(x)),   x <- x + gamma_2 * mlp(norm(x))
    feature = class token of norm(x_L)

Parameters have the names of the published weights, which say all sizes but that of a head, 64.
Shapes: N images, T tokens, D width.
"""
import os
import pickle
import re
import warnings

import torch
import torch.nn.functional as F

from dnnlib.archives import check_archive

HEAD_SIZE = 64
NORM_EPSILON = 1e-6
IMAGE_SIZE = 224  # 16 x 16 patches of 14; what Stein et al. 2023 (arXiv:2306.04675) measure distances with
OFFSET = 0.1  # patches that the published model adds to the size to which it resamples positions
MAX_BYTES = 2 * 2**30  # of weights in float32; those of ViT-L have 1.2e9
PIXEL_MEAN, PIXEL_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, in [0, 1]


class LayerScale(torch.nn.Module):
    """Each of D channels times a learnt factor."""

    def __init__(self, width: int):
        super().__init__()
        self.gamma = torch.nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gamma


class Attention(torch.nn.Module):
    """Self-attention of several heads. [N, T, D] -> the same shape."""

    def __init__(self, width: int, head_size: int):
        super().__init__()
        self.num_heads = width // head_size
        self.qkv = torch.nn.Linear(width, 3 * width)
        self.proj = torch.nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1))
        mixed = F.scaled_dot_product_attention(q, k, v)  # [N, heads, T, head size]
        return self.proj(mixed.transpose(1, 2).flatten(2))


class Mlp(torch.nn.Module):
    """Two layers with a GELU between."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.fc1 = torch.nn.Linear(width, hidden)
        self.fc2 = torch.nn.Linear(hidden, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(torch.nn.Module):
    """One layer of the transformer. [N, T, D] -> the same shape."""

    def __init__(self, width: int, hidden: int, head_size: int):
        super().__init__()
        self.norm1 = torch.nn.LayerNorm(width, eps=NORM_EPSILON)
        self.attn = Attention(width, head_size)
        self.ls1 = LayerScale(width)
        self.norm2 = torch.nn.LayerNorm(width, eps=NORM_EPSILON)
        self.mlp = Mlp(width, hidden)
        self.ls2 = LayerScale(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class PatchEmbed(torch.nn.Module):
    """Each patch of pixels to a token. [N, 3, H, W] -> [N, D, H / patch, W / patch]."""

    def __init__(self, width: int, patch: int):
        super().__init__()
        self.proj = torch.nn.Conv2d(3, width, patch, stride=patch)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.proj(x)


class VisionTransformer(torch.nn.Module):
    """grid: patches along each side that positions were learnt for."""

    def __init__(self, width: int, depth: int, hidden: int, patch: int, grid: int, head_size: int = HEAD_SIZE):
        super().__init__()
        self.grid = grid
        self.cls_token = torch.nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = torch.nn.Parameter(torch.zeros(1, 1 + grid**2, width))
        self.patch_embed = PatchEmbed(width, patch)
        self.blocks = torch.nn.ModuleList(Block(width, hidden, head_size) for _ in range(depth))
        self.norm = torch.nn.LayerNorm(width, eps=NORM_EPSILON)

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 [N, 3, H, W], resized to 224x224 -> float32 [N, D]."""
        x = F.interpolate(images.to(torch.float32), (IMAGE_SIZE, IMAGE_SIZE), mode='bicubic', antialias=True)
        x = x.clamp(0, 255) / 255
        return self((x - x.new_tensor(PIXEL_MEAN)[:, None, None]) / x.new_tensor(PIXEL_STD)[:, None, None])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised images, float [N, 3, H, W], sides multiples of the patch -> the class token's feature [N, D]."""
        patches = self.patch_embed(x)
        tokens = patches.flatten(2).transpose(1, 2)  # [N, T - 1, D]
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), tokens], dim=1)
        tokens = tokens + self.positions(patches.shape[2], patches.shape[3])
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)[:, 0]

    def positions(self, height: int, width: int) -> torch.Tensor:
        """[1, 1 + height * width, D]: the learnt positions, resampled for that many patches."""
        if height == width == self.grid:
            return self.pos_embed
        first, rest = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        rest = rest.transpose(1, 2).unflatten(2, (self.grid, self.grid))  # [1, D, grid, grid]
        scale = ((height + OFFSET) / self.grid, (width + OFFSET) / self.grid)
        rest = F.interpolate(rest, scale_factor=scale, mode='bicubic')
        return torch.cat([first, rest.flatten(2).transpose(1, 2)], dim=1)


def load_vision_transformer(path: str | os.PathLike[str]) -> VisionTransformer:
    """The network of a file of published weights (ViT-S, B or L, without registers), frozen. ValueError if it is another.

    The file is mapped, so that weights take memory only once their names and shapes fit.
    """
    try:
        check_archive(path)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', UserWarning)  # of a file of TorchScript: the error says enough
            weights = torch.load(path, map_location='cpu', weights_only=True, mmap=True)
        declared = sum(value.numel() for value in weights.values()) * torch.float32.itemsize
        if declared > MAX_BYTES:
            raise ValueError(f'its tensors have {declared} bytes in float32, expected at most {MAX_BYTES}')
        weights = {name: value for name, value in weights.items() if name != 'mask_token'}  # which only training uses
        width, _, patch, _ = weights['patch_embed.proj.weight'].shape
        depth = len({match[1] for name in weights if (match := re.match(r'blocks\.(\d+)\.', name))})
        grid = round((weights['pos_embed'].shape[1] - 1) ** 0.5)
        with torch.device('meta'):  # neither memory nor random numbers
            network = VisionTransformer(width, depth, weights['blocks.0.mlp.fc1.weight'].shape[0], patch, grid)
        network.load_state_dict(weights, assign=True)
    except (pickle.UnpicklingError, RuntimeError, LookupError, TypeError, ValueError, AttributeError, EOFError) as error:
        reason = ' '.join(str(error).split()).partition('. ')[0][:200]
        raise ValueError(f'{path} does not hold the weights of a DINOv2 ViT-S, B or L without registers ({reason})') from error
    return network.float().eval().requires_grad_(False)
