"""Falls back to plain convolutions, with a warning, as the public file does under versions that it does not know."""
import contextlib
import warnings

import torch

enabled = False


@contextlib.contextmanager
def no_weight_gradients():
    yield


def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    if enabled:
        warnings.warn('conv2d_gradfix is not supported here', stacklevel=2)
    return torch.nn.functional.conv2d(input, weight, bias, stride, padding, dilation, groups)


def conv_transpose2d(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    return torch.nn.functional.conv_transpose2d(input, weight, bias, stride, padding, output_padding, groups, dilation)
