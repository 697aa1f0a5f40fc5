"""The phases: lazy regularisation's settings, and what becomes of gradients that are not finite."""

import math

import pytest
import torch

from torch_utils import training_stats
from training.loop.optimizer_phases import (
    MAX_BAD_RUN,
    Phase,
    begin_phase,
    check_phases,
    finish_phase,
    lazy_opt_kwargs,
    make_phases,
)

ADAM = dict(class_name='torch.optim.Adam', lr=0.1, betas=[0.0, 0.99])
NAN, INF = math.nan, math.inf


def sgd_phase(*params, name='Dmain', interval=1):
    names = [f'layer{number}.weight' for number in range(len(params))]
    return Phase(name, list(params), torch.optim.SGD(list(params), lr=1.0), interval, names)


def zeros(*shape):
    return torch.nn.Parameter(torch.zeros(*shape))


def step(phase, *grads):
    """One step with the given gradients; None for a parameter without."""
    begin_phase(phase)
    for param, grad in zip(phase.params, grads, strict=True):
        param.grad = None if grad is None else torch.tensor(grad)
    finish_phase(phase)


def message(phase, batch_index, images_done, **kwargs):
    with pytest.raises(FloatingPointError) as error:
        check_phases([phase], batch_index, images_done, **kwargs)
    assert '\n' not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize('interval', [4, 16])
def test_lazy_regularisation_corrects_adam(interval):
    got = lazy_opt_kwargs(dict(class_name='torch.optim.Adam', lr=0.002, betas=[0, 0.99], eps=1e-8), interval)
    ratio = interval / (interval + 1)
    assert got['lr'] == pytest.approx(0.002 * ratio)
    assert got['betas'] == [0, pytest.approx(math.exp(math.log(0.99) * ratio))]
    assert got['eps'] == 1e-8


def test_phases_share_an_optimiser_and_leave_frozen_parameters_out():
    module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
    module[0].requires_grad_(False)
    main, reg = make_phases('D', module, ADAM, 16)
    assert [(main.name, main.interval), (reg.name, reg.interval)] == [('Dmain', 1), ('Dreg', 16)]
    assert main.opt is reg.opt
    assert {id(param) for param in main.params} == {id(param) for param in module[1].parameters()}
    assert main.names == reg.names == ['1.weight', '1.bias']
    both, = make_phases('G', torch.nn.Linear(2, 1), ADAM, None)
    assert (both.name, both.interval, both.names, both.opt.defaults['lr']) == ('Gboth', 1, ['weight', 'bias'], 0.1)


def test_non_finite_gradients_are_replaced():
    param = zeros(4)
    phase = sgd_phase(param)
    step(phase, [NAN, INF, -INF, 3.0])
    assert param.tolist() == [0, -1e5, 1e5, -3]
    assert not param.requires_grad


def test_non_finite_gradients_are_counted_step_by_step():
    collector = training_stats.Collector(regex='Gradients/.*')
    phase = sgd_phase(zeros(3), zeros(2), name='Gmain')
    step(phase, [NAN, 1.0, INF], [1.0, -INF])
    step(phase, [1.0, 1.0, 1.0], [1.0, 1.0])
    collector.update()
    name = 'Gradients/nonfinite/Gmain'
    assert (collector.num(name), collector.mean(name), collector.std(name)) == (2, 1.5, 1.5)


def test_a_passing_overflow_is_forgotten():
    phase = sgd_phase(zeros(2))
    for _ in range(MAX_BAD_RUN - 1):
        step(phase, [NAN, INF])
    check_phases([phase], MAX_BAD_RUN - 1, 100)
    step(phase, [1.0, 1.0])
    check_phases([phase], MAX_BAD_RUN, 100, last=True)
    for _ in range(MAX_BAD_RUN - 1):
        step(phase, [NAN, INF])
    check_phases([phase], 2 * MAX_BAD_RUN - 1, 100)
    step(phase, [NAN, NAN])
    assert '16 steps in a row' in message(phase, 2 * MAX_BAD_RUN, 100)


