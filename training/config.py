"""The configuration of a training: the arguments of training_loop(), and the content of training_options.json."""

import dataclasses
from typing import Annotated, Any

from dnnlib.schema import Range, read_dataclass
from training.snapshot.known_classes import check_construction

Arguments = dict[str, Any]  # of a constructor, with the class_name
Count = Annotated[int, Range(1, 10**9)]
Weight = Annotated[float, Range(0)]
Positive = Annotated[float, Range(1e-12)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetConfig:
    """Arguments that open the data set. max_size: images to draw by random_seed; None: all."""

    class_name: str = 'training.dataset.ImageFolderDataset'
    path: str
    use_labels: bool
    max_size: Count | None
    xflip: bool
    resolution: Count  # pixels
    random_seed: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoaderConfig:
    """Arguments of torch.utils.data.DataLoader."""

    num_workers: Annotated[int, Range(0, 1024)]
    pin_memory: bool
    prefetch_factor: Count | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Adam and its settings."""

    class_name: str = 'torch.optim.Adam'
    lr: Weight
    betas: list[Annotated[float, Range(0, 0.999999)]]
    eps: Weight = 1e-8


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetricOptions:
    """Options of compute_metrics()."""

    detector: str
    num_gen: Annotated[int, Range(2)] | None  # images; None: the metric's own number
    seed: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetricsConfig:
    """Metrics of snapshots; the first decides which one is best. ticks: between two measurements."""

    names: list[str]
    ticks: Count | None
    options: MetricOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Every setting of a training. The names are those of training_options.json."""

    training_set_kwargs: DatasetConfig
    data_loader_kwargs: LoaderConfig
    G_kwargs: Arguments
    D_kwargs: Arguments
    G_opt_kwargs: OptimizerConfig
    D_opt_kwargs: OptimizerConfig
    loss_kwargs: Arguments
    augment_kwargs: Arguments | None  # None: no augmentation
    augment_p: Annotated[float, Range(0, 1)]  # probability of augmentation at the start
    ada_target: Annotated[float, Range(-1, 1)] | None  # mean sign of D(real) to hold; None: augment_p stays
    ada_interval: Count  # batches between changes of augment_p
    ada_kimg: Positive  # thousand images in which augment_p can move by 1
    random_seed: Annotated[int, Range(0, 2**32 - 1)]  # NumPy takes no larger one
    num_gpus: Count  # processes
    batch_size: Count  # images per batch, all processes together
    batch_gpu: Count  # images per pass of one process; a batch is gathered over several passes
    lr_decay: Annotated[float, Range(0, 1)] = 0  # share of the training, at its end, in which learning rates fall to a tenth
    ema_kimg: Weight  # half-life of the averaged generator
    ema_rampup: Weight | None  # limit of the half-life, as a share of the images so far
    G_reg_interval: Count | None  # batches between regularisation steps; None: in every main step
    D_reg_interval: Count | None
    total_kimg: Positive
    kimg_per_tick: Positive
    image_snapshot_ticks: Count | None  # None: only at the end
    network_snapshot_ticks: Count | None
    resume_pkl: str | None
    cudnn_benchmark: bool
    allow_tf32: bool
    device: str  # of this process: 'cpu', 'cuda:0', 'mps'
    num_threads: Annotated[int, Range(1, 4096)] | None = None  # torch's threads on the CPU; None: its own choice
    cond_ramp: list[Weight] | None = None  # thousand images: labels fade in from the first to the second number
    keep_snapshots: Count | None = None  # None: all
    metrics: MetricsConfig | None = None

    @property
    def mbstd_group(self) -> int | None:
        """Images per group of the minibatch deviation; None: a whole pass."""
        return self.D_kwargs.get('epilogue_kwargs', {}).get('mbstd_group_size', 4)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Any) -> 'TrainingConfig':
        """The configuration with these untrusted values. ValueError, one line, names the invalid one.

        Classes are known ones, arguments are theirs, numbers are in range.
        """
        config = read_dataclass(cls, values)
        for name in ('training_set_kwargs', 'G_kwargs', 'D_kwargs', 'G_opt_kwargs', 'D_opt_kwargs', 'loss_kwargs'):
            check_construction(name, values[name])
        if config.augment_kwargs is not None:
            check_construction('augment_kwargs', config.augment_kwargs)
        for name in ('G_opt_kwargs', 'D_opt_kwargs'):
            if len(getattr(config, name).betas) != 2:
                raise ValueError(f'{name}.betas has {len(getattr(config, name).betas)} numbers, expected 2')
        ramp = config.cond_ramp
        if ramp is not None and (len(ramp) != 2 or ramp[0] > ramp[1]):
            raise ValueError(f'cond_ramp is {ramp}, expected two numbers, the second no smaller than the first')
        return config
