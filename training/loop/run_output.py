"""What a run writes into its directory: pictures, snapshots, training states, the report.

A full disk does not stop training: a warning says so, and the next tick tries again.
"""

import dataclasses
import shlex
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dnnlib.files import is_disk_full
from torch_utils import collectives, misc, training_stats
from training.config import TrainingConfig
from training.parallel.stop_signals import StopSignals
from training.run.run_dir import prune_snapshots
from training.snapshot.writing import save_network_pkl

from .diversity import statistic_of
from .optimizer_phases import check_phases
from .sample_grid import SampleGrid, save_fakes, save_reals
from .snapshot_metrics import measure_snapshot
from .training_state import TrainingState, save_state

RETRY_SEC = 10
RefreshReport = Callable[[Path, Callable[[str], None]], None]


class RunOutput:
    """Every process has one, since they agree on what is saved; only the first one writes.

    generator: draws pictures, a function of z, c and noise_mode. refresh_report: called with the run directory and a function
    that prints problems, whenever files there have changed.
    """

    def __init__(self, run_dir: Path, config: TrainingConfig, state: TrainingState, dataset: Any, samples: SampleGrid,
                 generator: Any, rank: int, stop: StopSignals, refresh_report: RefreshReport):
        self.run_dir = run_dir
        self.config = config
        self.state = state
        self.dataset = dataset
        self.samples = samples
        self.generator = generator
        self.rank = rank
        self.is_first = rank == 0
        self.stop = stop
        self.refresh_report = refresh_report
        self.is_behind = False  # the last attempt to save failed

    def save_start(self) -> None:
        """Real images, and generated ones before the first step."""
        if self.is_first:
            save_reals(self.samples, self.dataset, self.run_dir / 'reals.png')
            self._save_fakes('fakes_init.png')
            self._free_generator()

    def end_tick(self, done: bool, stopping: bool) -> None:
        """Report the tick and save what is due; everything if the loop ends here.

        FloatingPointError if a loss stays non-finite; OSError if the last state cannot be written.
        """
        state, tick, last = self.state, self.state.progress.tick, done or stopping
        warnings = self._measure_diversity(tick) if self.is_first else []
        means = state.progress.end_tick(state.images_done, state.augment_p)
        check_phases(state.phases, state.batch_index, state.images_done, last=done, losses=means)
        for warning in warnings:
            state.progress.say(f'Warning: {warning}')
        with state.progress.paused():
            self._save_due(tick, done, last)
        self._free_generator()

    def _save_due(self, tick: int, done: bool, last: bool) -> None:
        config, state = self.config, self.state
        if self.is_first and is_due(tick, config.image_snapshot_ticks, last):
            self._try(lambda: self._save_fakes(f'fakes{state.images_done // 1000:06d}.png'), last=False)
        measures = config.metrics is not None and is_due(tick, config.metrics.ticks, done)
        if measures or is_due(tick, config.network_snapshot_ticks, last) or self.is_behind:
            self.save_networks(last)
        if measures and not self.is_behind:
            measure_snapshot(state.networks['G_ema'], self.snapshot, config, self.rank, state.device)
            if self.is_first:
                self.refresh_report(self.run_dir, state.progress.say)

    def save_networks(self, last: bool) -> None:
        """Write snapshot and training state, prune, refresh the report. OSError if they are the last and cannot be written."""
        for name in ('G', 'D'):
            misc.check_ddp_consistency(self.state.networks[name])
        saved = self.state.state_dict()
        failed = self.is_first and not self._try(lambda: self._write_networks(saved), last)
        self.is_behind = collectives.any_process(failed, self.state.device)

    @property
    def snapshot(self) -> Path:
        """Path of the current snapshot."""
        return self.run_dir / f'network-snapshot-{self.state.images_done // 1000:06d}.pkl'

    def save_missing_snapshot(self) -> None:
        """Write the snapshot of the state that a run continues from, if its process died between writing the two."""
        if self.is_first and not self.snapshot.exists():
            self._try(self._write_snapshot, last=False)

    def _write_networks(self, saved: dict[str, Any]) -> None:
        save_state(self.run_dir, saved)  # first: without it, nobody knows whose the snapshot is
        self._write_snapshot()
        prune_snapshots(self.run_dir, self.config.keep_snapshots)
        self.refresh_report(self.run_dir, self.state.progress.say)

    def _write_snapshot(self) -> None:
        save_network_pkl(self.snapshot, dict(
            **self.state.networks, augment_pipe=self.state.augment_pipe, class_names=list(self.dataset.class_names),
            training_set_kwargs=dataclasses.asdict(self.config.training_set_kwargs)))

    def _measure_diversity(self, tick: int) -> list[str]:
        """Report the spread of every class; returns warnings."""
        ratios = self.state.alarm.measure(self.generator, tick, self.config.batch_gpu)
        for name, ratio in ratios.items():
            training_stats.report0(statistic_of(name), ratio)
        if ratios:
            training_stats.report0('Diversity/min', min(ratios.values()))
            training_stats.report0('Diversity/mean', sum(ratios.values()) / len(ratios))
        return self.state.alarm.warnings(ratios)

    def _free_generator(self) -> None:
        """Free what the generator cached for drawing; the next step makes it stale."""
        self.state.networks['G_ema'].eval()

    def _save_fakes(self, name: str) -> None:
        save_fakes(self.samples, self.generator, self.config.batch_gpu, self.run_dir / name)
        self.state.progress.images('fakes', self.run_dir / name)

    def _try(self, write: Callable[[], None], last: bool) -> bool:
        """Whether write() had enough disk space. The last state waits for space; OSError if the run was told to stop."""
        said = False
        while True:
            try:
                write()
                return True
            except OSError as error:
                if not is_disk_full(error):
                    raise
                if last and self.stop.asked:
                    text = (f'no space left to save the state after {self.state.images_done / 1000:g} thousand images; free '
                            f'some space and continue from the last good one with --resume={shlex.quote(str(self.run_dir))}')
                    raise OSError(error.errno, text, str(self.run_dir)) from error
            if not said:
                self._say_full('the run waits for space to '
                               'finish' if last else 'training continues and tries to save again at every tick')
            if not last:
                return False
            said = True
            time.sleep(RETRY_SEC)

    def _say_full(self, then: str) -> None:
        free_mib = shutil.disk_usage(self.run_dir).free / 2**20
        self.state.progress.say(f'Warning: the disk of {self.run_dir} is full ({free_mib:.1f} MiB free). The last good state is '
                                f'kept; {then}. Free some space.')


def is_due(tick: int, every: int | None, last: bool) -> bool:
    """Whether pictures and snapshots are due: every `every` ticks, not before the first whole one, and always at the end."""
    return last or (every is not None and tick > 0 and tick % every == 0)
