"""A page on this machine that draws while you move its sliders."""

import importlib.util
import os
import tempfile

import click

from commands.cli import RunError, UserPath, command_errors, device_option, resolve_device, verbose_option
from training.run.run_dir import DEFAULT_RUNS_DIR, newest_snapshot
from viewing.networks import Networks

EXAMPLES = """\b
Examples:
  python view.py
  python view.py --network=animals.pkl --port=8000
"""


@click.command(epilog=EXAMPLES)
@click.option('--network', metavar='PATH|URL', type=UserPath(),
              help=f'Snapshot (.pkl) to begin with. The page offers it beside all snapshots under {DEFAULT_RUNS_DIR}.  '
                   '[default: the newest of those]')
@click.option('--host', default='127.0.0.1', show_default=True, metavar='ADDRESS',
              help='Address to listen on. The page has no password: with any other than the default, others can reach it.')
@click.option('--port', type=click.IntRange(1, 65535), help='Port to listen on.  [default: the first free one from 7860]')
@click.option('--browser/--no-browser', default=True, show_default=True, help='Open the page in a browser.')
@click.option('--trust-pickle', is_flag=True, help='Run the code stored in snapshots, for network classes that this program does '
              'not know. Only for files from people you trust.')
@device_option
@verbose_option
def main(network: str | None, host: str, port: int | None, browser: bool, trust_pickle: bool, device: str, verbose: bool) -> None:
    """Show a page with a slider for each class, and draw what it asks for. Ctrl-C ends it.

    The page loads nothing from the internet.
    """
    with command_errors(verbose):
        if network is None:
            newest_snapshot()  # an error if there is none
        networks = Networks(network, DEFAULT_RUNS_DIR, trust_pickle, resolve_device(device))
        with tempfile.TemporaryDirectory(prefix='hyper-stylegan2-') as folder:
            os.environ.update(GRADIO_ANALYTICS_ENABLED='False', GRADIO_TEMP_DIR=folder)  # read when gradio is imported
            if importlib.util.find_spec('gradio') is None:
                raise RunError('the page needs the package gradio: pip install gradio')
            from viewing.page import CSS, THEME, make_page

            page = make_page(networks, folder)
            try:
                _app, address, _shared = page.launch(
                    server_name=host, server_port=port, inbrowser=browser, share=False, quiet=True, ssr_mode=False, theme=THEME,
                    css=CSS, footer_links=[], prevent_thread_lock=True)
            except OSError as error:
                raise ValueError(f'cannot listen on {host}, port {port or "7860 to 7959"}: give a free --port') from error
            click.echo(f'Page: {address} (Ctrl-C ends it)')
            page.block_thread()


if __name__ == '__main__':
    main()
