"""Class-conditional networks by hyper-modulation (Laria et al. 2022, arXiv:2112.02219, section 3).

The pretrained generator is frozen. At every convolution a hypernetwork maps the class code v to a modulation of the kernel W:

    W_c = mu + (1 + dg(v)) * (W - mu) + sigma * db_w(v),   b_c = b + db(v)

mu, sigma [O, I]: mean and standard deviation of W over its taps. With gamma = sigma (1 + dg) and
beta = mu + sigma db_w this is AdaFM, gamma (W - mu) / sigma + beta, written around the identity: if dg, db_w and db are
zero, kernels and biases are the source's, bit for bit.

Frozen weights are buffers with the names of the source's tensors, so copying by name is the whole transfer. The class code is
passed beside ws, or, for tools that know only mapping and synthesis, as the last entries of every copy of w.

Classes that are added later to a model whose old classes must not change have parts of their own (own_classes): an offset of
the code, and at every convolution low-rank offsets of dg and db_w and an offset of db. They are scaled by the share a of the
class in the label. For all other labels they are multiplied by 0, so those images do not change, bit for bit. In the code, a
comes before v, so that the order of distinct codes does not change either.

Shapes: N batch, K classes, U runs of images with equal codes in a batch, d code_dim, P classes with parts of their own,
S = P + d size of the code, O/I output/input channels, k kernel size.
Snapshots contain the text of this file, so it imports only what every host codebase offers and uses only Python 3.7 and
PyTorch 1.9. Where host codebases differ in a keyword, the signatures of their networks decide (NO_UPDATE).
"""
from __future__ import annotations

import inspect
import sys
from collections.abc import Collection, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from torch_utils import misc, persistence

try:
    from torch_utils.ops import bias_act, conv2d_gradfix, fma, upfirdn2d
except ModuleNotFoundError:  # a host may use pkg_resources, which setuptools dropped, to read PyTorch's version
    sys.modules['pkg_resources'] = SimpleNamespace(parse_version=torch.torch_version.TorchVersion)
    from torch_utils.ops import bias_act, conv2d_gradfix, fma, upfirdn2d
    del sys.modules['pkg_resources']

try:
    from training import networks as host
except ImportError:  # the name of the same module in the other host codebase
    from training import networks_stylegan2 as host

try:  # one pass over memory each, if the host codebase has them
    from torch_utils.ops.adafm import in_one_pass
    from torch_utils.ops.conv2d_runs import conv2d_runs
    from torch_utils.ops.scaled_act import scaled_act
except ImportError:
    conv2d_runs = scaled_act = None

    def in_one_pass(function: Any) -> Any:
        """The function itself."""
        return function

try:  # caches kernels while nothing learns
    from hyper_plugin.kernel_cache import KeepsKernels
except ImportError:
    class KeepsKernels:
        """Computes kernels for each batch."""

        def get_kernels(self: Any, code: BatchCodes, dtype: torch.dtype, learns: bool) -> Any:
            return self.make_kernels(code.layer(self.ws_index), dtype)

# Keeps the host's mapping network from updating its running mean; only one kind of host does so by default.
NO_UPDATE = {name: True for name in ('skip_w_avg_update',) if name in inspect.signature(host.MappingNetwork.forward).parameters}


def freeze(module: nn.Module, keep: Collection[str] = ()) -> None:
    """Turn every parameter of `module` into a buffer of the same name, which optimiser and EMA do not see.

    Parameters with one of the names `keep` in their dotted name stay parameters.
    """
    for path, part in module.named_modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            if not set(keep) & {*path.split('.'), name}:
                delattr(part, name)
                part.register_buffer(name, parameter.detach())


def stable_order(values: torch.Tensor) -> torch.Tensor:
    """values: whole numbers [N] -> the order that sorts them, [N]; equal ones keep their order."""
    return (values * len(values) + torch.arange(len(values), device=values.device)).argsort()


