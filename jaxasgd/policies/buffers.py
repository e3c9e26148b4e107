"""Buffers: every so many gradients, however stale, are one update."""

from ..checks import flag, whole
from .base import GRADIENT, Decision, Policy, every, vectorized
from .dispatching import Dealer, check_dispatch, check_fleet


def buffered(batch: int, *, hold: bool = False, order: str = "pure", concurrency: int | None = None) -> Policy:
    """The mean of every `batch` gradients that arrive is an update, whatever versions they were computed at.

        x[t+1] = x[t] - lr * (1/batch) sum_{k=1}^{batch} g_k(x[t - delay_k])

    Who delivers gets a new job at once, at the newest version; the one that fills the buffer, the new one. With C jobs
    in flight the mean delay tends to (C - 1) / batch updates.

    Args:
        batch: gradients in an update.
        hold: who has delivered waits for the update: the gradients in it are of different workers, the late ones
            stay in flight (K-async SGD). All of n workers held: synchronous SGD.
        order: who gets the next job, as in `dispatched`: "pure" those who delivered, "idle" or "random" anyone.
        concurrency: jobs at a time; None: one for every worker.

    Weights are 1 / batch whatever the delays, and arrivals at the very same second are taken one by one; the toy of
    asynchronous DiLoCo weighs by sqrt(n) / n, and treats what arrives within half a second as one.

    Source: W. Zhang, S. Gupta, X. Lian, J. Liu, IJCAI 2016, arXiv 1511.05950 (n-softsync); S. Dutta et al., AISTATS
    2018, arXiv 1803.01113 (K-async with `hold`, K-batch-async without); J. Nguyen et al., AISTATS 2022, arXiv
    2106.06639 (FedBuff).

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed([1.0, 10.0])
        >>> ja.simulate(ja.policies.buffered(2), times, num_updates=2).worker.tolist()
        [0, 0, 0, 0]
        >>> ja.simulate(ja.policies.buffered(2, hold=True), times, num_updates=2).worker.tolist()
        [0, 1, 0, 1]
    """
    batch = whole("batch", batch, 1, hint=" gradients in an update")
    concurrency = check_dispatch(order, concurrency)
    hold = flag("hold", hold)

    def init(num_workers, rng):
        check_fleet(num_workers, order, concurrency, batch if hold else 1, "batch, with hold,")
        dealer = Dealer(order, num_workers, rng)
        return (dealer, 0, []), dealer.first(concurrency)

    def on(state, event):
        dealer, number, held = state
        if event.kind != GRADIENT:
            return state, Decision(start=dealer.instead(event))
        number, full = (number + 1) % batch, number + 1 == batch
        held.append(event.worker)
        if hold and not full:
            return (dealer, number, held), Decision(use=True, weight=1 / batch)
        return (dealer, number, []), Decision(use=True, weight=1 / batch, step=full, start=dealer.next(held))

    def pure(num_workers, arrivals):
        return Decision(use=True, weight=1 / batch, step=every(batch, arrivals))

    if order == "pure" and concurrency is None and not hold:
        on = vectorized(on, pure)
    numbers = {"batch": batch, "hold": hold, "order": order, "concurrency": concurrency}
    return Policy(init, on, {"policy": "buffered"} | numbers)
