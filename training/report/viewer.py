"""Grids of generated images over time under one slider, for one run or several side by side."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from training.run.run_history import RunHistory

from .charts import number
from .images import MAX_FRAMES, Picture, choose_frames, read_picture

REPORT = 'report.html'
ALL_FRAMES, MIN_FRAMES = 96, 6  # where several runs share the page: of all, and of each run at least


@dataclasses.dataclass(frozen=True)
class Frames:
    """The shown pictures of a run, out of num_chosen chosen and num_all existing ones."""

    caption: str
    pictures: list[Picture]
    num_chosen: int
    num_all: int


@dataclasses.dataclass(frozen=True)
class Viewer:
    """A figure for each run that has pictures, beside the first run's real images."""

    figures: list[Frames]
    reals: Picture | None

    @property
    def kimgs(self) -> list[float]:
        """Thousands of images at which a run has a picture: the places of the slider."""
        return sorted({picture.kimg for figure in self.figures for picture in figure.pictures})


def view(runs: Mapping[str, RunHistory]) -> Viewer:
    """The pictures of all runs, {label: run}. Unreadable ones are added to the runs' problems."""
    most = min(max(ALL_FRAMES // len(runs), MIN_FRAMES), MAX_FRAMES)
    figures = [_frames(run, 'Generated images' if len(runs) == 1 else label, most) for label, run in runs.items()]
    first = next(iter(runs.values()))
    reals = _picture(first, first.reals, 'Real images', 0) if first.reals else None
    return Viewer([figure for figure in figures if figure.pictures], reals)


def _frames(run: RunHistory, caption: str, most: int) -> Frames:
    chosen = choose_frames(run.frames, most)
    alts = ['start' if path.stem == 'fakes_init' else f'{number(kimg)} thousand images' for kimg, path in chosen]
    pictures = [_picture(run, path, alt, kimg) for (kimg, path), alt in zip(chosen, alts, strict=True)]
    return Frames(caption, [picture for picture in pictures if picture], len(chosen), len(run.frames))


def _picture(run: RunHistory, path: Path, alt: str, kimg: float) -> Picture | None:
    """None, and a note in the run's problems, if it could not be read."""
    try:
        return read_picture(path, alt, kimg)
    except ValueError as error:
        run.problems.append(str(error))
        return None
