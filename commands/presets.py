"""The presets of --cfg: the settings of StyleGAN2-ADA (arXiv:2006.06676, appendix C), and a guess for other data."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Preset:
    """What --cfg chooses. The channel count at resolution r is min(cbase / r, --cmax)."""

    batch: int
    mbstd_group: int
    cbase: int
    learning_rate: float
    gamma: float
    ema_kimg: float
    ema_ramp: float | None
    map_depth: int
    pl_weight: float = 2.0
    mixing_prob: float = 0.9
    d_architecture: str = 'resnet'


# The published settings, for the resolutions in the names (stylegan2: 1024). Not measured again by this project.
PRESETS = {
    'stylegan2': Preset(32, 4, 32768, 0.002, 10, 10, None, 8),
    'paper256': Preset(64, 8, 16384, 0.0025, 1, 20, None, 8),
    'paper512': Preset(64, 8, 32768, 0.0025, 0.5, 20, None, 8),
    'paper1024': Preset(32, 4, 32768, 0.002, 2, 10, None, 8),
    'cifar': Preset(64, 32, 32768, 0.0025, 0.01, 500, 0.05, 2, pl_weight=0.0, mixing_prob=0.0, d_architecture='orig'),
}
PRESET_NAMES = ('auto', *PRESETS)


def auto_preset(resolution: int, gpus: int, batch: int | None = None) -> Preset:
    """Settings guessed from the resolution (pixels) and the number of processes; batch overrides the guessed batch size."""
    if batch is None:
        per_gpu = min(4096 // resolution, 32)  # bounded by memory
        batch = max(min(per_gpu * gpus, 64), gpus)
    return Preset(
        batch=batch,
        mbstd_group=max(min(batch // gpus, 4), 1),
        cbase=32768 if resolution >= 512 else 16384,
        learning_rate=0.002 if resolution >= 1024 else 0.0025,
        gamma=0.0002 * resolution**2 / batch,
        ema_kimg=batch * 10 / 32,
        ema_ramp=0.05,
        map_depth=2,
    )
