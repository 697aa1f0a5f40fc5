"""The page of view.py: its controls, and what shows their pictures. The pictures come from scene.py."""

from typing import Any

import gradio as gr

from .events import LARGEST_SEED, NUM_SLIDERS, Events, choice, resolutions, slider
from .networks import Networks
from .scene import OpenNetwork

WALK_SECONDS = 0.2  # between two steps of a walk
# A step of 0.05 on the way, and at the second seed towards the next one. The browser takes it: one that the server takes can
# come back after Stop, and undo what was set since then.
WALK_STEP = f"""(seed, second, position) => position < 0.95 ? [seed, second, Math.round(100 * position + 5) / 100]
    : [second, (second + 1) % {LARGEST_SEED + 1}, 0]"""
CSS = """
.picture img { image-rendering: pixelated; }
#picture img, #source img { width: 100%; height: 100%; object-fit: contain; }
.grid-container { grid-template-columns: repeat(auto-fill, minmax(72px, 1fr)) !important; }
@media (max-width: 640px) { .shown { order: -1; } }
"""
THEME = gr.themes.Base(primary_hue='indigo', font=['system-ui', 'sans-serif'], font_mono=['ui-monospace', 'monospace'])


def make_page(networks: Networks, folder: str) -> gr.Blocks:
    """folder: for the files of the page. ValueError or OSError if the first network cannot be opened."""
    first = networks.open(networks.names()[0])
    with gr.Blocks(title='hyper-stylegan2', analytics_enabled=False, delete_cache=(600, 600)) as page:
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                network, chosen, sliders = _network_controls(networks, first)
                scene = _scene_controls(first)
            with gr.Column(scale=3, min_width=300, elem_classes='shown'):
                shown = _shown(first)
        _connect(page, Events(networks, list(scene), folder), network, chosen, sliders, scene, shown)
    return page


def _network_controls(networks: Networks, first: OpenNetwork) -> tuple[Any, Any, list[Any]]:
    with gr.Row(equal_height=True):
        network = gr.Dropdown(networks.choices(), value=first.network, label='Snapshot', scale=4, min_width=180)
        refresh = gr.Button('Refresh', scale=1, min_width=70, size='sm')
    refresh.click(lambda: gr.update(choices=networks.choices()), outputs=network, show_progress='hidden')
    chosen = gr.Dropdown(**choice(first), multiselect=True, max_choices=NUM_SLIDERS, label='Classes')
    names = chosen.value or []
    sliders = [gr.Slider(step=0.01, **slider(first, name, float(index == 0 and bool(first.sampler.labels.class_names))))
               for index, name in enumerate(names)]
    return network, chosen, sliders + [gr.Slider(0, 1, 0, step=0.01, visible=False) for _ in range(NUM_SLIDERS - len(names))]


def _scene_controls(first: OpenNetwork) -> dict[str, Any]:
    """A control for each field of Scene but the label, by the field's name."""
    controls: dict[str, Any] = {}
    with gr.Row():
        controls['seed'] = gr.Number(0, label='Seed', precision=0, minimum=0, maximum=LARGEST_SEED, min_width=100)
        controls['noise_mode'] = gr.Dropdown(['const', 'random', 'none'], value='const', label='Noise', min_width=100)
    controls['psi'] = gr.Slider(0, 1, 0.7, step=0.01, label='Truncation')
    with gr.Accordion('Second seed: walk and style mixing', open=False):
        controls['second_seed'] = gr.Number(1, label='Second seed', precision=0, minimum=0, maximum=LARGEST_SEED)
        controls['position'] = gr.Slider(0, 1, 0, step=0.01, label='On the way to the second seed')
        _walk_button([controls[name] for name in ('seed', 'second_seed', 'position')])
        controls['resolutions'] = gr.CheckboxGroup(resolutions(first), label='Layers with the style of the second seed')
    with gr.Accordion('Projected w', open=False):
        controls['projected'] = gr.File(file_types=['.npz'], type='filepath', label='projected_w.npz in place of the seed')
    return controls


def _walk_button(moving: list[Any]) -> None:
    timer, walks, button = gr.Timer(WALK_SECONDS, active=False), gr.State(False), gr.Button('Walk')
    timer.tick(None, moving, moving, js=WALK_STEP, show_progress='hidden')
    button.click(lambda on: (not on, gr.update(active=not on), 'Walk' if on else 'Stop'), walks, [walks, timer, button],
                 show_progress='hidden')


def _shown(first: OpenNetwork) -> dict[str, Any]:
    """What shows pictures, by name."""
    shown: dict[str, Any] = {}
    options: dict[str, Any] = dict(format='png', interactive=False, height=420, min_width=220, elem_classes='picture')
    with gr.Row():
        shown['picture'] = gr.Image(label='Picture', buttons=['download', 'fullscreen'], elem_id='picture', **options)
        shown['source'] = gr.Image(label='Source', buttons=['download'], elem_id='source', visible=False, **options)
    shown['beside'] = gr.Checkbox(False, label='Show what the source draws for the same latent', visible=first.source is not None)
    shown['command'] = gr.Textbox(label='Command for this picture', buttons=['copy'], lines=3, elem_id='command')
    with gr.Row():
        shown['draw_classes'] = gr.Button('Draw every class', visible=bool(first.sampler.labels.class_names))
        shown['save_w'] = gr.Button('Save w')
    shown['file'] = gr.File(label='w of this picture', visible=False)
    shown['classes'] = gr.Gallery(show_label=False, format='png', height='auto', visible=False, object_fit='contain',
                                  elem_classes='picture')
    return shown


def _connect(page: gr.Blocks, events: Events, network: Any, chosen: Any, sliders: list[Any], scene: dict[str, Any],
             shown: dict[str, Any]) -> None:
    """Every control draws; of its positions during a picture only the last. Without the queue of gradio, which takes longer."""
    inputs = [network, chosen, *scene.values(), *sliders]
    drawn = [shown['picture'], shown['source'], shown['command']]
    quiet: dict[str, Any] = dict(show_progress='hidden')
    draw: dict[str, Any] = dict(fn=events.draw, inputs=[*inputs, shown['beside']], outputs=drawn, queue=False, **quiet)
    moved = [control.change for control in (*scene.values(), *sliders, shown['beside'])]
    gr.on([page.load, *moved], trigger_mode='always_last', **draw)

    labelled = gr.State(chosen.value or [])  # the names on the sliders
    network.change(events.change_network, network, [chosen, scene['resolutions'], shown['beside'], shown['draw_classes']],
                   **quiet).then(**draw)
    chosen.change(events.relabel, [network, chosen, labelled, *sliders], [labelled, *sliders], **quiet).then(**draw)
    shown['draw_classes'].click(events.draw_classes, inputs, shown['classes'])
    shown['save_w'].click(events.save_w, inputs, shown['file'])
