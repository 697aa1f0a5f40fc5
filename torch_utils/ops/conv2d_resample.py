"""2-D convolution together with FIR upsampling or downsampling.

The result is that of four steps: pad, upsample with the filter, convolve, downsample with the filter. They are carried out
in a cheaper order:

- convolution and filter commute, so before downsampling only the samples that are kept are convolved (strided convolution);
- upsampling is zero insertion, then filter. Zeros and convolution together are a strided transposed convolution, and the
  filter comes last;
- a 1x1 convolution commutes with all of it, and runs at the lower of both resolutions.
"""

import torch

from . import conv2d_gradfix
from .upfirdn2d import Borders, Padding, pad2d, padding_for_filter, upfirdn2d


def conv2d_resample(x: torch.Tensor, w: torch.Tensor, f: torch.Tensor | None = None, up: int = 1, down: int = 1,
                    padding: Padding = 0, groups: int = 1, flip_weight: bool = True, flip_filter: bool = False) -> torch.Tensor:
    """Convolve [N, I, H, W] with w [O, I/groups, kh, kw], upsampling before or downsampling after.

    f: low-pass filter from `upfirdn2d.setup_filter`, used if up or down is more than 1. padding: as in `upfirdn2d`, in samples
    of the upsampled image. flip_weight: True correlates (as torch's conv2d), False convolves. flip_filter: as in `upfirdn2d`.
    ValueError for shapes or factors that don't fit.
    """
    if x.ndim != 4 or w.ndim != 4 or x.shape[1] != w.shape[1] * groups or w.shape[0] % groups:
        raise ValueError(f'expected x [N, I, H, W] and w [O, I/groups, kh, kw] with O a multiple of groups: '
                         f'got {list(x.shape)} and {list(w.shape)} with groups={groups}')
    borders = padding_for_filter(f if up > 1 or down > 1 else None, padding, up=up, down=down)
    pointwise = w.shape[2:] == (1, 1)
    if up == 1:
        if down > 1:
            keep = down if pointwise else 1
            x, borders = upfirdn2d(x, f, down=keep, padding=borders, flip_filter=flip_filter), (0, 0, 0, 0)
            down //= keep
        return _convolve(x, w, down, borders, groups, flip_weight)
    if pointwise:
        x = _convolve(x, w, 1, (0, 0, 0, 0), groups, flip_weight)
        x = upfirdn2d(x, f, up=up, padding=borders, flip_filter=flip_filter, gain=up ** 2)
    else:
        x = _convolve_spread(x, w, up, groups, flip_weight)
        x = upfirdn2d(x, f, padding=_left_of(borders, w, up), flip_filter=flip_filter, gain=up ** 2)
    return upfirdn2d(x, f, down=down, flip_filter=flip_filter) if down > 1 else x


def _left_of(borders: Borders, w: torch.Tensor, up: int) -> Borders:
    """Borders for the filter after `_convolve_spread`, which has added k-1 samples before and k-up after, all axes.

    The convolution of the padded image takes k-1 samples away; before and after together is what it has added too much.
    """
    kh, kw = w.shape[2:]
    left, right, top, bottom = borders
    return left - (kw - 1), right - (kw - up), top - (kh - 1), bottom - (kh - up)


def _convolve(x: torch.Tensor, w: torch.Tensor, stride: int, borders: Borders, groups: int, flip_weight: bool) -> torch.Tensor:
    """Pad with zeros and convolve, keeping every stride-th sample."""
    left, right, top, bottom = borders
    own = (max(0, min(top, bottom)), max(0, min(left, right)))      # what the convolution can pad by itself
    x = pad2d(x, (left - own[1], right - own[1], top - own[0], bottom - own[0]))
    if not flip_weight and w.shape[2:] != (1, 1):
        w = w.flip([2, 3])
    return conv2d_gradfix.conv2d(x, w, stride=stride, padding=own, groups=groups)


def _convolve_spread(x: torch.Tensor, w: torch.Tensor, up: int, groups: int, flip_weight: bool) -> torch.Tensor:
    """Put up - 1 zeros between samples and convolve, keeping every partly covered position."""
    if flip_weight:
        w = w.flip([2, 3])      # a transposed convolution is a convolution, not a correlation
    outputs, inputs, kh, kw = w.shape
    w = w.reshape(groups, outputs // groups, inputs, kh, kw).transpose(1, 2).reshape(-1, outputs // groups, kh, kw)
    return conv2d_gradfix.conv_transpose2d(x, w, stride=up, groups=groups)
