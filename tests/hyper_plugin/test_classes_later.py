"""Other classes for a hyper-modulated snapshot: what is known by name stays, what is new starts from it, what is frozen
stays bit for bit, and only the new class's own parts learn."""

import io
import json
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

import generate
import legacy
import train_hyper
from exporting.baked import bake_network
from hyper_plugin.class_growth import ClassGrowth, match_classes
from hyper_plugin.grown_networks import grown_discriminator, grown_generator, starting_mix
from hyper_plugin.nearest_class import nearest_classes
from hyper_plugin.networks import HyperDiscriminator, HyperGenerator
from tests.support.commands import invoke, invoke_run
from tests.support.hyper_sources import labels, make_hyper, make_hyper_D, make_source, make_source_D, randomise_, tensors
from torch_utils.misc import copy_params_and_buffers

KNOWN = ('cat', 'dog', 'owl')
TINY = ['--device=cpu', '--batch=4', '--tick=0.008', '--gamma=0.1', '--lr-decay=0']
BRIGHTNESS = dict(cat=40, dog=120, owl=200, fox=210, bee=50)


def write_data(path, *names, count=6):
    """A zip of 16x16 pictures; a class is a brightness, plus noise. fox looks like owl, bee like cat."""
    rng = np.random.default_rng(0)
    rows = []
    with zipfile.ZipFile(path, 'w') as archive:
        for label, name in enumerate(names):
            for number in range(count):
                pixels = (BRIGHTNESS[name] + rng.integers(0, 40, [16, 16, 3])).astype(np.uint8)
                stream = io.BytesIO()
                Image.fromarray(pixels).save(stream, format='PNG')
                archive.writestr(f'{name}{number}.png', stream.getvalue())
                rows.append([f'{name}{number}.png', label])
        archive.writestr('dataset.json', json.dumps(dict(labels=rows, class_names=names)))
    return path


def grown(G, growth, mix):
    """The generator that a run would start from."""
    kwargs = {**G.init_kwargs, 'c_dim': len(growth.names), **growth.generator_kwargs(G)}
    target = HyperGenerator(**kwargs).eval()
    copy_params_and_buffers(grown_generator(G, growth, mix), target)
    return target


def growth_of(names, frozen=False, known=KNOWN):
    return ClassGrowth(known, tuple(names), tuple(known.index(name) if name in known else None for name in names), frozen)


def draw(G, classes, z=None):
    z = torch.randn([len(classes), G.z_dim], generator=torch.Generator().manual_seed(3)) if z is None else z
    with torch.no_grad():
        return G(z, torch.eye(G.c_dim)[list(classes)], noise_mode='const')


@pytest.fixture
def model():
    return randomise_(make_hyper(make_source()))


def learn(G, classes, steps=3):
    """A few steps on an image loss; the parameters that had a gradient other than zero."""
    learning = {name: parameter.requires_grad_(True) for name, parameter in G.named_parameters()}
    optimiser = torch.optim.Adam(learning.values(), lr=0.05)
    touched = set()
    for _ in range(steps):
        optimiser.zero_grad()
        images = G(torch.randn(len(classes), G.z_dim), torch.eye(G.c_dim)[list(classes)])
        (images - 0.7).square().mean().backward()
        touched |= {name for name, parameter in learning.items() if parameter.grad is not None and parameter.grad.any()}
        optimiser.step()
    return touched


# --- which classes are known ---

def test_classes_are_matched_by_name(model):
    growth = match_classes('a.pkl', model, KNOWN, ['owl', 'fox', 'cat'], 3, False)
    assert growth.old == (2, None, 0) and growth.new == [1] and growth.changes
    note, = growth.notes(model)
    assert note == 'classes of the data, compared with the snapshot: kept: owl, cat; new: fox; dropped: dog'
    assert not match_classes('a.pkl', model, KNOWN, KNOWN, 3, False).changes


@pytest.mark.parametrize('known, names, dim', [
    (KNOWN, ['0', '1', '2'], 3), ([], ['a', 'b', 'c'], 3), ([], [], 3),
])
def test_without_names_as_many_classes_are_the_same_in_order(known, names, dim, model):
    assert not match_classes('a.pkl', model, known, names, dim, False).changes