@pytest.mark.parametrize('num_sound, bad', [(0, True), (1, True), (2, False), (100, False)])
def test_a_step_is_bad_when_nearly_nothing_is_sound(num_sound, bad):
    # Zeros say nothing: parameters that the loss does not depend on, rows of classes that were not drawn.
    phase = sgd_phase(zeros(300))
    step(phase, [1.0] * num_sound + [NAN] * (100 - num_sound) + [0.0] * 200)
    assert int(phase.bad_run) == bad


def test_at_the_end_one_bad_step_is_enough():
    phase = sgd_phase(zeros(2))
    step(phase, [NAN, NAN])
    check_phases([phase], 1, 32)
    assert 'phase Dmain has had no finite loss since batch 0 (0.0 thousand images, 1 steps in a row)' in message(
        phase, 1, 32, last=True)


def test_the_message_names_step_phase_and_tensors():
    phase = sgd_phase(zeros(1), zeros(1), zeros(1), zeros(1), zeros(1), name='Greg', interval=4)
    for batch in range(0, 100, 4):  # steps at 0, 4, ..., 96; bad from 36 on
        step(phase, *[[NAN if batch >= 36 else 1.0]] * 4, [0.0])
    phase.params[1].data.fill_(INF)
    losses = {'Loss/G/reg': NAN, 'Loss/G/loss': 0.7, 'Progress/augment': NAN}
    text = message(phase, 100, 3200, losses=losses)
    assert 'phase Greg has had no finite loss since batch 36 (1.2 thousand images, 16 steps in a row)' in text
    assert ('parameters layer1.weight, statistics Loss/G/reg, '
            'gradients of layer0.weight, layer1.weight, layer2.weight and 1 more;') in text
    assert 'Loss/G/loss' not in text and 'augment' not in text
    assert all(option in text for option in ('--glr', '--dlr', '--gamma')) and '--fp32' not in text  # on the CPU


def test_without_gradients_nothing_happens():
    phase = sgd_phase(zeros(2))
    step(phase, [NAN, NAN])
    before = phase.bad_run.clone()
    step(phase, None)
    assert phase.params[0].tolist() == [0, 0] and torch.equal(phase.bad_run, before)


def test_the_run_of_bad_steps_outlives_a_break():
    phase, again = sgd_phase(zeros(1)), sgd_phase(zeros(1))
    for _ in range(MAX_BAD_RUN - 1):
        step(phase, [NAN])
    state = phase.state_dict()
    assert state == {'bad_run': 15} and type(state['bad_run']) is int
    again.load_state_dict(state)
    step(again, [NAN])
    assert '16 steps in a row' in message(again, MAX_BAD_RUN, 64)


def test_a_non_finite_loss_is_seen_through_biases_that_it_does_not_reach():
    """R1 of a discriminator with its main loss: the penalty is NaN, the last bias has a finite gradient of the main loss."""
    module = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.Softplus(), torch.nn.Linear(32, 1))
    phase, = make_phases('D', module, ADAM, None)
    begin_phase(phase)
    image = torch.randn(4, 8, requires_grad=True)
    logits = module(image)
    grad, = torch.autograd.grad(logits.sum(), image, create_graph=True)
    (torch.nn.functional.softplus(-logits).mean() + grad.square().sum() * NAN).backward()
    assert torch.isfinite(module[2].bias.grad).all() and module[2].bias.grad.abs() > 0
    finish_phase(phase)
    text = message(phase, 1, 4, last=True)
    assert 'gradients of 0.weight, 0.bias, 2.weight;' in text


def test_every_process_sees_what_one_of_them_has(monkeypatch):
    def average(flat):  # as if the other process had nothing but NaN
        flat.add_(torch.full_like(flat, NAN)).div_(2)

    monkeypatch.setattr('training.loop.optimizer_phases.average_over_processes', average)
    monkeypatch.setattr('training.loop.optimizer_phases.num_processes', lambda: 2)
    phase = sgd_phase(zeros(2))
    begin_phase(phase)
    phase.params[0].grad = torch.ones(2)
    finish_phase(phase)
    assert phase.params[0].tolist() == [0, 0] and int(phase.bad_run) == 1
