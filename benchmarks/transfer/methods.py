"""The methods that the transfer study compares: the command of each and what it is asked beyond the common options."""
import dataclasses

LOW_RATE, FULL_RATE = '--glr=0.0005', '--glr=0.0025'  # FULL_RATE: what train.py takes by itself at 32x32

# The settings of all methods are equal. By themselves train_hyper.py and train.py differ in the average of the weights, and in
# path length regularisation, which the hyper-modulated generator lacks.
COMMON = ('--batch=16', '--mbstd-group=4', '--aug=ada', '--ema-kimg=1', '--device=cpu', '--threads=1')
OF_COMMAND = {'train_hyper.py': (), 'train.py': ('--cond=1', '--pl-weight=0')}


@dataclasses.dataclass(frozen=True)
class Method:
    """command: the script that trains. from_source: it starts from the source model, else from random weights of its size."""

    command: str
    options: tuple[str, ...] = ()
    from_source: bool = True


def _hyper(*options: str) -> Method:
    return Method('train_hyper.py', options)


def _splice(*options: str) -> Method:
    """The source's weights are copied, what reads the class is new, and everything goes on learning."""
    return Method('train.py', options)


def _steady(*options: str, rate: str = LOW_RATE) -> Method:
    """Ours as it was before --lr-decay and --share-fakes: what the parts do was measured so."""
    return _hyper('--selfinit', '--lr-decay=0', '--no-share-fakes', rate, *options)


PLAIN = ('--contrastive=none', '--spread-weight=0', '--mismatch-weight=0')  # the adversarial loss and R1 alone
PAPER = ('--contrastive=barlow', '--spread-weight=0', '--mismatch-weight=0')

METHODS = {
    # Ours: the defaults
    'hyper': _hyper('--selfinit'),
    # What people do today
    'splice': _splice(),
    'splice-decay': _splice('--lr-decay=0.5'),
    'splice-low': _splice(LOW_RATE),
    'splice-freezed': _splice('--freezed=2'),
    'scratch': Method('train.py', from_source=False),
    'splice-ramp': _splice('--cond-ramp=4,8'),
    'splice-freezed-low': _splice('--freezed=2', LOW_RATE),
    'splice-ramp-low': _splice('--cond-ramp=4,8', LOW_RATE),
    'scratch-low': Method('train.py', (LOW_RATE,), from_source=False),
    # Ours with other settings
    'paper-decay': _hyper('--selfinit', *PAPER),
    'plain-decay': _hyper('--selfinit', *PLAIN),
    'random': _hyper('--hyper-scale=0.1'),
    'random-unit': _hyper('--hyper-scale=1'),
    'distill': _hyper('--selfinit=distill', '--selfinit-kimg=20'),
    'rank1': _hyper('--selfinit', '--hyper-rank=1'),
    'rank4': _hyper('--selfinit', '--hyper-rank=4'),
    'rank16': _hyper('--selfinit', '--hyper-rank=16'),
    'finetune': _hyper('--selfinit', '--finetune'),
    'projection': _hyper('--selfinit', '--d-cond=projection'),
    'contrastive': _hyper('--selfinit', '--contrastive=barlow'),
    'mismatch-0.1-decay': _hyper('--selfinit', '--mismatch-weight=0.1'),
    'spread-1-decay': _hyper('--selfinit', '--spread-weight=1'),
    'low-rate-decay': _hyper('--selfinit', LOW_RATE),
    'full-rate-decay': _hyper('--selfinit', FULL_RATE),
    # Parts of ours at a steady learning rate, and the paper's
    'steady-shared': _hyper('--selfinit', '--lr-decay=0', LOW_RATE),
    'steady': _steady(),
    'paper': _steady(*PAPER),
    'plain': _steady(*PLAIN),
    'spread-alone': _steady('--mismatch-weight=0'),
    'spread-0.1-alone': _steady('--spread-weight=0.1', '--mismatch-weight=0'),
    'mismatch-alone': _steady('--spread-weight=0'),
    'mismatch-1': _steady('--mismatch-weight=1'),
    'all-losses': _steady('--contrastive=barlow'),
    'low-rate': _steady(rate='--glr=0.0002'),
    'full-rate': _steady(rate=FULL_RATE),
    'full-rate-paper': _steady(*PAPER, rate=FULL_RATE),
    'full-rate-plain': _steady(*PLAIN, rate=FULL_RATE),
    'low-rate-plain': _steady(*PLAIN, rate='--glr=0.0002'),
    'gamma0.1-plain': _steady('--gamma=0.1', *PLAIN),
}
FIRST = ('hyper', 'splice', 'splice-decay', 'splice-low', 'splice-freezed', 'scratch')