def test_numbers_are_names_too(model):
    assert match_classes('a.pkl', model, ['0', '1', '2'], [str(k) for k in range(5)], 5, False).old == (0, 1, 2, None, None)
    assert match_classes('a.pkl', model, ['2', '0', '1'], ['0', '1', '2'], 3, False).old == (1, 2, 0)


@pytest.mark.parametrize('known, names, dim, frozen, texts', [
    (KNOWN, ['0', '1'], 2, False, ['3 classes (cat, dog, owl)', '2 without names', 'class_names']),
    (KNOWN, [], 2, False, ['3 classes (cat, dog, owl)', 'label vectors of 2 numbers', 'same kind and number']),
    ([], [], 4, False, ['label vectors of 3 numbers', 'label vectors of 4 numbers']),
    ([], ['a', 'b'], 2, False, ['label vectors of 3 numbers', '2 classes (a, b)']),
    (KNOWN, KNOWN, 3, True, ['--freeze-old-classes', 'nothing to learn', 'add a class']),
    (KNOWN, ['cat', 'dog'], 2, True, ['--freeze-old-classes', 'nothing to learn']),
    (KNOWN, ['fox', 'bee'], 2, True, ['--freeze-old-classes', 'none of the classes', 'cat, dog, owl']),
])
def test_labels_that_cannot_be_told_or_frozen(known, names, dim, frozen, texts, model):
    with pytest.raises(ValueError) as error:
        match_classes('a.pkl', model, known, names, dim, frozen)
    assert '\n' not in str(error.value)
    for text in texts:
        assert text in str(error.value)


# --- what the networks start with ---

def test_known_classes_keep_their_pictures_wherever_they_move(model):
    growth = growth_of(['owl', 'fox', 'cat', 'bee'])
    G = grown(model, growth, starting_mix(growth, {1: 1, 3: 0}))
    z = torch.randn(4, G.z_dim)
    torch.testing.assert_close(draw(G, [0, 1, 2, 3], z), draw(model, [2, 1, 0, 0], z), rtol=0, atol=1e-5)
    assert {name for name, _parameter in G.named_parameters()} == {name for name, _parameter in model.named_parameters()}


def test_the_mean_starts_from_the_mean_of_the_rows(model):
    growth = growth_of(['cat', 'fox'])
    G = grown(model, growth, starting_mix(growth, None))
    z = torch.randn(1, G.z_dim)
    want = model(z, torch.full([1, 3], 1 / 3), noise_mode='const')
    torch.testing.assert_close(draw(G, [1], z), want.detach(), rtol=0, atol=1e-5)
    torch.testing.assert_close(G.mapping.class_code.table[1], model.mapping.class_code.table.mean(dim=0))


