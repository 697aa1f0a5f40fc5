"""The tables of docs/evidence.md, from results.jsonl.

    python -m benchmarks.transfer.page
"""
import click

from benchmarks.digits_task import ROOT
from benchmarks.markdown import fill, head, row
from benchmarks.transfer.judging import read_lines
from benchmarks.transfer.results import COLUMNS, Line, at_the_end, comparisons
from benchmarks.transfer.tables import cell, real_values
from dnnlib.files import write_whole

PAGE = ROOT / 'docs' / 'evidence.md'
RESULTS = ROOT / 'benchmarks' / 'results' / 'transfer' / 'results.jsonl'
SHOWN = [column for column in COLUMNS if column.title not in ('precision', 'copies')]
TITLES = {'omniglot-digits': 'Omniglot to digits', 'omniglot-fashion': 'Omniglot to fashion',
          'letters-digits': 'letters to digits', 'letters-mnist20': 'letters to MNIST, 20 a class',
          'letters-mnist50': 'letters to MNIST, 50 a class', 'letters-mnist200': 'letters to MNIST, 200 a class',
          'vehicles-animals': 'vehicles to animals'}
AGAINST = {'hyper': '`train_hyper.py --selfinit`', 'splice': 'weight copying'}
SETTINGS = 'omniglot-digits', 16  # where parts were compared
PARTS = {
    'hyper': 'default', 'steady': 'steady rates', 'low-rate-decay': 'default, `--glr=0.0005` (the steady rate)',
    'full-rate-decay': "default, `--glr=0.0025` (weight copying's rate)", 'steady-shared': 'steady, `--share-fakes`',
    'spread-alone': 'steady, `--mismatch-weight=0`', 'plain': 'steady, neither of the two',
    'paper': 'steady, neither, `--contrastive=barlow` (the paper)', 'full-rate-plain': 'steady, neither, `--glr=0.0025`',
    'random': 'default without `--selfinit`', 'random-unit': 'the same, `--hyper-scale=1` (the ablation of the paper)',
    'distill': 'default, `--selfinit=distill`', 'rank16': 'default, `--hyper-rank=16`', 'rank4': 'default, `--hyper-rank=4`',
    'rank1': 'default, `--hyper-rank=1`', 'finetune': 'default, `--finetune`', 'projection': 'default, `--d-cond=projection`',
    'mismatch-0.1-decay': 'default, `--mismatch-weight=0.1`', 'contrastive': 'default, `--contrastive=barlow`',
    'splice': 'weight copying', 'splice-freezed': 'weight copying, `--freezed=2`',
    'splice-ramp': 'weight copying, `--cond-ramp=4,8`', 'splice-decay': 'weight copying, `--lr-decay=0.5`',
    'splice-low': 'weight copying, `--glr=0.0005`', 'splice-freezed-low': 'weight copying, `--freezed=2 --glr=0.0005`',
    'splice-ramp-low': 'weight copying, `--cond-ramp=4,8 --glr=0.0005`', 'scratch': '`train.py` from random weights',
    'scratch-low': 'from random weights, `--glr=0.0005`',
}


def numbers(lines: list[Line]) -> list[str]:
    """Of the last snapshots of runs."""
    ends = at_the_end(lines)
    return [*(cell([line['values'][column.name] for line in ends], column.spec) for column in SHOWN), str(len(ends))]


def transfers_table(lines: list[Line]) -> str:
    """Ours against weight copying, where both were run."""
    text = head('transfer, method', *(column.title for column in SHOWN), 'seeds')
    for (transfer, kimg), methods in comparisons(lines).items():
        if all(at_the_end(methods.get(name, [])) for name in AGAINST):
            for name, title in AGAINST.items():
                text += row(f'{TITLES[transfer]}, {kimg},000 images: {title}', *numbers(methods[name]))
            text += row('*real training images*', *real_values(methods, SHOWN), '-')
    return text


def parts_table(lines: list[Line]) -> str:
    """One transfer by all methods that were run on it."""
    methods = comparisons(lines)[SETTINGS]
    rows = (row(title, *numbers(methods[name])) for name, title in PARTS.items() if at_the_end(methods.get(name, [])))
    return head('method', *(column.title for column in SHOWN), 'seeds') + ''.join(rows)


def filled(text: str, lines: list[Line]) -> str:
    """The page's text with both tables."""
    return fill(fill(text, 'transfers', transfers_table(lines)), 'parts', parts_table(lines))


@click.command()
def main() -> None:
    """Put the tables of the committed results into docs/evidence.md."""
    write_whole(PAGE, filled(PAGE.read_text(encoding='ascii'), read_lines(RESULTS)))


if __name__ == '__main__':
    main()