def order_by_class(c: torch.Tensor, group_size: int | None) -> torch.Tensor:
    """An order of the batch, [N], in which images of one class share a group of the minibatch deviation.

    c: [N, K]. A group of mixed classes looks varied even if every class has collapsed to one image; a group of one class does
    not. A batch of one class keeps its order. Image i belongs to group i mod (N / group size). Label vectors are sorted by their
    first number, then by the second and so on, from high to low; for one-hot labels this is the order of the classes.
    """
    count = len(c)
    size = count if group_size is None else min(group_size, count)
    group_by_group = torch.arange(count, device=c.device).reshape(size, -1).T.flatten()
    _labels, rank = torch.unique(c[group_by_group], dim=0, return_inverse=True)
    ranked = group_by_group[stable_order(-rank)]
    return ranked.reshape(-1, size).T.flatten()


class BatchCodes:
    """The class codes of a batch, sorted into runs of images with equal codes, so that each kernel is computed once per run.

    The code of a run is that of its first image in the batch, bit for bit. Only this image gets gradients, which changes nothing
    before the code where equal codes come from equal labels. With `apart`, every image is a run, and the code of each image and
    copy gets its own gradient.
    """

    def __init__(self, v: torch.Tensor, apart: bool = False):
        """v: [N, L, S], a code per image and copy of w; L is 1 if all copies have the same."""
        if apart:
            index = torch.arange(len(v), device=v.device)
            counts = torch.ones_like(index)
        else:
            if v.shape[1] > 1 and bool((v == v[:, :1]).all()):
                v = v[:, :1]
            _values, index, counts = torch.unique(v.detach().flatten(1), dim=0, return_inverse=True, return_counts=True)
        is_sorted = bool((index[1:] >= index[:-1]).all())
        self.order = None if is_sorted else stable_order(index)
        self.inverse = None if is_sorted else self.order.argsort()
        self.index = self.sort(index)  # [N], the run of each image
        self.counts = counts.tolist()  # U numbers of images
        self.codes = self.sort(v)[counts.cumsum(0) - counts]  # [U, L, S]
        self.on_cpu: torch.Tensor | None = None

    def sort(self, x: torch.Tensor) -> torch.Tensor:
        """x: [N, ...] in the order of the batch -> the same, run by run."""
        return x if self.order is None else x.index_select(0, self.order)

    def restore(self, x: torch.Tensor) -> torch.Tensor:
        """x: [N, ...], run by run -> the same in the order of the batch."""
        return x if self.inverse is None else x[self.inverse]

    def layer(self, ws_index: int) -> torch.Tensor:
        """The codes of the layer that reads this copy of w: [U, S]."""
        return self.codes[:, min(ws_index, self.codes.shape[1] - 1)]

    def keys(self, ws_index: int) -> list[Any]:
        """A key for each of the layer's codes, equal for equal codes. Waits for the device once per batch."""
        if self.on_cpu is None:
            self.on_cpu = self.codes.detach().cpu()
        return [(code.dtype, code.numpy().tobytes()) for code in self.on_cpu[:, min(ws_index, self.codes.shape[1] - 1)]]