@pytest.mark.parametrize('d_cond', ['heads', 'projection'])
def test_the_discriminator_judges_known_classes_as_before(d_cond):
    D = make_hyper_D(make_source_D(), d_cond=d_cond)
    with torch.no_grad():
        if d_cond == 'heads':
            D.heads.normal_()
        else:
            D.project.weight.normal_()
            randomise_(D.mapping)
    growth = growth_of(['owl', 'fox', 'cat', 'bee', 'dog'])
    target = HyperDiscriminator(**{**D.init_kwargs, 'c_dim': 5, 'img_resolution': 16, 'img_channels': 3, 'd_cond': d_cond}).eval()
    copy_params_and_buffers(grown_discriminator(D, starting_mix(growth, {1: 1, 3: 0})), target)
    h = torch.randn(5, D.b4.out.weight.shape[1])
    torch.testing.assert_close(target.logits(h, torch.eye(5)), D.logits(h, labels(2, 1, 0, 0, 1)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('with_D', [True, False])
def test_nearest_is_the_class_whose_images_look_alike(with_D, tmp_path):
    from training.data.image_dataset import ImageFolderDataset
    D = make_hyper_D(make_source_D()) if with_D else None
    data = ImageFolderDataset(write_data(tmp_path / 'a.zip', 'cat', 'fox', 'dog', 'owl', 'bee'), use_labels=True)
    growth = growth_of(['cat', 'fox', 'dog', 'owl', 'bee'])
    assert nearest_classes(growth, None, D, data, 0, torch.device('cpu')) == {1: 2, 4: 0}
    data.close()


def test_without_known_images_those_of_the_generator_stand_in(tmp_path):
    from training.data.image_dataset import ImageFolderDataset

    class Flat:
        """Images of the brightness of each known class."""
        c_dim, z_dim = 3, 2

        def __call__(self, z, c, noise_mode):
            bright = torch.tensor([60., 140., 220.]) / 127.5 - 1
            return (c @ bright)[:, None, None, None].expand(-1, 3, 16, 16)

    data = ImageFolderDataset(write_data(tmp_path / 'a.zip', 'fox', 'bee'), use_labels=True)
    assert nearest_classes(growth_of(['fox', 'bee']), Flat(), None, data, 0, torch.device('cpu')) == {0: 2, 1: 0}
    data.close()


# --- frozen classes ---

def test_frozen_classes_stay_bit_for_bit_while_new_ones_learn(model):
    growth = growth_of(['cat', 'fox', 'dog', 'owl', 'bee'], frozen=True)
    G = grown(model, growth, starting_mix(growth, {1: 2, 4: 0}))
    assert G.w_dim == model.w_dim + 2
    z, mixed = torch.randn(6, G.z_dim), [0, 1, 2, 3, 4, 1]
    old = [row for row, place in enumerate(mixed) if growth.old[place] is not None]
    before, alone = draw(G, mixed, z), draw(model, [0, 1, 2, 0, 1, 2], z)
    assert torch.equal(draw(G, [0, 2, 3, 0, 2, 3], z), alone)  # a batch of old classes is that of the old network
    torch.testing.assert_close(before, draw(model, [0, 2, 1, 2, 0, 2], z), rtol=0, atol=1e-5)  # new ones start as the nearest
    learn(G.train(), [0, 1, 2, 3, 4, 4])
    after = draw(G.eval(), mixed, z)
    assert torch.equal(after[old], before[old]) and torch.equal(draw(G, [0, 2, 3, 0, 2, 3], z), alone)
    assert all((after[row] - before[row]).abs().max() > 1e-2 for row in (1, 4, 5))


def test_only_the_own_parts_of_the_classes_seen_have_gradients(model):
    growth = growth_of(['cat', 'fox', 'dog', 'owl', 'bee'], frozen=True)
    G = grown(model, growth, starting_mix(growth, None))
    parameters = {name for name, _parameter in G.named_parameters()}
    assert parameters and all({'own0', 'own1'} & set(name.split('.')) for name in parameters)
    assert {'mapping.class_code.table', 'synthesis.b8.conv0.hyper.gamma.full.weight'} <= {name for name, _b in G.named_buffers()}
    assert learn(G, [0, 1, 2, 1]) == {name for name in parameters if 'own0' in name.split('.')}
    assert learn(G, [0, 2, 3, 3]) == set()  # old classes alone: gradients are there, and zero
    assert learn(G, [4, 4]) == {name for name in parameters if 'own1' in name.split('.')}


def test_a_finetuned_model_is_frozen_as_well(model):
    G = make_hyper(make_source(), finetune=True)
    growth = growth_of([*KNOWN, 'fox'], frozen=True)
    G2 = grown(G, growth, starting_mix(growth, {3: 0})).train()
    before = tensors(G2)
    learn(G2, [0, 3, 1, 3])
    changed = {name for name, tensor in tensors(G2).items() if not torch.equal(tensor, before[name])}
    assert changed and all('own0' in name.split('.') for name in changed)  # w_avg too stays


def test_frozen_twice_then_thawed_and_shrunk(model):
    growth = growth_of([*KNOWN, 'fox'], frozen=True)
    G = grown(model, growth, starting_mix(growth, {3: 2}))
    learn(G, [3, 3])
    second = growth_of(['bee', 'fox', 'owl'], frozen=True, known=growth.names)  # bee starts as fox, with fox's own parts
    G2 = grown(G, second, starting_mix(second, {0: 3}))
    assert G2.init_kwargs['own_classes'] == [1, 0] and G2.init_kwargs['learning_own'] == 1
    z = torch.randn(3, G.z_dim)
    torch.testing.assert_close(draw(G2, [0, 1, 2], z), draw(G, [3, 3, 2], z), rtol=0, atol=1e-5)
    before = draw(G2, [0, 1, 2], z)
    learn(G2, [0, 1, 2])
    after = draw(G2, [0, 1, 2], z)
    assert torch.equal(after[1:], before[1:]) and not torch.equal(after[0], before[0])
    thawed = growth_of(['fox', 'bee', 'cat'], known=second.names)
    G3 = grown(G2, thawed, starting_mix(thawed, {2: 2}))
    torch.testing.assert_close(draw(G3, [0, 1], z[:2]), draw(G2, [1, 0], z[:2]), rtol=0, atol=1e-5)
    assert {'mapping.class_code.table', 'synthesis.b4.conv1.hyper.own0.bias'} <= {name for name, _p in G3.named_parameters()}
    bare = growth_of(['owl', 'cat'], known=second.names)  # neither has parts of its own, but a new class gets some: a copy
    assert grown(G2, bare, starting_mix(bare, {1: 2})).init_kwargs['own_classes'] == [1]
    only = growth_of(['owl'], known=second.names)
    assert grown(G2, only, starting_mix(only, {})).init_kwargs['own_classes'] == []


def test_own_parts_travel_in_ws_bake_and_reload(model, tmp_path):
    growth = growth_of([*KNOWN, 'fox'], frozen=True)
    G = grown(model, growth, starting_mix(growth, {3: 2}))
    learn(G, [3, 3])
    z = torch.randn(2, G.z_dim)
    ws = G.mapping(z, torch.eye(4)[[3, 1]], truncation_psi=0.7)
    assert ws.shape[2] == G.w_dim and ws[:, :, model.w_dim - 4].unique().tolist() == [0, 1]
    want = draw(G, [3, 3], z)
    plain = bake_network(G, torch.eye(4)[3])
    torch.testing.assert_close(plain(z, None, noise_mode='const'), want, rtol=0, atol=1e-5)
    legacy.save_network_pkl(tmp_path / 'net.pkl', dict(G_ema=G))
    for trust in (False, True):
        again = legacy.load_network_pkl(tmp_path / 'net.pkl', trust=trust)['G_ema']
        assert torch.equal(draw(again, [3, 3], z), want)
    soft = torch.tensor([[0.5, 0, 0, 0.5]])
    assert G(z[:1], soft, noise_mode='const').isfinite().all()


@pytest.mark.parametrize('kwargs', [dict(own_classes=[3]), dict(own_classes=[1, 1]), dict(own_classes=[1], learning_own=2),
                                    dict(learning_own=1)])
def test_own_classes_that_cannot_be(kwargs):
    with pytest.raises(ValueError, match='own_classes'):
        make_hyper(make_source(), **kwargs)


# --- the command ---

@pytest.fixture(scope='module')
def hyper_pkl(tmp_path_factory, source_pkl):
    torch.manual_seed(4)
    source = legacy.load_network_pkl(source_pkl)
    G = make_hyper(source['G_ema'])
    D = HyperDiscriminator(**{**source['D'].init_kwargs, 'c_dim': 3})
    copy_params_and_buffers(source['D'], D)
    with torch.no_grad():
        D.heads.normal_()
    path = tmp_path_factory.mktemp('hyper') / 'network-snapshot-000000.pkl'
    legacy.save_network_pkl(path, dict(G=G, D=D, G_ema=G, augment_pipe=None, training_set_kwargs=None, class_names=list(KNOWN)))
    return path


def run(outdir, *args):
    return invoke_run(train_hyper.main, outdir, *TINY, *args)


def snapshot(run_dir):
    return legacy.load_network_pkl(max(run_dir.glob('network-snapshot-*.pkl')))


@pytest.mark.parametrize('init, text', [('nearest', 'Class fox starts as owl'), ('mean', 'Class fox starts as the mean')])
def test_more_and_other_classes(init, text, tmp_path, hyper_pkl):
    data = write_data(tmp_path / 'more.zip', 'owl', 'fox', 'cat')
    run_dir, result = run(tmp_path / 'runs', '--resume', hyper_pkl, '--data', data, '--kimg=0.016', f'--new-class-init={init}')
    assert text in result.output and 'kept: owl, cat; new: fox; dropped: dog' in result.output
    after = snapshot(run_dir)
    assert after['class_names'] == ['owl', 'fox', 'cat'] and after['G_ema'].c_dim == after['D'].c_dim == 3
    start, before = legacy.load_network_pkl(run_dir / 'transfer.pkl'), legacy.load_network_pkl(hyper_pkl)
    table, heads = before['G'].mapping.class_code.table, before['D'].heads
    rows = {'nearest': [2, 2, 0]}.get(init, [2, 0, 0])
    for place in (0, 1, 2) if init == 'nearest' else (0, 2):
        assert torch.equal(start['G'].mapping.class_code.table[place], table[rows[place]])
        assert torch.equal(start['D'].heads[place], heads[rows[place]])
    assert not torch.equal(after['G'].mapping.class_code.table, start['G'].mapping.class_code.table)
    network = max(run_dir.glob('network-snapshot-*.pkl'))
    result = invoke(generate.main, f'--network={network}', '--class=fox', '--seeds=1', f'--outdir={tmp_path / "out"}')
    assert result.exit_code == 0 and (tmp_path / 'out' / 'fox-seed0001.png').is_file()


def test_freeze_old_classes_end_to_end_and_exactly_resumed(tmp_path, hyper_pkl):
    data = write_data(tmp_path / 'more.zip', 'fox', *KNOWN)
    args = ['--resume', hyper_pkl, '--data', data, '--freeze-old-classes', '--glr=0.01']
    whole, result = run(tmp_path / 'whole', *args, '--kimg=0.032')
    assert 'frozen: cat, dog, owl; new: fox' in result.output
    before, after = legacy.load_network_pkl(hyper_pkl)['G_ema'], snapshot(whole)
    z = torch.randn(3, before.z_dim)
    for name in ('G', 'G_ema'):
        assert torch.equal(draw(after[name], [1, 2, 3], z), draw(before, [0, 1, 2], z))
        assert not torch.allclose(draw(after[name], [0], z[:1]), draw(before, [2], z[:1]), atol=1e-3)
    part, _result = run(tmp_path / 'part', *args, '--kimg=0.016')
    result = invoke(train_hyper.main, '--resume', part, '--kimg=0.032')
    assert result.exit_code == 0 and 'Continuing' in result.output, result.output
    for name in ('G', 'D', 'G_ema'):
        want, got = tensors(after[name]), tensors(snapshot(part)[name])
        assert want.keys() == got.keys() and all(torch.equal(got[key], tensor) for key, tensor in want.items())
    path = max(whole.glob('network-snapshot-*.pkl'))
    last, result = run(tmp_path / 'on', '--resume', path, '--data', data, '--kimg=0.008')  # the same classes: still frozen
    assert 'old classes are frozen in the snapshot' in result.output
    assert torch.equal(draw(snapshot(last)['G_ema'], [1, 2, 3], z), draw(before, [0, 1, 2], z))


@pytest.mark.parametrize('names, args, texts', [
    (KNOWN, ['--freeze-old-classes'], ['nothing to learn']),
    (('fox', 'bee'), ['--freeze-old-classes'], ['none of the classes', 'cat, dog, owl']),
    ((*KNOWN, 'fox'), ['--new-class-init=best'], ['--new-class-init']),
])
def test_requests_that_are_refused(names, args, texts, tmp_path, hyper_pkl):
    data = write_data(tmp_path / 'data.zip', *names)
    result = invoke(train_hyper.main, '--outdir', tmp_path / 'runs', *TINY, '--resume', hyper_pkl, '--data', data, *args)
    assert result.exit_code == 2 and all(text in result.stderr for text in texts) and not (tmp_path / 'runs').exists()


def test_an_unconditional_source_has_no_classes_to_freeze(tmp_path, rgb_zip, source_pkl):
    args = [*TINY, '--resume', source_pkl, '--data', rgb_zip, '--freeze-old-classes']
    result = invoke(train_hyper.main, '--outdir', tmp_path / 'runs', *args)
    assert result.exit_code == 2 and '--freeze-old-classes' in result.stderr and 'unconditional' in result.stderr
    assert not (tmp_path / 'runs').exists()
