"""The transfer's loss with the words of stylegan3's training loop: it hands over G whole, and counts images."""
from typing import Any

import torch

from hyper_plugin.loss import HyperTransferLoss


class Stylegan3TransferLoss(HyperTransferLoss):
    """HyperTransferLoss for loops of stylegan3."""

    def __init__(self, device: torch.device, G: Any, D: torch.nn.Module, augment_pipe: torch.nn.Module | None = None,
                 **kwargs: Any) -> None:
        super().__init__(device, G.mapping, G.synthesis, D, augment_pipe, **kwargs)

    def accumulate_gradients(self, phase: str, real_img: torch.Tensor, real_c: torch.Tensor, gen_z: torch.Tensor,  # type: ignore[override]
                             gen_c: torch.Tensor, gain: float, cur_nimg: int) -> None:
        """One phase; cur_nimg, the images so far, changes nothing here."""
        super().accumulate_gradients(phase, real_img, real_c, gen_z, gen_c, sync=True, gain=gain)
