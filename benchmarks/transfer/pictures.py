"""Curves of the study, and the pictures of all methods side by side."""
import statistics
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from benchmarks.transfer.results import COLUMNS, Line
from benchmarks.transfer.trained_run import Cell

HEAD, GAP = 20, 8  # pixels above and between the grids


def curves(methods: dict[str, list[Line]]) -> Figure:
    """Mean over seeds of each method against images, in the upper row, and against minutes."""
    drawn = [column for column in COLUMNS if column.curve]
    figure = Figure(figsize=(4.5 * len(drawn), 8), layout='constrained')
    for row, (axis, label) in zip(figure.subplots(2, len(drawn)), (('kimg', 'thousand images'), ('cpu_minutes', 'CPU minutes')),
                                  strict=True):
        for axes, column in zip(row, drawn, strict=True):
            for name, lines in methods.items():
                steps = [[line for line in lines if line['kimg'] == kimg] for kimg in sorted({line['kimg'] for line in lines})]
                x = [statistics.fmean(line[axis] for line in step) for step in steps]
                y = [statistics.fmean(line['values'][column.name] for line in step) for step in steps]
                axes.plot(x, y, marker='o', label=name)
            axes.set(xlabel=label, ylabel=column.title)
            axes.grid(alpha=0.3)
    row[-1].legend(fontsize='small')
    return figure


def side_by_side(workdir: Path, methods: dict[str, list[Line]]) -> Image.Image | None:
    """The pictures of each method with its first seed, under its name; None where a run is not here."""
    panels = []
    for name, lines in methods.items():
        settings = lines[0]['settings']
        path = Cell(settings['transfer'], name, settings['seed'], settings['kimg']).folder(workdir) / 'grid.png'
        if path.is_file():
            with Image.open(path) as grid:
                panels.append((name, grid.convert('RGB')))
    if len(panels) < len(methods):
        return None
    width, height = sum(grid.width + GAP for _, grid in panels), HEAD + max(grid.height for _, grid in panels)
    picture = Image.new('RGB', (width, height), 'white')
    left = 0
    for name, grid in panels:
        ImageDraw.Draw(picture).text((left + 4, 4), name, fill='black')
        picture.paste(grid, (left, HEAD))
        left += grid.width + GAP
    return picture
