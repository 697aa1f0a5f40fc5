"""What a run takes from its source: network sizes, and a note where the labels are others."""

import pickle

import pytest

import legacy
from commands.config import build_config
from commands.data_facts import DataFacts
from commands.options import TrainingOptions
from commands.source_sizes import compare_labels, use_source_sizes
from dnnlib.util import construct_class_by_name
from tests.support.hyper_sources import make_hyper, make_source
from training.networks import Discriminator, Generator


def facts(label_dim=0, names=(), **changes):
    return DataFacts(**(dict(name='pets', path='pets.zip', resolution=16, num_channels=3, num_images=100, label_dim=label_dim,
                             class_names=tuple(names)) | changes))


def sizes(path, data, **options):
    options = TrainingOptions(data='pets.zip', resume=str(path), cond=data.label_dim > 0, batch=4, **options)
    return use_source_sizes(build_config(options, data), options, data)


@pytest.mark.parametrize('here', [0, 3, 5])
@pytest.mark.parametrize('there', [0, 3])
def test_sizes_are_the_source_s_and_labels_the_data_s(make_snapshot, there, here):
    config, data = sizes(make_snapshot(c_dim=there), facts(here, 'abcde'[:here]), mbstd_group=2)
    assert (config.G_kwargs['z_dim'], config.G_kwargs['mapping_kwargs']) == (8, dict(num_layers=2))
    assert config.G_kwargs['synthesis_kwargs']['channel_max'] == config.D_kwargs['channel_max'] == 16
    assert config.D_kwargs['epilogue_kwargs'] == dict(mbstd_group_size=2)
    assert 'c_dim' not in config.G_kwargs and 'c_dim' not in config.D_kwargs
    assert len(data.warnings) == (there != here)
    for kwargs in (config.G_kwargs, config.D_kwargs):
        assert construct_class_by_name(**kwargs, c_dim=here, img_resolution=16, img_channels=3).c_dim == here


def test_the_discriminator_takes_its_channels_from_the_generator_if_it_must(tmp_path, source_pkl):
    path = tmp_path / 'ema.pkl'
    path.write_bytes(pickle.dumps({**pickle.loads(source_pkl.read_bytes()), 'G': None, 'D': None}))
    config, _data = sizes(path, facts())
    assert (config.D_kwargs['channel_base'], config.D_kwargs['channel_max']) == (128, 16)


@pytest.mark.parametrize('there, their_names, here, our_names, texts', [
    (0, [], 3, ['a', 'b', 'c'],
     ['x.pkl is unconditional', 'the data has 3 classes', 'start from random weights', 'train_hyper.py keeps the source']),
    (3, ['a', 'b', 'c'], 2, ['a', 'b'],
     ['x.pkl has 3 classes', 'the data has 2 classes', 'start from random weights', 'train_hyper.py']),
    (3, ['a', 'b', 'c'], 0, [], ['x.pkl has 3 classes', 'without labels', '--cond=1']),
    (10, [], 4, [], ['x.pkl has labels of 10 dimensions', 'the data has labels of 4 dimensions']),
    (2, ['a', 'b'], 2, ['b', 'a'], ['x.pkl has 2 classes (a, b)', 'as many, with other names']),
])
def test_other_labels_are_told_in_one_line(there, their_names, here, our_names, texts):
    note, = compare_labels('x.pkl', there, their_names, facts(here, our_names))
    assert '\n' not in note
    for text in texts:
        assert text in note


@pytest.mark.parametrize('their_names, our_names', [(['a', 'b'], ['a', 'b']), ([], ['a', 'b']), (['a', 'b'], []),
                                                    (['0', '1'], ['a', 'b']), (['a', 'b'], ['0', '1'])])
def test_the_same_labels_need_no_note(their_names, our_names):
    assert compare_labels('x.pkl', 2, their_names, facts(2, our_names)) == ()


@pytest.mark.parametrize('here', ['bf16', 'fp32'])
@pytest.mark.parametrize('there', [dict(num_fp16_res=0), dict(num_fp16_res=2, conv_clamp=128),
                                   ], ids=['fp32', 'fp16'])
def test_precision_is_the_option_s_not_the_source_s(tmp_path, there, here):
    image, there = dict(c_dim=0, img_resolution=16, img_channels=3), dict(there)
    block = dict(half_type=there['half_type']) if 'half_type' in there else {}
    G = Generator(z_dim=8, w_dim=8, synthesis_kwargs=dict(channel_base=128, channel_max=16, **there), **image)
    there.pop('half_type', None)
    D = Discriminator(channel_base=128, channel_max=16, block_kwargs=block, **there, **image)
    path = tmp_path / 'source.pkl'
    path.write_bytes(pickle.dumps(dict(G=G, D=D, G_ema=G, augment_pipe=None, training_set_kwargs=None, class_names=None)))
    config, _data = sizes(path, facts(), device='cuda', fp32=here == 'fp32', half='bf16' if here == 'bf16' else 'fp16')
    for kwargs, blocks in ((config.G_kwargs['synthesis_kwargs'], config.G_kwargs['synthesis_kwargs']),
                           (config.D_kwargs, config.D_kwargs['block_kwargs'])):
        assert kwargs['num_fp16_res'] == (0 if here == 'fp32' else 4)
        assert kwargs.get('conv_clamp') == (there.get('conv_clamp') if here == 'fp32' else 256)
        assert blocks.get('half_type') == ('bfloat16' if here == 'bf16' else None)


@pytest.mark.parametrize('freezed', [0, 2])
def test_layers_are_frozen_by_the_option_not_by_the_source(tmp_path, freezed):
    image = dict(c_dim=0, img_resolution=16, img_channels=3)
    G = Generator(z_dim=8, w_dim=8, synthesis_kwargs=dict(channel_base=128, channel_max=16), **image)
    D = Discriminator(**image, channel_base=128, channel_max=16, block_kwargs=dict(freeze_layers=5, activation='relu'))
    path = tmp_path / 'frozen.pkl'
    legacy.save_network_pkl(path, dict(G=G, D=D, G_ema=G))
    config, _data = sizes(path, facts(), freezed=freezed)
    assert config.D_kwargs['block_kwargs'] == dict(activation='relu', **(dict(freeze_layers=2) if freezed else {}))


@pytest.mark.parametrize('changes, options, texts', [
    (dict(resolution=32), {}, ['16x16 pixels', '32x32', '--resolution=16']),
    (dict(num_channels=1), {}, ['3 channels', 'the data has 1', '--color=rgb']),
    ({}, dict(cbase=64, z_dim=3), ['--z-dim, --cbase found together with --resume']),
])
def test_other_images_and_sizes_are_refused(source_pkl, changes, options, texts):
    with pytest.raises(ValueError) as error:
        sizes(source_pkl, facts(**changes), **options)
    assert '\n' not in str(error.value)
    for text in texts:
        assert text in str(error.value)


def test_a_hyper_modulated_source_is_another_command_s(tmp_path):
    path = tmp_path / 'hyper.pkl'
    legacy.save_network_pkl(path, dict(G_ema=make_hyper(make_source())))
    with pytest.raises(ValueError, match=r'HyperGenerator.*continue .* with train_hyper\.py'):
        sizes(path, facts(3, 'abc'))
