"""benchmarks/speed/hyper_profile.py: the table of what a step's time goes to."""

from click.testing import CliRunner

from benchmarks.speed import hyper_profile
from benchmarks.speed.networks import Setup


def test_every_kind_of_work_is_found(monkeypatch):
    sizes = dict(channel_base=512, channel_max=32, code=16)
    monkeypatch.setattr(hyper_profile, 'NETWORKS', {'without': Setup('plain', 16, **sizes), 'ten': Setup('hyper', 16, **sizes)})
    monkeypatch.setattr(hyper_profile, 'REPEATS', 1)
    monkeypatch.setattr(hyper_profile, 'BATCH', 4)
    found, self_times = [], hyper_profile.self_times

    def kept(training):
        times = self_times(training)
        found.append(set(times))
        return times

    monkeypatch.setattr(hyper_profile, 'self_times', kept)
    result = CliRunner().invoke(hyper_profile.main, ['--threads=1'])
    assert result.exit_code == 0 and len(result.output.splitlines()) == 2 + len(found), result.output
    without, ten = found
    assert ten == {*hyper_profile.KINDS, 'other pointwise work'} and ten - without == {"kernels' assembly"}
