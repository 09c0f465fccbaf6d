"""`make bench-soak`: a short one, and what it says of one that went wrong."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.bench_soak import Soaked, soak

pytestmark = pytest.mark.timeout(300)
"""Where kernels are not compiled yet and the machine is busy, that alone can take two minutes."""


def test_a_soak_counts_every_request_through_reloads_and_disconnects(tmp_path: Path) -> None:
    cores = set(sorted(os.sched_getaffinity(0))[:2])

    soaked = soak(tmp_path, seconds=6, clients=48, promote_every=2, cores=cores, steps=2)

    assert soaked.lost == 0
    assert soaked.counted_by_the_server == soaked.sent
    assert soaked.running_at_the_end == 0
    assert soaked.given_up > 0
    assert set(soaked.answers_by_model) == {"model-0", "model-1"}


def test_a_soak_reports_its_problems() -> None:
    good = Soaked(
        seconds=10,
        clients=64,
        sent=100,
        answered=90,
        given_up=10,
        lost=0,
        tokens_a_second=1,
        answers_by_model={"model-0": 50, "model-1": 40},
        promotions=1,
        resident_mib=[100.0, 101.0, 102.0, 101.0, 102.0],
        running_at_the_end=0,
        counted_by_the_server=100,
    )
    bad = replace(
        good, lost=1, resident_mib=[50.0, 100.0, 120.0], running_at_the_end=1, answers_by_model={"model-0": 90}
    )

    assert good.problems() == []
    assert good.to_json()["resident_mib"] == {"after_a_fifth": 101.0, "at_the_end": 102.0}
    assert len(bad.problems()) == 4
    assert len(replace(good, counted_by_the_server=99).problems()) == 1
