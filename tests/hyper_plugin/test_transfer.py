"""Transfer: every tensor of the source is accounted for, and what does not fit is listed."""

import pytest
import torch

from hyper_plugin.networks import HyperDiscriminator, HyperGenerator
from tests.support.hyper_sources import make_hyper, make_hyper_D, make_source, make_source_D, tensors
from torch_utils.misc import copy_params_and_buffers


def blank(network):
    """A network of the same arguments, with other values."""
    other = type(network)(*network.init_args, **network.init_kwargs)
    with torch.no_grad():
        for tensor in (*other.parameters(), *other.buffers()):
            tensor.add_(torch.randn_like(tensor))
    return other


def targets():
    G, D = make_source(), make_source_D()
    return dict(
        frozen=(G, make_hyper(G)), low_rank=(G, make_hyper(G, rank=2)), finetuned=(G, make_hyper(G, finetune=True)),
        heads=(D, make_hyper_D(D)), projection=(D, make_hyper_D(D, d_cond='projection')),
        whole=(D, make_hyper_D(D, finetune=True)),
    )


@pytest.mark.parametrize('kind', ['frozen', 'low_rank', 'finetuned', 'heads', 'projection', 'whole'])
def test_every_tensor_is_in_one_place(kind):
    source, target = targets()[kind]
    target = blank(target)
    before = tensors(target)
    report = copy_params_and_buffers(source, target)
    kinds = [set(report.copied), set(report.frozen), set(report.new)]
    assert set().union(*kinds) == tensors(target).keys() and sum(map(len, kinds)) == len(tensors(target))
    assert kinds[0] | kinds[1] == tensors(source).keys() and report.unused == ()
    assert kinds[0] <= {name for name, _parameter in target.named_parameters()}
    assert kinds[1] <= {name for name, _buffer in target.named_buffers()}
    for name, tensor in tensors(target).items():
        assert torch.equal(tensor, before[name] if name in report.new else tensors(source)[name])
    for name in report.new:
        assert any(part in name.split('.') for part in ('hyper', 'class_code', 'heads', 'mapping', 'project'))


def test_what_is_frozen():
    found = {kind: copy_params_and_buffers(*pair) for kind, pair in targets().items()}
    assert found['frozen'].copied == ()
    frozen = {'mapping.fc0.weight', 'mapping.w_avg', 'synthesis.b8.conv0.weight', 'synthesis.b8.torgb.weight'}
    assert frozen <= set(found['frozen'].frozen)
    assert {'mapping.fc0.weight', 'synthesis.b8.torgb.weight'} <= set(found['finetuned'].copied)
    assert 'synthesis.b8.conv0.weight' in found['finetuned'].frozen
    assert found['heads'].new == ('heads',) and 'b16.fromrgb.weight' in found['heads'].frozen
    assert 'b16.fromrgb.weight' in found['whole'].copied and 'b4.out.weight' in found['heads'].copied


def test_what_one_of_the_two_alone_has_is_listed():
    source = make_source()
    G = make_hyper(source)
    source.mapping.fc2 = torch.nn.Linear(5, 5)
    G.register_buffer('other', torch.zeros(2))
    report = copy_params_and_buffers(source, G)
    assert report.unused == ('mapping.fc2.bias', 'mapping.fc2.weight')
    assert 'other' in report.new and 'other' not in report.frozen


def test_shapes_that_do_not_fit_are_listed_and_nothing_is_copied():
    source = make_source()
    G = HyperGenerator(6, 3, 5, 16, 3, mapping_kwargs=dict(num_layers=2), synthesis_kwargs=dict(channel_base=64, channel_max=8))
    before = tensors(G)
    with pytest.raises(ValueError) as error:
        copy_params_and_buffers(source, G)
    text = str(error.value)
    assert '\n' not in text and 'synthesis.b4.const [6, 4, 4] -> [8, 4, 4]' in text
    misfits = [name for name, tensor in tensors(source).items() if before[name].shape != tensor.shape]
    assert len(misfits) > 5 and all(name in text for name in misfits)
    assert all(torch.equal(tensor, before[name]) for name, tensor in tensors(G).items())
    with pytest.raises(ValueError, match=r'b16\.fromrgb\.weight \[4, 3, 1, 1\] -> \[4, 1, 1, 1\]'):
        copy_params_and_buffers(make_source_D(), HyperDiscriminator(3, 16, 1, channel_base=64, channel_max=6))


def test_lines_for_the_log():
    source, target = targets()['heads']
    report = copy_params_and_buffers(source, target)
    lines = report.lines('D')
    assert len(lines) == 4 and all(line.startswith('D ') for line in lines)
    for line, names in zip(lines, (report.copied, report.frozen, report.new, report.unused), strict=True):
        assert f' {len(names)}' in line and all(name in line for name in names[:2])