def convolve_runs(x: torch.Tensor, kernels: torch.Tensor | Sequence[torch.Tensor], counts: Sequence[int], up: int,
                  padding: int) -> torch.Tensor:
    """x [N, I, H, W], in U runs of `counts` images, each with its kernel of U [O, I, k, k] -> [N, O, H', W'].

    up > 1: the transposed convolution, without a filter.
    """
    def one(run: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
        if up == 1:
            return conv2d_gradfix.conv2d(run, kernel, padding=padding)
        return conv2d_gradfix.conv_transpose2d(run, kernel.transpose(0, 1), stride=up)

    if conv2d_runs is not None and (len(counts) > 1 or not isinstance(kernels, torch.Tensor)):
        return conv2d_runs(x, kernels, counts, up, padding)
    parts = [one(run, kernel) for run, kernel in zip(x.split(counts), kernels)]  # noqa: B905
    return parts[0] if len(parts) == 1 else torch.cat(parts)


@in_one_pass
def adafm(weight: torch.Tensor, dg: torch.Tensor, db_w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """weight: [O, I, k, k]; dg, db_w: [U, O, I] -> kernels [U, O, I, k, k], their sums of squares over the taps [U, O, I]."""
    mu = weight.mean(dim=(2, 3), keepdim=True)
    centred = weight - mu
    sigma = centred.square().mean(dim=(2, 3), keepdim=True).sqrt()  # [O, I, 1, 1]
    gain = dg[..., None, None]  # [U, O, I, 1, 1]
    shift = sigma * db_w[..., None, None]
    # W + dg (W - mu) + sigma db_w: the formula above, exact at zero in floating point too.
    kernels = torch.addcmul(weight, gain, centred) + shift
    # The centred part has mean 0 over the taps and mean square sigma^2, so no sum over taps is needed.
    power = weight[0, 0].numel() * ((mu + shift).square() + (sigma + sigma * gain).square())
    return kernels, power[..., 0, 0]


@persistence.persistent_class
class ClassCode(nn.Module):
    """Label c [N, K] -> code [N, S]: the shares a [N, P] of own_classes, then v [N, d].

    v is a table followed by fully connected layers, plus the offsets of own classes. A soft label mixes the rows of the table;
    any other vector is a linear combination of them.
    """

    def __init__(self, c_dim: int, code_dim: int, num_layers: int = 4, lr_multiplier: float = 0.01,
                 own_classes: Sequence[int] = ()):
        super().__init__()
        self.own_classes = list(own_classes)
        for number in range(len(self.own_classes)):
            setattr(self, f'own{number}', nn.Parameter(torch.zeros(code_dim)))
        self.num_layers = num_layers
        self.table = nn.Parameter(torch.randn(c_dim, code_dim))
        for i in range(num_layers):
            layer = host.FullyConnectedLayer(code_dim, code_dim, activation='lrelu', lr_multiplier=lr_multiplier)
            setattr(self, f'fc{i}', layer)

    def forward(self, c: torch.Tensor) -> torch.Tensor:
        misc.assert_shape(c, [None, self.table.shape[0]])
        # A sum over classes, not a matrix product, so that a row's code does not depend on the rest of the batch.
        c = c.to(torch.float32)
        v = (c[:, :, None] * self.table).sum(dim=1)
        for i in range(self.num_layers):
            v = getattr(self, f'fc{i}')(v)
        if not self.own_classes:
            return v
        a = c[:, self.own_classes]
        for number in range(len(self.own_classes)):
            v = v + a[:, number, None] * getattr(self, f'own{number}')
        return torch.cat([a, v], dim=1)


def linear(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The output of a host's linear FullyConnectedLayer for few rows x: scales the rows instead of the large weight."""
    return torch.addmm(layer.bias * layer.bias_gain, x * layer.weight_gain, layer.weight.t())


@persistence.persistent_class
class Hypernetwork(nn.Module):
    """v [U, d] -> [U, O, I]: one linear layer; with rank R > 0 two, A and B, combined as A B^T / sqrt(R)."""

    def __init__(self, code_dim: int, out_channels: int, in_channels: int, rank: int = 0):
        super().__init__()
        self.shape = (out_channels, in_channels)
        self.rank = rank
        if rank == 0:
            self.full = host.FullyConnectedLayer(code_dim, out_channels * in_channels)
        else:
            self.left = host.FullyConnectedLayer(code_dim, out_channels * rank)
            self.right = host.FullyConnectedLayer(code_dim, in_channels * rank)

    def scale_(self, factor: float) -> None:
        """Multiply the output by `factor`, through the weights of one layer only, so that gradients remain even with 0."""
        layer = self.full if self.rank == 0 else self.left
        with torch.no_grad():
            layer.weight.mul_(factor)
            layer.bias.mul_(factor)

    def forward(self, v: torch.Tensor) -> torch.Tensor:
        if self.rank == 0:
            return linear(self.full, v).reshape(-1, *self.shape)
        left = linear(self.left, v).reshape(-1, self.shape[0], self.rank)
        right = linear(self.right, v).reshape(-1, self.shape[1], self.rank)
        return left @ right.transpose(1, 2) / np.sqrt(self.rank)


@persistence.persistent_class
class ClassOffsets(nn.Module):
    """Offsets of one class: dg and db_w [O, I], A B^T / sqrt(R) each, and db [O]. Zero at the start."""

    def __init__(self, out_channels: int, in_channels: int, rank: int):
        super().__init__()
        self.rank = rank
        for name in ('gamma', 'beta'):
            setattr(self, f'{name}_left', nn.Parameter(torch.zeros(out_channels, rank)))
            setattr(self, f'{name}_right', nn.Parameter(torch.randn(in_channels, rank)))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def scale_(self, factor: float) -> None:
        """Multiply all three offsets by `factor`."""
        with torch.no_grad():
            for tensor in (self.gamma_left, self.beta_left, self.bias):
                tensor.mul_(factor)

    def forward(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        root = np.sqrt(self.rank)
        return self.gamma_left @ self.gamma_right.T / root, self.beta_left @ self.beta_right.T / root, self.bias


@persistence.persistent_class
class HyperModulation(nn.Module):
    """AdaFM of one convolution: a class's kernel, from its code and the frozen kernel, and its bias offset."""

    def __init__(self, code_dim: int, out_channels: int, in_channels: int, rank: int = 0, num_own: int = 0, own_rank: int = 1):
        super().__init__()
        self.gamma = Hypernetwork(code_dim, out_channels, in_channels, rank)
        self.beta = Hypernetwork(code_dim, out_channels, in_channels, rank)
        self.bias = host.FullyConnectedLayer(code_dim, out_channels)
        self.num_own = num_own
        for number in range(num_own):
            setattr(self, f'own{number}', ClassOffsets(out_channels, in_channels, own_rank))

    def scale_(self, factor: float) -> None:
        """Multiply all modulations by `factor`; 0 makes every class equal the source."""
        self.gamma.scale_(factor)
        self.beta.scale_(factor)
        with torch.no_grad():
            self.bias.weight.mul_(factor)
            self.bias.bias.mul_(factor)
        for number in range(self.num_own):
            getattr(self, f'own{number}').scale_(factor)

    def modulations(self, code: torch.Tensor) -> list[torch.Tensor]:
        """code: [U, S] -> dg [U, O, I], db_w [U, O, I], db [U, O]."""
        a, v = code[:, :self.num_own], code[:, self.num_own:].contiguous()
        found = [self.gamma(v), self.beta(v), self.bias(v)]
        for number in range(self.num_own):
            own = getattr(self, f'own{number}')()
            share = a[:, number]
            found = [shared + share.reshape(-1, *[1] * offset.ndim) * offset for shared, offset in zip(found, own)]  # noqa: B905
        return found

    def forward(self, code: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """code: [U, S]; weight: [O, I, k, k] -> kernels [U, O, I, k, k], their sums of squares over the taps [U, O, I],
        bias offsets [U, O]."""
        dg, db_w, db = self.modulations(code)
        return (*adafm(weight, dg, db_w), db)


@persistence.persistent_class
class HyperSynthesisLayer(KeepsKernels, host.SynthesisLayer):
    """A synthesis layer whose kernel and bias are the class's. ws_index: which copy of w it reads."""

    resample_filter: torch.Tensor

    def __init__(self, *args: Any, ws_index: int, code_dim: int, rank: int = 0, finetune: bool = False, num_own: int = 0,
                 own_rank: int = 1, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.ws_index = ws_index
        if finetune:  # kernel and bias stay frozen, since they are modulated
            for name in ('weight', 'bias'):
                tensor = getattr(self, name).detach()
                delattr(self, name)
                self.register_buffer(name, tensor)
        else:
            freeze(self)
        self.hyper = HyperModulation(code_dim, *self.weight.shape[:2], rank=rank, num_own=num_own, own_rank=own_rank)

    def forward(self, x: torch.Tensor, w: torch.Tensor, code: BatchCodes, noise_mode: str = 'random',
                fused_modconv: bool = True, gain: float = 1) -> torch.Tensor:
        """fused_modconv: part of the interface, ignored."""
        tensors = (x, w, code.codes, *self.parameters())
        learns = self.training or (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors))
        kernels, power, offsets = self.get_kernels(code, x.dtype, learns)
        styles = self.affine(w)
        if x.dtype != torch.float32:
            styles = styles / styles.abs().amax(dim=1, keepdim=True)  # undone by demodulation; large styles would overflow
        x = x * styles.to(x.dtype)[:, :, None, None] if scaled_act is None else scaled_act(x, styles)
        x = convolve_runs(x, kernels, code.counts, self.up, self.padding)
        if self.up > 1:  # the transposed convolution has added k - 1 samples before, and k - up after
            k, taps = self.padding * 2 + 1, len(self.resample_filter)
            before = self.padding + (taps + self.up - 1) // 2 - (k - 1)
            after = self.padding + (taps - self.up) // 2 - (k - self.up)
            x = upfirdn2d.upfirdn2d(x, self.resample_filter, padding=[before, after, before, after], gain=self.up ** 2)
        own = power.expand(len(x), -1, -1) if len(power) == 1 else power.index_select(0, code.index)  # [N, O, I]
        energy = torch.bmm(own, styles.square()[:, :, None])[:, :, 0]  # [N, O]
        scale = torch.rsqrt(energy + 1e-8)
        offset = self.bias + offsets
        offset = offset.expand(len(x), -1) if len(offset) == 1 else offset.index_select(0, code.index)  # [N, O]
        return finish(self, x, scale, offset, self._noise(code, noise_mode), gain)

    def make_kernels(self, codes: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """codes: [U, S] -> for activations of that type: kernels [U, O, I, k, k], power [U, O, I], bias offsets [U, O]."""
        kernels, power, offsets = self.hyper(codes, self.weight)
        if dtype != torch.float32:  # half precision: demodulation undoes this scale too
            limits = 1 / (kernels.abs().amax(dim=(2, 3, 4), keepdim=True) * np.sqrt(kernels[0, 0].numel()))
            power = power * limits[..., 0, 0].square()
            kernels = (kernels * limits).to(dtype)
        return kernels, power, offsets

    def _noise(self, code: BatchCodes, noise_mode: str) -> torch.Tensor | None:
        if noise_mode not in ('random', 'const', 'none'):
            raise ValueError(f"noise_mode is {noise_mode!r}; expected 'random', 'const' or 'none'")
        if not self.use_noise or noise_mode == 'none':
            return None
        plane = self.noise_const
        if noise_mode == 'random':
            plane = code.sort(torch.randn([len(code.index), 1, *plane.shape], device=plane.device))
        return plane * self.noise_strength


def finish(layer: Any, x: torch.Tensor, scale: torch.Tensor, offset: torch.Tensor, noise: torch.Tensor | None,
           gain: float) -> torch.Tensor:
    """The layer's activation of x * scale + offset + noise, with gains and clamp. scale, offset: [N, O]."""
    settings = dict(act=layer.activation, gain=layer.act_gain * gain,
                    clamp=None if layer.conv_clamp is None else layer.conv_clamp * gain)
    if scaled_act is not None:
        return scaled_act(x, scale, offset, noise, **settings)
    added = offset[:, :, None, None]
    added = (added if noise is None else added + noise).to(x.dtype)
    return bias_act.bias_act(fma.fma(x, scale[:, :, None, None].to(x.dtype), added), **settings)


@persistence.persistent_class
class HyperMapping(host.MappingNetwork):
    """z [N, z_dim], c [N, K] -> ws [N, num_ws, w_dim + S]: the source's w, then the class code, which is never truncated."""

    def __init__(self, z_dim: int, c_dim: int, w_dim: int, num_ws: int, code_dim: int, finetune: bool = False,
                 own_classes: Sequence[int] = (), **kwargs: Any):
        super().__init__(z_dim=z_dim, c_dim=0, w_dim=w_dim, num_ws=num_ws, **kwargs)
        if not finetune:
            freeze(self)
        self.finetune = finetune
        self.code_size = len(own_classes) + code_dim
        self.class_code = ClassCode(c_dim, code_dim, own_classes=own_classes)

    @property
    def w_avg(self) -> torch.Tensor:
        """[w_dim + S], zero for the code. The buffer of the same name is the source's, [w_dim]."""
        buffers = self.__dict__['_buffers']
        if 'w_avg' not in buffers:
            raise AttributeError('w_avg')
        return nn.functional.pad(buffers['w_avg'], (0, self.code_size))

    def forward(self, z: torch.Tensor, c: torch.Tensor | None, truncation_psi: float = 1, truncation_cutoff: int | None = None,
                skip_w_avg_update: bool = False, update_emas: bool = True, code_apart: bool = False) -> Any:
        """c None, as from hosts' projectors: an even mix of all classes. skip_w_avg_update, update_emas: whether the running mean
        may change, in the terms of two hosts; it changes only with finetune. code_apart: return w and the code [N, S] separately.
        """
        ws = super().forward(z, None, **NO_UPDATE)
        average = self._buffers['w_avg']
        if self.finetune and self.training and update_emas and not skip_w_avg_update:
            average.lerp_(ws[:, 0].detach().mean(dim=0), 1 - self.w_avg_beta)
        if truncation_psi != 1:
            near = ws[:, :truncation_cutoff]
            ws = torch.cat([average.lerp(near, truncation_psi), ws[:, near.shape[1]:]], dim=1)
        if c is None:
            num_classes = self.class_code.table.shape[0]
            c = ws.new_full((len(ws), num_classes), 1 / num_classes)
        code = self.class_code(c)
        return (ws, code) if code_apart else torch.cat([ws, code[:, None].expand(-1, ws.shape[1], -1)], dim=2)


@persistence.persistent_class
class HyperSynthesis(host.SynthesisNetwork):
    """ws [N, num_ws, w_dim + S] -> image. Each layer uses the code in its own copy of w, so copies may have different classes."""

    def __init__(self, w_dim: int, img_resolution: int, img_channels: int, code_dim: int, rank: int = 0, finetune: bool = False,
                 num_own: int = 0, own_rank: int = 1, **kwargs: Any):
        super().__init__(w_dim=w_dim, img_resolution=img_resolution, img_channels=img_channels, **kwargs)
        if not finetune:
            freeze(self)
        self.code_size = num_own + code_dim
        ws_index = 0
        for res in self.block_resolutions:
            block = getattr(self, f'b{res}')
            for name in ('conv0', 'conv1'):
                if hasattr(block, name):
                    plain = getattr(block, name)
                    layer = HyperSynthesisLayer(*plain.init_args, **plain.init_kwargs, ws_index=ws_index, code_dim=code_dim,
                                                rank=rank, finetune=finetune, num_own=num_own, own_rank=own_rank)
                    setattr(block, name, layer)
                    ws_index += 1

    def forward(self, ws: torch.Tensor, code: torch.Tensor | None = None, update_emas: bool = False,
                **block_kwargs: Any) -> torch.Tensor:
        """code: [N, S], for all copies, if ws has the source's size; the first image of each class gets its gradients. Gradients
        of ws are each image's own. update_emas: part of one host's interface, ignored."""
        apart = code is None and ws.requires_grad and torch.is_grad_enabled()
        if code is None:
            misc.assert_shape(ws, [None, self.num_ws, self.w_dim + self.code_size])
            ws, v = ws.to(torch.float32).split([self.w_dim, self.code_size], dim=2)
        else:
            v = code[:, None]
        batch = BatchCodes(v, apart)
        # The host's blocks pass keywords on to every convolution layer, but not to the image layers.
        # Contiguous, so that the size of the code does not change the order of sums.
        return batch.restore(super().forward(batch.sort(ws).contiguous(), code=batch, **block_kwargs))


@persistence.persistent_class
class HyperGenerator(nn.Module):
    """A frozen source generator with class-conditional kernels. z [N, z_dim], c [N, K] one-hot, soft or any vector -> image.

    Takes the source's constructor arguments with another c_dim, and:
    code_dim      size of the class code.
    rank          0: full hypernetworks; R: factored ones of rank R.
    init_scale    spread of the random hypernetwork's modulations; 0 is the exact self-initialisation.
    finetune      also train the source's mapping, styles, noise strengths, constant and image layers.
    own_classes   indices of classes with their own offset of the code and kernel offsets of rank own_rank.
    learning_own  None: everything above learns. n: only the parts of the last n own_classes learn.
    """

    def __init__(self, z_dim: int, c_dim: int, w_dim: int, img_resolution: int, img_channels: int,
                 mapping_kwargs: dict[str, Any] = {}, synthesis_kwargs: dict[str, Any] = {},  # noqa: B006
                 code_dim: int = 64, rank: int = 0, init_scale: float = 1, finetune: bool = False,
                 own_classes: Sequence[int] = (), own_rank: int = 8, learning_own: int | None = None):
        super().__init__()
        if c_dim < 1:
            raise ValueError(f'HyperGenerator has c_dim {c_dim}; expected the number of classes')
        num_own = len(own_classes)
        if len(set(own_classes) & set(range(c_dim))) < num_own or not 0 <= (learning_own or 0) <= num_own:
            raise ValueError(f'HyperGenerator has own_classes {list(own_classes)} and learning_own {learning_own}; expected '
                             f'different classes from 0 to {c_dim - 1}, and None or a number of them')
        self.z_dim = z_dim
        self.c_dim = c_dim
        self.w_dim = w_dim + num_own + code_dim  # the size of ws
        self.img_resolution = img_resolution
        self.img_channels = img_channels
        common = dict(w_dim=w_dim, code_dim=code_dim, finetune=finetune and learning_own is None)
        self.synthesis = HyperSynthesis(img_resolution=img_resolution, img_channels=img_channels, rank=rank, num_own=num_own,
                                        own_rank=own_rank, **common, **synthesis_kwargs)
        self.num_ws = self.synthesis.num_ws
        self.mapping = HyperMapping(z_dim=z_dim, c_dim=c_dim, num_ws=self.num_ws, own_classes=own_classes, **common,
                                    **mapping_kwargs)
        self.scale_modulation_(init_scale)
        if learning_own is not None:
            freeze(self, keep=[f'own{number}' for number in range(num_own - learning_own, num_own)])

    def scale_modulation_(self, factor: float) -> None:
        """Multiply every modulation dg, db_w, db by `factor`; 0 makes every class equal the source."""
        for module in self.modules():
            if isinstance(module, HyperModulation):
                module.scale_(factor)

    def forward(self, z: torch.Tensor, c: torch.Tensor, truncation_psi: float = 1, truncation_cutoff: int | None = None,
                update_emas: bool = True, **synthesis_kwargs: Any) -> torch.Tensor:
        ws, code = self.mapping(z, c, truncation_psi=truncation_psi, truncation_cutoff=truncation_cutoff, update_emas=update_emas,
                                code_apart=True)
        return self.synthesis(ws, code=code, **synthesis_kwargs)


@persistence.persistent_class
class HyperDiscriminator(host.Discriminator):
    """The source's discriminator with a class term that is zero at the start. img, c [N, K] -> logits [N, 1].

        heads       out(h) + <heads_c, h> / sqrt(dim), one vector per class
        projection  out(h) + <map(c), P h> / sqrt(dim), map the host's mapping network of labels, P starts at zero

    h [N, dim]: the features before the last layer. With finetune=False the layers that read the image are frozen. The
    minibatch deviation is computed within classes as far as possible (order_by_class).
    """

    def __init__(self, c_dim: int, img_resolution: int, img_channels: int, d_cond: str = 'heads', finetune: bool = False,
                 mapping_kwargs: dict[str, Any] = {}, **kwargs: Any):  # noqa: B006
        super().__init__(c_dim=0, img_resolution=img_resolution, img_channels=img_channels, **kwargs)
        if d_cond not in ('heads', 'projection'):
            raise ValueError(f"d_cond is {d_cond!r}; expected 'heads' or 'projection'")
        self.c_dim = c_dim
        self.d_cond = d_cond
        dim = self.b4.out.weight.shape[1]
        if d_cond == 'heads':
            self.heads = nn.Parameter(torch.zeros(c_dim, dim))
        else:
            self.mapping = host.MappingNetwork(z_dim=0, c_dim=c_dim, w_dim=dim, num_ws=None, w_avg_beta=None, **mapping_kwargs)
            self.project = host.FullyConnectedLayer(dim, dim, bias=False)
            nn.init.zeros_(self.project.weight)
        if not finetune:
            for res in [*self.block_resolutions, 4]:
                block = getattr(self, f'b{res}')
                if hasattr(block, 'fromrgb'):
                    freeze(block.fromrgb)

    def keep_label_scale_(self) -> None:
        """Before training, make the projection depend on the length of a label vector, not only on its direction.

        The host's mapping network normalises the label's embedding W c / sqrt(K) + b. With b = 0, its initial value, c and 2 c
        give the same result. With a random b, as long as the embedding of a unit vector, all labels differ.
        """
        if self.d_cond == 'projection':
            nn.init.normal_(self.mapping.embed.bias, std=1 / np.sqrt(self.c_dim))

    def features(self, img: torch.Tensor, c: torch.Tensor, **block_kwargs: Any) -> torch.Tensor:
        """h [N, dim], the input of the last layer. The labels c only group images for the minibatch deviation."""
        x = None
        for res in self.block_resolutions:
            x, img = getattr(self, f'b{res}')(x, img, **block_kwargs)
        top = self.b4
        x = x.to(dtype=torch.float32, memory_format=torch.contiguous_format)
        if top.architecture == 'skip':
            x = x + top.fromrgb(img.to(torch.float32))
        if top.mbstd is not None:
            order = order_by_class(c, top.mbstd.group_size)
            x = top.mbstd(x[order])[order.argsort()]
        return top.fc(top.conv(x).flatten(1))

    def logits(self, h: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """h: [N, dim]; c: [N, K] -> [N, 1]."""
        misc.assert_shape(c, [None, self.c_dim])
        if self.d_cond == 'heads':
            inner = (c.to(h.dtype) @ self.heads) * h
        else:
            inner = self.mapping(None, c) * self.project(h)
        return self.b4.out(h) + inner.sum(dim=1, keepdim=True) / np.sqrt(h.shape[1])

    def forward(self, img: torch.Tensor, c: torch.Tensor, update_emas: bool = False, **block_kwargs: Any) -> torch.Tensor:
        """update_emas: part of one host's interface, ignored."""
        return self.logits(self.features(img, c, **block_kwargs), c)
