"""Regressions: ratios of a run that are worse than those that are committed, and the tables of docs/speed.md."""
from benchmarks.markdown import fill

from .report import machine_line, tables
from .timing import KEPT, SPEEDUP

TOLERANCE = 0.35  # ratios move by a tenth between runs and, more, between machines


def regressions(committed: dict, measured: dict) -> list[str]:
    """One line for each ratio of `measured` that is worse, beyond the tolerance, than the one of that name in `committed`.

    ValueError if they have no ratio in common: nothing would be checked.
    """
    known = {case['name']: case['ratios'] for case in committed['cases']}
    found, compared = [], 0
    for case in measured['cases']:
        for name, ratio in case['ratios'].items():
            before = known.get(case['name'], {})
            if name not in before or (name == SPEEDUP and KEPT in before and KEPT in case['ratios']):
                continue  # how fast the system gives memory changes from hour to hour: where it is left out, that ratio counts
            compared += 1
            was, now = before[name]['median'], ratio['median']
            loss = was / now if name.startswith(SPEEDUP) else now / was
            if not loss <= 1 + TOLERANCE:
                found.append(f'{case["name"]}: {name} is {now:.2f} and was {was:.2f}; more than {TOLERANCE:.0%} worse')
    if not compared:
        raise ValueError('the committed results and this run have no case in common; commit results of make bench')
    return found


def fill_page(text: str, reports: list[dict]) -> str:
    """The page's text with the tables of the reports between the two comments. ValueError without them."""
    return fill(text, 'speed', '\n'.join(f'{machine_line(report)}\n\n' + '\n'.join(tables(report)) for report in reports))
