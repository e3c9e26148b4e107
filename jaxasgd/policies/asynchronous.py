"""Asynchronous SGD: every gradient is applied when it arrives."""

from .base import GRADIENT, Decision, Policy, vectorized


def asgd() -> Policy:
    """Every gradient is an update of its own, and its worker starts again at the result.

        x[t+1] = x[t] - lr * g(x[t - delay_t])

    With `num_workers` workers and reads after the update, `sum_{t<T} delay_t = (num_workers - 1) T - A_T`, where
    A_T is the sum of the ages of the jobs in flight: the mean delay tends to `num_workers - 1`.

    Source: J. Dean et al., NIPS 2012, "Large Scale Distributed Deep Networks" (Downpour SGD, with
    n_fetch = n_push = 1); A. Agarwal and J. Duchi, NIPS 2011, "Distributed Delayed Stochastic Optimization".

    Example:
        >>> import jaxasgd as ja
        >>> ja.simulate(ja.policies.asgd(), ja.times.fixed(1.0, num_workers=2), num_updates=4).delay.tolist()
        [0, 1, 1, 1]
    """

    def init(num_workers, rng):
        return None, range(num_workers)

    def on(state, event):
        arrived = event.kind == GRADIENT
        return state, Decision(use=arrived, step=arrived, start=(event.worker,))

    pure = lambda num_workers, arrivals: Decision(use=True, step=True)
    return Policy(init, vectorized(on, pure), {"policy": "asgd"})
