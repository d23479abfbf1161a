"""`kill -9` at moments of a sweep: the same command finishes it, with the numbers of a sweep that was left alone."""

import random

import pytest

from tests.faults.causes import PHASES
from tests.faults.conftest import numbers, runs

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
# Kills of one sweep, each of what the last one left. The call is drawn: from the start of the first run to what is
# left of the last.
CALLS = {"rollouts": 6, "update": 2, "optimizer": 2, "weights": 2, "optimizer file": 6, "trainer state": 2}
CALLS |= {"old checkpoint": 1, "lines": 9, "whole file": 8, "rewinding": 1, "evaluation": 6, "end point": 1}
SWEEPS, KILLS = 3, 8
LEAST = KILLS - 1  # that are reached: a sweep may be done before the last one
SELDOM = 2  # the sweep that keeps a checkpoint at every other step only


def moments(number: int) -> list[tuple[str, int]]:
    draw = random.Random(number)
    phases = [list(CALLS)[(number * KILLS + i) % len(CALLS)] for i in range(KILLS)]
    draw.shuffle(phases)
    return [(phase, draw.randint(1, CALLS[phase])) for phase in phases]


def test_every_phase_is_hit():
    reached = {phase for number in range(SWEEPS) for phase, _ in moments(number)[:LEAST]}
    assert reached == set(PHASES)


@pytest.mark.parametrize("number", range(SWEEPS))
def test_a_killed_sweep_ends_with_the_same_numbers(nursery, sweep, whole, tmp_path, number):
    killed = []
    sweep = [*sweep, "trainer.checkpoint_every=2"] if number == SELDOM else sweep
    for phase, nth in moments(number):
        code, out = nursery.run(sweep, tmp_path, ["killed", phase, nth])
        assert code in (-9, 0), out
        killed.append(code == -9)
    assert all(killed[:LEAST]), (killed, moments(number))
    code, out = nursery.run(sweep, tmp_path)
    assert code == 0, out
    assert numbers(tmp_path) == whole
    print(f"{sum(killed)} of {len(killed)} moments were reached before the sweep was done: {moments(number)}")
    assert not [path for folder in runs(tmp_path).values() for path in folder.glob(".*.new")]
