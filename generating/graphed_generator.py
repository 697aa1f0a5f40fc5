"""Sampling as one CUDA graph: the launches of a whole pass are recorded once and replayed for each batch.

At small sizes a generator's kernels are shorter than the time that Python takes to launch them; a replay launches all at once
(https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs). A graph always does the same work on the same memory, so it
serves batches of one size and networks that do not look at values to choose their work: plain generators, and the plain ones
that exporting.baked makes of single classes, but no HyperGenerator, which sorts its batch by class.
"""

from collections.abc import Callable
from typing import Any

import torch

WARM_UPS = 3    # passes before the recording, in which libraries and Triton choose, compile and allocate


class GraphedGenerator:
    """Calls like G(z, c, **options) for batches of at most `batch`, with the options fixed. Draws fresh noise if G does."""

    def __init__(self, G: Any, batch: int, **options: Any):
        """G: a plain generator on CUDA, in eval mode. Its weights may change in place later, not move.

        ValueError if G is not on CUDA, or if its work cannot be recorded; the device is as before then.
        """
        device = next(G.parameters(), torch.empty(0)).device
        check_device(device)
        self.batch = batch
        self.z = torch.zeros(batch, G.z_dim, device=device)
        self.c = torch.zeros(batch, G.c_dim, device=device)
        try:
            with torch.cuda.device_of(self.z), torch.no_grad():
                self.images, self.replay = record(lambda: G(self.z, self.c, **options))
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise ValueError(f'a pass of {type(G).__name__} cannot be recorded as a CUDA graph '
                             f'({str(error).splitlines()[0]}): draw without a graph') from error

    def __call__(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """z: [N, z_dim], c: [N, c_dim], N <= batch -> images [N, C, H, W], a tensor of their own."""
        count = len(z)
        if not 1 <= count <= self.batch:
            raise ValueError(f'this CUDA graph takes 1 to {self.batch} images at a time: got {count}')
        self.z[:count].copy_(z)
        self.c[:count].copy_(c)
        self.replay()
        return self.images[:count].clone()      # the next replay overwrites them


def check_device(device: torch.device) -> None:
    """ValueError unless the device is a CUDA one."""
    if device.type != 'cuda':
        raise ValueError(f'CUDA graphs need a generator on CUDA, found one on {device}: draw without a graph')


def record(run: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, Callable[[], None]]:
    """run: works on tensors that stay in place -> its result, and a function that recomputes this result in place."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UPS):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = run()
    return result, graph.replay
