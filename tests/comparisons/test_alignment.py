"""The toy against its equations in numpy, its inverse, and searches of one's own."""

import numpy as np
import pytest

from evolver import seeds
from evolver.comparisons.alignment import RandomFlow, run_alignment
from evolver.errors import ConfigError

RNG = np.random.default_rng(6)


def by_hand(flow, x):
    """The equations at the top of the file, one point in numpy; and back again."""
    half = flow.d // 2
    inputs = []
    for linears, turn, shift in flow.layers:
        hidden = x[:half]
        for k, (weight, bias) in enumerate(linears):
            if k:
                hidden = hidden / (1 + np.exp(-hidden))
            hidden = weight.numpy() @ hidden + bias.numpy()
        s, t = np.tanh(hidden[:half]), hidden[half:]
        inputs.append((s, t))
        x = turn.numpy() @ np.concatenate([x[:half], x[half:] * np.exp(s) + t]) + shift.numpy()
    back = x
    for (_, turn, shift), (s, t) in zip(flow.layers[::-1], inputs[::-1], strict=True):
        back = turn.numpy().T @ (back - shift.numpy())
        back = np.concatenate([back[:half], (back[half:] - t) * np.exp(-s)])
    return x, back


@pytest.mark.parametrize(("d", "depth"), [(2, 1), (6, 3), (4, 0)])
def test_a_flow_is_its_equations_and_has_an_inverse(d, depth):
    flow = RandomFlow(d, depth, rng=np.random.default_rng(1), sigma=0.5)
    x = RNG.standard_normal((3, d))
    values, slopes = flow.climb(x)
    for i in range(3):
        y, back = by_hand(flow, x[i])
        np.testing.assert_allclose(back, x[i], atol=1e-12)
        assert values[i] == pytest.approx(-0.5 * ((y - 1) ** 2).sum() / 0.25)
        for j in range(d):
            step = np.eye(d)[j] * 1e-6
            rise = flow.values(x[i] + step[None]) - flow.values(x[i] - step[None])
            assert slopes[i, j] == pytest.approx(rise[0] / 2e-6, rel=1e-4, abs=1e-6)
    for linears, turn, _ in flow.layers:
        np.testing.assert_allclose(turn @ turn.T, np.eye(d), atol=1e-12)
        assert [tuple(w.shape) for w, _ in linears] == [(16, d // 2), (16, 16), (d, 16)]


def test_without_a_flow_adam_goes_where_algorithm_1_does():
    runs = run_alignment((0,), (4,), (40,), steps=30)
    x = seeds.stream(40, "flow start", 4, 0).standard_normal((1, 4))[0]
    assert runs.start[0, 0, 0] == pytest.approx(-0.5 * ((x - 1) ** 2).sum())
    m, v = np.zeros(4), np.zeros(4)
    for t in range(1, 31):
        slope = 1 - x
        m, v = 0.9 * m + 0.1 * slope, 0.999 * v + 0.001 * slope**2
        x = x + 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    assert runs.final["adam"][0, 0, 0] == pytest.approx(-0.5 * ((x - 1) ** 2).sum(), rel=1e-9)


def test_both_climb_and_a_shallow_flow_is_solved():
    runs = run_alignment((0, 4), (2, 8), (40, 41), steps=60)
    for values in runs.final.values():
        assert values.shape == (2, 2, 2)
        assert (values > runs.start).all()
        assert (values <= 0).all()
    assert runs.final["cholesky"][0, 0].min() > -1e-2


def test_dimensions_must_split_in_two():
    with pytest.raises(ConfigError, match="even"):
        RandomFlow(3, 1, rng=RNG)
