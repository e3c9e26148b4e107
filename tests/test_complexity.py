"""Closed forms of times to a target, and expected order statistics."""

import itertools

import numpy as np
import pytest

from jaxasgd import complexity as C

RNG = np.random.default_rng(0)

# ------------------------------------------------------------------- closed forms

FLEETS = {  # optimal, of how many workers; asynchronous; synchronous: for noise q = 10, in units of L Delta / eps
    "10 square roots": (np.sqrt(np.arange(1, 11)), (3.98, 10, 3.98, 6.32)),
    "100 square roots": (np.sqrt(np.arange(1, 101)), (3.90, 15, 5.92, 11.00)),
    "1000 square roots": (np.sqrt(np.arange(1, 1001)), (3.90, 15, 16.34, 31.94)),
    "5 fast, 95 slow": (np.repeat([1.0, 1000.0], [5, 95]), (3.00, 5, 21.59, 1100)),
}


@pytest.mark.parametrize("name", FLEETS)
def test_published_numbers(name):
    h, (best, number, asynchronous, synchronous) = FLEETS[name]
    h = RNG.permutation(h)
    least, m = C.optimum(h, 10.0)
    assert least == pytest.approx(best, abs=0.005) and m == number
    assert C.asynchronous(h, 10.0) == pytest.approx(asynchronous, abs=0.005)
    assert C.rounds(h, 10.0) == pytest.approx(synchronous, rel=1e-3)


@pytest.mark.parametrize("q", (0.0, 0.3, 7.0, 1e4))
def test_closed_forms_are_their_formulas(q):
    h = np.sort(RNG.lognormal(0.0, 1.0, 9))
    sums = [sum(1 / h[:m]) for m in range(1, 10)]
    for m in range(1, 10):
        assert C.rounds(h, q, m) == pytest.approx(h[m - 1] * (1 + q / m))
        assert C.asynchronous(h, q, m) == pytest.approx((m + q) / sums[m - 1])
    assert C.optimum(h, q)[0] == pytest.approx(min((m + q) / sums[m - 1] for m in range(1, 10)))
    for S in (1, 4, 30):
        seconds = min((S + m) / sums[m - 1] for m in range(1, 10))
        assert C.batch_seconds(h, S) == pytest.approx(seconds)
        assert C.batches(h, q, S) == pytest.approx((1 + q / S) * seconds)
    assert C.optimum(h, q)[0] <= C.asynchronous(h, q) <= C.rounds(h, q)


def test_closed_forms_with_a_worker_that_never_delivers():
    h = [2.0, np.inf, 1.0]
    assert C.rounds(h, 4.0) == np.inf and C.rounds(h, 4.0, 2) == 2.0 * 3
    assert C.asynchronous(h, 4.0, 2) == C.optimum(h, 4.0)[0] == pytest.approx(6 / 1.5)
    assert C.asynchronous([np.inf], 4.0) == C.optimum([np.inf], 4.0)[0] == np.inf


@pytest.mark.parametrize(
    "call, words",
    (
        (lambda: C.rounds([1.0, 0.0], 1.0), ("seconds", "positive", "[1.0, 0.0]")),
        (lambda: C.rounds([1.0, np.nan], 1.0), ("seconds", "nan")),
        (lambda: C.rounds([[1.0]], 1.0), ("seconds", "[num_workers]")),
        (lambda: C.rounds([1.0, 2.0], 1.0, 3), ("wait_for", "1...2", "3")),
        (lambda: C.updates(-1.0, 3), ("noise", "0 or more", "-1.0")),
        (lambda: C.updates(1.0, 0), ("batch", "1 or more", "0")),
        (lambda: C.stale_updates(np.inf, 3), ("noise", "finite", "inf")),
    ),
)
def test_errors_of_closed_forms(call, words):
    with pytest.raises(ValueError) as error:
        call()
    assert all(word in str(error.value) for word in words)


# --------------------------------------------------------------- order statistics


@pytest.mark.parametrize(
    "steps",
    (
        [[1.0, 3.0, 3.0], [2.0, 3.0], [0.5, 5.0, 7.0]],
        [[1.0, 1.0], [1.0, 1.0]],
        [[4.0]],
        [[1.0], [2.0, 9.0], [2.0], [0.1, 0.2, 0.3, 0.4]],
    ),
)
def test_order_statistics_are_those_of_all_draws(steps):
    draws = np.sort(list(itertools.product(*steps)), axis=1)  # each as likely
    np.testing.assert_allclose(C.order_statistics(steps), draws.mean(axis=0), rtol=1e-13)


def test_order_statistics_of_many_equal_workers():
    """n draws from 1 ... N: P(X_(n) <= t) = (t / N)^n and P(X_(1) > t) = (1 - t / N)^n."""
    n, N = 300, 50
    found = C.order_statistics([np.arange(1.0, N + 1)] * n)
    t = np.arange(N)
    assert found[-1] == pytest.approx((1 - (t / N) ** n).sum(), rel=1e-12)
    assert found[0] == pytest.approx(((1 - t / N) ** n).sum(), rel=1e-12)
    assert found.sum() == pytest.approx(n * (N + 1) / 2, rel=1e-12)  # of all order statistics, of all draws


def test_jobs_that_never_end():
    found = C.order_statistics([[1.0], [2.0, np.inf], [3.0]])
    assert found.tolist() == [1.0, 2.5, np.inf]  # the second to be done: at 2 or, if that never ends, at 3
    assert np.isinf(C.order_statistics([[np.inf], [np.inf, np.inf]])).all()


def test_fewer_points_are_nearly_exact():
    steps = RNG.pareto(1.5, (60, 80)) + 1
    exact, thin = C.order_statistics(steps.T), C.order_statistics(steps.T, most_points=400)
    assert 0 < np.abs(thin / exact - 1).max() < 0.003
