"""Augmentation of discriminator inputs that doesn't leak into the generator (ADA).

Karras et al. 2020, "Training generative adversarial networks with limited data" (arXiv:2006.06676), section 2 and
appendix B. Each transformation is drawn per image and happens with probability `multiplier * p`; p is one number for the
whole pipe, adapted during training. Everything is differentiable twice with respect to the images.

Snapshots contain the text of this file, and other codebases run it, so it imports only `torch_utils` and uses only Python 3.7
and PyTorch 1.9.

Shapes: N images, C channels, H height, W width. Positions are in pixels from the image's centre, x to the right, y down.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace

import numpy as np
import torch

from torch_utils import persistence

try:
    from torch_utils.ops import grid_sample_gradfix, upfirdn2d
except ModuleNotFoundError:  # a host may use pkg_resources, which setuptools dropped, to read PyTorch's version
    sys.modules['pkg_resources'] = SimpleNamespace(parse_version=torch.torch_version.TorchVersion)
    from torch_utils.ops import grid_sample_gradfix, upfirdn2d
    del sys.modules['pkg_resources']

# Low-pass analysis filters of the symlets with 2 and 6 vanishing moments (Daubechies 1992, "Ten lectures on wavelets", ch. 8).
SYM2 = [-0.12940952255092145, 0.22414386804185735, 0.836516303737469, 0.48296291314469025]
SYM6 = [0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633, 0.4910559419267466,
        0.787641141030194, 0.3379294217276218, -0.07263752278646252, -0.021060292512300564, 0.04472490177066578,
        0.0017677118642428036, -0.007800708325034148]

BAND_POWER = [10 / 13, 1 / 13, 1 / 13, 1 / 13]      # of natural images (power falls as 1/f), in the bands of `filter_bank`

_blit = dict(xflip=1, rotate90=1, xint=1)
_geom = dict(scale=1, rotate=1, aniso=1, xfrac=1)
_color = dict(brightness=1, contrast=1, lumaflip=1, hue=1, saturation=1)
_filter, _noise, _cutout = dict(imgfilter=1), dict(noise=1), dict(cutout=1)

# Presets: multipliers by name. The paper recommends 'bgc'.
augpipe_specs: dict[str, dict] = {
    'blit': _blit, 'geom': _geom, 'color': _color, 'filter': _filter, 'noise': _noise, 'cutout': _cutout,
    'bg': {**_blit, **_geom},
    'bgc': {**_blit, **_geom, **_color},
    'bgcf': {**_blit, **_geom, **_color, **_filter},
    'bgcfn': {**_blit, **_geom, **_color, **_filter, **_noise},
    'bgcfnc': {**_blit, **_geom, **_color, **_filter, **_noise, **_cutout},
}


def filter_bank() -> np.ndarray:
    """Four zero-phase filters that add up to a unit impulse: [4, 43], from the lowest octave to the highest.

    With L, H the power responses of sym2's low- and high-pass, halved (L + H = 1), the bands are
    L(z)L(z^2)L(z^4), L(z)L(z^2)H(z^4), L(z)H(z^2), H(z).
    """
    low = np.convolve(SYM2, SYM2[::-1]) / 2                                 # [7]
    high = low * [-1, 1, -1, 1, -1, 1, -1]                                  # z -> -z; the middle tap is number 3
    # z -> z^n puts n - 1 zeros between the taps.
    low2, low4, high2, high4 = (np.kron(taps, np.eye(n)[0])[:1 - n] for taps in (low, high) for n in (2, 4))
    octave = np.convolve(low, low2)
    bands = [np.convolve(octave, low4), np.convolve(octave, high4), np.convolve(low, high2), high]
    return np.stack([np.pad(band, (len(bands[0]) - len(band)) // 2) for band in bands])


class _Draws:
    """Random parameters [N, size] for the images of a batch; with a percentile, that quantile of the distribution instead."""

    def __init__(self, images: torch.Tensor, p: torch.Tensor, percentile: float | None):
        self.num, self.p, self.percentile = images.shape[0], p, percentile
        self.form = dict(device=images.device, dtype=images.dtype)

    def uniform(self, low: float = 0, high: float = 1, size: int = 1) -> torch.Tensor:
        return low + (high - low) * self._draw(torch.rand, self.percentile, size)

    def normal(self, std: float = 1, size: int = 1) -> torch.Tensor:
        return std * self._draw(torch.randn, self.percentile and _erfinv(2 * self.percentile - 1), size)

    def half_normal(self, std: float = 1) -> torch.Tensor:
        return std * self._draw(torch.randn, self.percentile and _erfinv(self.percentile), 1).abs()

    def maybe(self, multiplier: float | torch.Tensor, value: torch.Tensor, otherwise: float) -> torch.Tensor:
        """`value` for each image with probability multiplier * p (always in percentile mode), else `otherwise`."""
        if self.percentile is not None:
            return value
        return torch.where(torch.rand([self.num, 1], **self.form) < multiplier * self.p, value, otherwise)

    def _draw(self, sample: Callable[..., torch.Tensor], quantile: float | None, size: int) -> torch.Tensor:
        return (sample if quantile is None else partial(torch.full, fill_value=quantile))([self.num, size], **self.form)


def _erfinv(x: float) -> float:
    """The quantile of a normal distribution in percentile mode, without the usual factor sqrt(2)."""
    return torch.tensor(x, dtype=torch.float64).erfinv().item()


@persistence.persistent_class
class AugmentPipe(torch.nn.Module):
    """The transformations, each with a multiplier of its probability (0: off) and settings for its strength.

    Pixels: xflip (mirror), rotate90 (quarter turns), xint (whole-pixel shift up to `xint_max` of the size).
    Geometry: scale, aniso (log2 deviations `scale_std`, `aniso_std`), rotate (up to `rotate_max` half turns), xfrac
    (shift, deviation `xfrac_std` of the size).
    Colour: brightness (`brightness_std`), contrast (log2 `contrast_std`), lumaflip, hue (up to `hue_max` half turns),
    saturation (log2 `saturation_std`).
    Other: imgfilter (gains of four octaves, log2 `imgfilter_std`, multipliers `imgfilter_bands`), noise (`noise_std`), cutout
    (a square of `cutout_size` of the image).
    """

    def __init__(self, xflip: float = 0, rotate90: float = 0, xint: float = 0, xint_max: float = 0.125,
                 scale: float = 0, rotate: float = 0, aniso: float = 0, xfrac: float = 0,
                 scale_std: float = 0.2, rotate_max: float = 1, aniso_std: float = 0.2, xfrac_std: float = 0.125,
                 brightness: float = 0, contrast: float = 0, lumaflip: float = 0, hue: float = 0, saturation: float = 0,
                 brightness_std: float = 0.2, contrast_std: float = 0.5, hue_max: float = 1, saturation_std: float = 1,
                 imgfilter: float = 0, imgfilter_bands: Sequence[float] = (1, 1, 1, 1), imgfilter_std: float = 1,
                 noise: float = 0, cutout: float = 0, noise_std: float = 0.1, cutout_size: float = 0.5):
        settings = {name: value for name, value in locals().items() if name not in ('self', '__class__')}
        super().__init__()
        if len(imgfilter_bands) != len(BAND_POWER):
            raise ValueError(f'imgfilter_bands needs {len(BAND_POWER)} multipliers: got {list(imgfilter_bands)}')
        for name, value in settings.items():
            setattr(self, name, list(value) if name == 'imgfilter_bands' else float(value))
        self.register_buffer('p', torch.ones([]))       # overall probability
        self.register_buffer('Hz_geom', upfirdn2d.setup_filter(SYM6))
        self.register_buffer('Hz_fbank', torch.as_tensor(filter_bank(), dtype=torch.float32))

    def forward(self, images: torch.Tensor, debug_percentile: float | None = None) -> torch.Tensor:
        """Augment images [N, C, H, W], float32 or float64, of any range, with random numbers of the device's global generator.

        debug_percentile: in (0, 1); uses this quantile of every parameter instead of random numbers, and ignores p.
        ValueError for images of another shape, colour transformations on other than 1 or 3 channels, a percentile out of range.
        """
        if debug_percentile is not None and not 0 < debug_percentile < 1:
            raise ValueError(f'debug_percentile must lie between 0 and 1: got {debug_percentile}')
        if images.ndim != 4 or not images.is_floating_point():
            raise ValueError(f'expected float images [N, C, H, W]: got {images.dtype} of shape {list(images.shape)}')
        draws = _Draws(images, self.p, debug_percentile)
        for step in (self._move, self._recolor, self._filter_bands, self._add_noise, self._cut_out):
            images = step(images, draws)
        return images

    def _move(self, images: torch.Tensor, draws: _Draws) -> torch.Tensor:
        """All geometric steps, carried out once."""
        if not any([self.xflip, self.rotate90, self.xint, self.scale, self.rotate, self.aniso, self.xfrac]):
            return images
        linear, shift = self._inverse_map(images, draws)
        moved = ((linear != torch.eye(2, **draws.form)).any(2).any(1) | (shift != 0).any(1)).nonzero().squeeze(1)
        if len(moved) == 0:         # warping by the identity returns the image, since the wavelet is orthonormal
            return images
        return images.index_copy(0, moved, warp(images[moved], linear[moved], shift[moved], self.Hz_geom))

    def _inverse_map(self, images: torch.Tensor, draws: _Draws) -> tuple[torch.Tensor, torch.Tensor]:
        """L [N, 2, 2] and s [N, 2]: position v of the result shows position L v + s of the image.

        A step that maps v to B v changes L to L B^-1; a step that maps v to v + d changes s to s - L d.
        """
        linear, shift = torch.eye(2, **draws.form).repeat(draws.num, 1, 1), torch.zeros([draws.num, 2], **draws.form)
        size = torch.tensor([images.shape[3], images.shape[2]], **draws.form)
        if self.xflip > 0:
            sign = draws.maybe(self.xflip, 1 - 2 * draws.uniform(0, 2).floor(), 1)
            linear = linear * torch.cat([sign, torch.ones_like(sign)], 1)[:, None]
        if self.rotate90 > 0:
            linear = linear @ _undo_rotation(draws.maybe(self.rotate90, draws.uniform(0, 4).floor(), 0) * (math.pi / 2))
        if self.xint > 0:
            share = draws.maybe(self.xint, draws.uniform(-self.xint_max, self.xint_max, size=2), 0)
            shift = shift - (linear @ (share * size).round()[:, :, None]).squeeze(2)
        if self.scale > 0:
            linear = linear / draws.maybe(self.scale, draws.normal(self.scale_std).exp2(), 1)[:, None]
        if self.rotate > 0:
            linear = linear @ _undo_rotation(self._angle(draws))
        if self.aniso > 0:
            factor = draws.maybe(self.aniso, draws.normal(self.aniso_std).exp2(), 1)
            linear = linear * torch.cat([1 / factor, factor], 1)[:, None]
        if self.rotate > 0 and draws.percentile is None:
            linear = linear @ _undo_rotation(self._angle(draws))
        if self.xfrac > 0:
            share = draws.maybe(self.xfrac, draws.normal(self.xfrac_std, size=2), 0)
            shift = shift - (linear @ (share * size)[:, :, None]).squeeze(2)
        return linear, shift

    def _angle(self, draws: _Draws) -> torch.Tensor:
        """The angle of one of two rotations, each with probability P, so that any happens with probability rotate * p:
        (1 - P)^2 = 1 - rotate p."""
        happens = draws.uniform() < 1 - (1 - self.rotate * self.p).clamp(min=0).sqrt()
        limit = math.pi * self.rotate_max
        return draws.uniform(-limit, limit) * (happens if draws.percentile is None else 1)

    def _recolor(self, images: torch.Tensor, draws: _Draws) -> torch.Tensor:
        """All colour steps: rgb -> M rgb + t."""
        if not any([self.brightness, self.contrast, self.lumaflip, self.hue, self.saturation]):
            return images
        channels = images.shape[1]
        if channels not in (1, 3):
            raise ValueError(f'colour transformations need images of 1 or 3 channels: got {channels}; '
                             f'set brightness, contrast, lumaflip, hue and saturation to 0')
        offset, matrix = self._color_map(draws, with_hue=channels == 3)
        if channels == 1:       # a grey pixel as rgb, then the mean of the result
            matrix, offset = matrix.sum(2, keepdim=True).mean(1, keepdim=True), offset.mean(1, keepdim=True)
        return torch.baddbmm(offset, matrix, images.flatten(2)).reshape(images.shape)

    def _color_map(self, draws: _Draws, with_hue: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """t [N, 3, 1] and M [N, 3, 3]. Each step is applied to the result of the previous ones."""
        unit, grey = torch.eye(3, **draws.form), torch.full([3, 3], 1 / 3, **draws.form)    # grey: projection on (1, 1, 1)
        matrix, offset = unit.repeat(draws.num, 1, 1), torch.zeros([draws.num, 3, 1], **draws.form)
        if self.brightness > 0:
            offset = offset + draws.maybe(self.brightness, draws.normal(self.brightness_std), 0)[:, None]
        steps = []
        if self.contrast > 0:
            steps.append(unit * draws.maybe(self.contrast, draws.normal(self.contrast_std).exp2(), 1)[:, None])
        if self.lumaflip > 0:
            steps.append(unit - 2 * grey * draws.maybe(self.lumaflip, draws.uniform(0, 2).floor(), 0)[:, None])
        if self.hue > 0 and with_hue:       # Rodrigues' formula: with the cross product with the unit grey vector
            limit = math.pi * self.hue_max
            angle = draws.maybe(self.hue, draws.uniform(-limit, limit), 0)[:, None]
            cross = torch.tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], **draws.form) / math.sqrt(3)
            steps.append(grey + angle.cos() * (unit - grey) + angle.sin() * cross)
        if self.saturation > 0 and with_hue:
            factor = draws.maybe(self.saturation, draws.normal(self.saturation_std).exp2(), 1)[:, None]
            steps.append(grey + factor * (unit - grey))
        for step in steps:
            matrix, offset = step @ matrix, step @ offset
        return offset, matrix

    def _filter_bands(self, images: torch.Tensor, draws: _Draws) -> torch.Tensor:
        """Amplify or weaken octaves of frequency, keeping the expected power of a natural image."""
        if not self.imgfilter > 0:
            return images
        power = torch.tensor(BAND_POWER, **draws.form)
        gains = torch.ones([draws.num, len(BAND_POWER)], **draws.form)
        for band, multiplier in enumerate(self.imgfilter_bands):
            if multiplier > 0:
                gain = draws.maybe(self.imgfilter * multiplier, draws.normal(self.imgfilter_std).exp2(), 1)
                vector = torch.ones_like(gains)
                vector[:, band] = gain.squeeze(1)
                gains = gains * vector / (power * vector.square()).sum(1, keepdim=True).sqrt()
        filtered = (gains != 1).any(1).nonzero().squeeze(1)
        if len(filtered) == 0:      # the four bands add up to the image
            return images
        taps = gains[filtered] @ self.Hz_fbank.to(images.dtype)
        return images.index_copy(0, filtered, filter_reflected(images[filtered], taps))

    def _add_noise(self, images: torch.Tensor, draws: _Draws) -> torch.Tensor:
        if not self.noise > 0:
            return images
        sigma = draws.maybe(self.noise, draws.half_normal(self.noise_std), 0)
        return images + torch.randn_like(images) * sigma[:, :, None, None]

    def _cut_out(self, images: torch.Tensor, draws: _Draws) -> torch.Tensor:
        if not self.cutout > 0:
            return images
        reach = draws.maybe(self.cutout, torch.full([draws.num, 1], self.cutout_size / 2, **draws.form), 0)
        centre = draws.uniform(size=2)
        near = []       # [N, W] and [N, H]: whether a column, a row crosses the square
        for axis, size in enumerate([images.shape[3], images.shape[2]]):
            near.append(((torch.arange(size, **draws.form) + 0.5) / size - centre[:, axis, None]).abs() < reach)
        return images.masked_fill((near[1][:, :, None] & near[0][:, None])[:, None], 0)


def _undo_rotation(angle: torch.Tensor) -> torch.Tensor:
    """[N, 1] -> [N, 2, 2], the inverse of a rotation that is counter-clockwise on the screen (y points down)."""
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([cos, -sin, sin, cos], 1).reshape(-1, 2, 2)


def warp(images: torch.Tensor, linear: torch.Tensor, shift: torch.Tensor, lowpass: torch.Tensor) -> torch.Tensor:
    """Read the pixel at v from L v + s: images [N, C, H, W], linear L [N, 2, 2], shift s [N, 2].

    The image is mirrored at its border, upsampled by 2, sampled bilinearly onto a canvas of twice the resolution, and downsampled
    with the mirrored filter. The 12-tap symlet delays by about 5 samples, so upsampled sample m is at pixel m/2.
    """
    height, width = images.shape[2:]
    form = dict(device=images.device, dtype=images.dtype)
    half = torch.tensor([width - 1, height - 1], **form) / 2
    border = len(lowpass) // 2      # samples of the filter beyond the image; as many pixels are enough for filter and canvas
    corners = torch.tensor([[-1, -1], [1, -1], [-1, 1], [1, 1]], **form) * half
    corners = corners @ linear.transpose(1, 2) + shift[:, None]     # [N, 4, 2]
    outside = torch.cat([-corners.amin([0, 1]), corners.amax([0, 1])]) - half.repeat(2) + border
    # Multiples of 8 pixels, because a CPU compiles new kernels for every size.
    left, top, right, bottom = (min(max(math.ceil(reach / 8) * 8, 0), limit - 1)
                                for reach, limit in zip(outside.tolist(), [width, height] * 2))  # noqa: B905
    padded = torch.nn.functional.pad(images, [left, right, top, bottom], mode='reflect')
    padded = upfirdn2d.upsample2d(padded, lowpass, up=2)

    xs = torch.arange(-border, 2 * width + border, **form) / 2 - half[0]
    ys = torch.arange(-border, 2 * height + border, **form) / 2 - half[1]
    read = xs[:, None] * linear[:, None, None, :, 0] + ys[:, None, None] * linear[:, None, None, :, 1]     # [N, h, w, 2]
    samples = 2 * (read + shift[:, None, None] + half + torch.tensor([left, top], **form))      # in samples of `padded`
    size = torch.tensor([padded.shape[3], padded.shape[2]], **form)
    canvas = grid_sample_gradfix.grid_sample(padded, (2 * samples + 1) / size - 1)
    return upfirdn2d.downsample2d(canvas, lowpass, down=2, padding=-border, flip_filter=True)


def filter_reflected(images: torch.Tensor, taps: torch.Tensor) -> torch.Tensor:
    """Filter along both axes, mirroring at the border: images [N, C, H, W], symmetric taps [N, K], K odd.

    Computed as products with banded matrices, which is cheap and differentiable twice.
    """
    across, down = (_reflecting_matrix(taps, size) for size in (images.shape[3], images.shape[2]))
    return down[:, None] @ (images @ across.transpose(1, 2)[:, None])


def _reflecting_matrix(taps: torch.Tensor, size: int) -> torch.Tensor:
    """[N, K] -> [N, size, size] that filters a signal mirrored about its first and last sample."""
    count = taps.shape[1]
    source = torch.arange(size, device=taps.device)[:, None] + torch.arange(count, device=taps.device) - count // 2
    period = max(2 * (size - 1), 1)
    source = torch.minimum(source % period, -source % period)
    matrix = taps.new_zeros([len(taps), size, size])
    return matrix.scatter_add(2, source.expand(len(taps), -1, -1), taps[:, None].expand(-1, size, -1))
