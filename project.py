"""Projection: finds the w, and the class, with which a network draws a given picture."""

from pathlib import Path

import click

from commands.cli import (
    UserPath,
    check_outdir,
    command_errors,
    device_option,
    given_options,
    named_or_newest,
    resolve_device,
    verbose_option,
)
from generating.projection_run import VIDEO_FPS, label_to_project, project_target, save_found, search_video
from generating.target_pictures import is_picture, load_targets
from generating.video_file import check_video
from metrics.features.perceptual import default_embedding, get_embedding
from training.data.class_labels import NetworkLabels
from training.run.run_dir import DEFAULT_RUNS_DIR
from training.snapshot.reading import open_snapshot

EXAMPLES = """\b
Examples:
  python project.py --target=photo.jpg
  python project.py --network=animals.pkl --target=photos --class=cat --space=w+
  python generate.py --network=animals.pkl --projected-w=projected/projected_w.npz --grid
"""


@click.command(epilog=EXAMPLES)
@click.option('--network', metavar='PATH|URL', type=UserPath(),
              help=f'Snapshot (.pkl) to project into.  [default: the newest network-snapshot-*.pkl under {DEFAULT_RUNS_DIR}]')
@click.option('--target', metavar='FILE|DIR|ZIP', type=UserPath(), required=True,
              help='Picture, or a folder or zip of pictures, each projected by itself. The largest centred square is resized to '
                   "the network's resolution.")
@click.option('--class', 'class_text', metavar='NAME|INDEX|MIX|auto', default='auto', show_default=True,
              help='Class of the pictures, as in generate.py, or auto: found together with w.')
@click.option('--label', 'vector', metavar='NUMBERS', help='Label of the pictures, for networks trained on label vectors.')
@click.option('--space', type=click.Choice(['w', 'w+']), default='w', show_default=True,
              help='One w for all layers, or one for each: nearer to the picture, less like what the network draws by itself.')
@click.option('--steps', 'num_steps', type=click.IntRange(1, 1_000_000), default=1000, show_default=True,
              help='Steps of the search.')
@click.option('--detector', metavar='NAME|PATH|URL', type=UserPath(),
              help='Network whose features tell how near two pictures are: vgg16 (downloaded once), imagenet (an installed '
                   'package), or a TorchScript file like that of vgg16.  [default: vgg16 if it is there, else imagenet]')
@click.option('--seed', type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help='Random seed of the search.')
@click.option('--outdir', type=UserPath(file_okay=False, path_type=Path), default='projected', show_default=True,
              help='Folder for projected.png, target.png and projected_w.npz; with a folder of pictures, one below it for each.')
@click.option('--video', metavar='FILE', type=UserPath(dir_okay=False, path_type=Path),
              help=f'Also write a video of the search for one picture, beside it, {VIDEO_FPS} steps per second. The ending '
                   'chooses the format: .mp4, .gif or .webp.')
@click.option('--trust-pickle', is_flag=True, help='Run the code stored in the snapshot, for network classes that this program '
              'does not know. Only for files from people you trust.')
@device_option
@verbose_option
def main(network: str | None, target: str, class_text: str, vector: str | None, space: str, num_steps: int, detector: str | None,
         seed: int, outdir: Path, video: Path | None, trust_pickle: bool, device: str, verbose: bool) -> None:
    """Find the latent code w with which a network draws a picture, and the class.

    generate.py --projected-w draws the result again, as it is or in any class of the network.
    """
    if vector is not None and 'class_text' in given_options():
        raise click.UsageError('--class and --label exclude each other: give only one')
    with command_errors(verbose):
        place = resolve_device(device)
        check_outdir(outdir)
        if video is not None:
            _check_video(video, target)
        snapshot = open_snapshot(named_or_newest(network), trust_pickle)
        G = snapshot['G_ema'].eval().requires_grad_(False).to(place)
        labels = NetworkLabels.of(snapshot)
        label = label_to_project(labels, class_text, vector)
        targets = load_targets(target, G.img_channels, G.img_resolution)
        spec = detector or default_embedding()
        click.echo(f'Detector: {spec}')
        embed = get_embedding(spec, place)
        for name, pixels in targets.items():
            with search_video(video, pixels) as watch:
                found = project_target(G, pixels, embed, label, space == 'w+', num_steps, seed, place, watch)
            folder = outdir if is_picture(target) else outdir / name
            click.echo(save_found(folder, pixels, found, labels.class_names))


def _check_video(video: Path, target: str) -> None:
    if not is_picture(target):
        raise ValueError(f'--video={video} shows the search for one picture, but --target={target} is a folder or zip; give one '
                         'picture, or leave out --video')
    check_video(video, VIDEO_FPS)


if __name__ == '__main__':
    main()
