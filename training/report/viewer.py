"""Grids of generated images over time under one slider, for one run or several side by side."""

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path

from training.run.run_record import Run

from .charts import number
from .images import MAX_FRAMES, Pictures, choose_frames, image_tag, pictures_in

REPORT = 'report.html'
ALL_FRAMES, MIN_FRAMES = 96, 6  # where several runs share the page: of all, and of each run at least


def viewer(runs: Mapping[str, Run]) -> str:
    """The pictures of all runs, {label: run}, beside the first run's real ones; '' without any.

    What could not be read is added to the runs' problems.
    """
    most = min(max(ALL_FRAMES // len(runs), MIN_FRAMES), MAX_FRAMES)
    known = {label: pictures_in(run.path / REPORT) for label, run in runs.items()}
    figures: list[str] = []
    places: set[float] = set()
    for label, run in runs.items():
        figure, kimgs = _frames(run, 'Generated images' if len(runs) == 1 else label, most, known[label])
        figures.append(figure)
        places.update(kimgs)
    label, first = next(iter(runs.items()))
    if first.reals is not None and (tag := _tag(first, first.reals, 'Real images', known[label])):
        figures.append(f'<figure><figcaption>Real images</figcaption>{tag}</figure>')
    if not any(figures):
        return ''
    return '\n'.join(['<div class="viewer">', '<div class="control">', _slider(sorted(places)),
                      '<label><input type="checkbox" class="larger"> larger pictures</label>', '</div>',
                      '<div class="grids">', *filter(None, figures), '</div>', '</div>'])


def _slider(kimgs: list[float]) -> str:
    """Moves over the places in thousands of images at which a run has a picture."""
    if len(kimgs) < 2:
        return ''
    return (f'<input type="range" min="0" max="{len(kimgs) - 1}" value="{len(kimgs) - 1}" autocomplete="off" '
            f'data-kimg="{escape(json.dumps(kimgs))}" aria-label="Training progress"><output></output>')


def _frames(run: Run, caption: str, most: int, known: Pictures) -> tuple[str, list[float]]:
    """The figure of a run's frames, of which the last shows without the script, and their thousands of images."""
    chosen = choose_frames(run.frames, most)
    alts = ['start' if path.stem == 'fakes_init' else f'{number(kimg)} thousand images' for kimg, path in chosen]
    tags = [(kimg, tag) for (kimg, path), alt in zip(chosen, alts, strict=True)
            if (tag := _tag(run, path, alt, known, f' data-kimg="{kimg:.12g}"'))]
    if not tags:
        return '', []
    images = [tag.replace('<img ', '<img hidden ', 1) for _, tag in tags[:-1]] + [tags[-1][1]]
    left_out = len(run.frames) - len(chosen)
    note = f'<p class="note">{len(chosen)} of {len(run.frames)} pictures are on this page; all are in the run directory.</p>'
    return '\n'.join([f'<figure class="frames"><figcaption>{escape(caption)} <small class="of"></small></figcaption>', *images,
                      note if left_out else '', '</figure>']), [kimg for kimg, _ in tags]


def _tag(run: Run, path: Path, alt: str, known: Pictures, more: str = '') -> str:
    """The picture; '' if it could not be read, which the run then says."""
    try:
        return image_tag(path, alt, known, more)
    except ValueError as error:
        run.problems.append(str(error))
        return ''
