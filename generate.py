"""Pictures from a snapshot: one file for each seed, a grid of all classes, a path from one class to another, or a video."""

from pathlib import Path
from typing import Any

import click

from commands.cli import (
    UserPath,
    command_errors,
    device_option,
    given_options,
    named_or_newest,
    parse_seeds,
    resolve_device,
    verbose_option,
)
from commands.video_options import video_options, video_settings
from generating.pictures import save_class_grid, save_each, save_path
from generating.projected_w import load_projected
from generating.sampler import load_sampler
from generating.video import save_video
from training.run.run_dir import DEFAULT_RUNS_DIR

EXAMPLES = """\b
Examples:
  python generate.py --class=cat --seeds=0-63
  python generate.py --network=ffhq.pkl --trunc=0.7
  python generate.py --grid --seeds=0-7 --outdir=grids
  python generate.py --interpolate=cat,dog --seeds=3
  python generate.py --video=walk.mp4 --class=cat --seeds=0-7
  python generate.py --projected-w=projected/projected_w.npz --grid
"""


@click.command(epilog=EXAMPLES)
@click.option('--network', metavar='PATH|URL', type=UserPath(),
              help=f'Snapshot (.pkl) to draw from.  [default: the newest network-snapshot-*.pkl under {DEFAULT_RUNS_DIR}]')
@click.option('--seeds', default='0-15', show_default=True, metavar='LIST',
              help='Seeds of the latent codes: numbers and ranges, as in 0-63,70.')
@click.option('--projected-w', 'projected', metavar='FILE', type=UserPath(dir_okay=False),
              help='Draw the w of a projected_w.npz, as project.py writes it, in place of those of seeds: as it is, or in '
                   'another class with --class, --grid or --interpolate.')
@click.option('--class', 'class_text', metavar='NAME|INDEX|MIX',
              help='Class to draw, by name or number, or a mix of classes with their shares, as in cat:0.3,dog:0.7. In a mix, '
              'write a comma, colon or backslash in a name with a backslash before it.')
@click.option('--label', 'vector', metavar='NUMBERS', help='Label to draw, for networks trained on label vectors: as many '
              'numbers as in the training data, separated by commas, as in 0.2,1,0.')
@click.option('--grid', is_flag=True, help='One picture, grid.png: a row for each class, a column for each seed.')
@click.option('--interpolate', metavar='A,B', help='One picture, A-to-B.png: a row for each seed, from class A to class B, or '
              'from one mix to another. Write a comma in A or B as \\,.')
@click.option('--steps', type=click.IntRange(2, 1000), default=9, show_default=True, help='Images in a row of --interpolate.')
@click.option('--trunc', 'psi', type=float, default=1, show_default=True,
              help='Truncation psi: 1 keeps all variety, 0 gives the mean image; about 0.7 is a usual choice.')
@click.option('--noise-mode', type=click.Choice(['const', 'random', 'none']), default='const', show_default=True,
              help='Per-pixel noise: the same for every image, fresh each time, or none.')
@click.option('--outdir', type=UserPath(file_okay=False, path_type=Path), default='out', show_default=True,
              help='Folder for the pictures; created if missing.')
@click.option('--batch', type=click.IntRange(min=1), default=8, show_default=True, help='Batch size, in images.')
@click.option('--cuda-graph', is_flag=True, help='Record one pass as a CUDA graph and replay it: faster for small images. Only '
              'for baked or plain networks, on CUDA.')
@click.option('--trust-pickle', is_flag=True, help='Run the code stored in the snapshot, for network classes that this program '
              'does not know. Only for files from people you trust.')
@video_options
@device_option
@verbose_option
def main(network: str | None, seeds: str, projected: str | None, class_text: str | None, vector: str | None, grid: bool,
         interpolate: str | None, steps: int, psi: float, noise_mode: str, outdir: Path, batch: int, cuda_graph: bool,
         trust_pickle: bool, device: str, verbose: bool, **video: Any) -> None:
    """Draw pictures from a trained network.

    Files are named by seed: seed0000.png, or with --class cat-seed0000.png. A seed gives the same latent code for every class,
    the same as in other tools that read these snapshots. With --projected-w files are named projected0000.png.
    """
    if sum([class_text is not None, vector is not None, grid, interpolate is not None]) > 1:
        raise click.UsageError('--class, --label, --grid and --interpolate exclude each other: give only one')
    if projected is not None and {'seeds', 'psi', 'cuda_graph'} & set(given_options()):
        raise click.UsageError('--projected-w takes the place of --seeds, and neither --trunc nor --cuda-graph goes with it')
    settings = video_settings(noise_mode=noise_mode, cuda_graph=cuda_graph, **video)
    with command_errors(verbose):
        seed_list = parse_seeds(seeds)
        sampler = load_sampler(named_or_newest(network), trust_pickle, resolve_device(device), psi, noise_mode, batch, cuda_graph)
        if projected is not None:
            walks_classes = settings is not None and settings.walk in ('class', 'both')
            has_class = any([class_text is not None, vector is not None, grid, interpolate is not None, walks_classes])
            sampler, seed_list = load_projected(sampler, projected, has_class)
        if settings is not None:
            saved = save_video(sampler, seed_list, class_text, vector, grid, interpolate, settings)
        elif grid:
            saved = save_class_grid(sampler, seed_list, outdir)
        elif interpolate is not None:
            saved = save_path(sampler, seed_list, interpolate, steps, outdir)
        else:
            saved = save_each(sampler, seed_list, class_text, vector, outdir)
        click.echo(f'Saved {saved}')


if __name__ == '__main__':
    main()
