"""Dispatch: which worker gets the next job, and after how many gradients jobs are handed out."""

from ..checks import whole, word
from .base import GRADIENT, JOINED, LOST, Decision, Policy

ORDERS = ("pure", "random", "shuffled", "shuffled once", "idle")


class Dealer:
    """Who gets the next jobs. Fresh for every run; O(1) a job."""

    def __init__(self, order, num_workers, rng):
        self.order, self.num_workers, self.rng = order, num_workers, rng
        self.hand = []  # what is left of the permutation, the next one last
        self.permutation = None
        self.idle = []  # workers with nothing to do, in no order; kept for order "idle" only
        self.away = {}  # workers that are not there -> how many of their jobs were lost
        self.owed = 0  # jobs that nobody was there for

    def first(self, concurrency):
        """The jobs at version 0: one for every worker, or as many as told, dealt like all others."""
        if concurrency is None:
            return range(self.num_workers)
        if self.order == "pure":
            return [job % self.num_workers for job in range(concurrency)]
        self.idle = list(range(self.num_workers))
        return self.deal(concurrency)

    def next(self, delivered):
        """As many workers as have delivered since jobs were handed out."""
        if self.order == "pure":
            return delivered
        if self.order == "idle":
            self.idle += delivered
        return self.deal(len(delivered))

    def instead(self, event):
        """Who gets a job after an event that is no gradient: for one that was lost, or of a worker that is back."""
        worker = event.worker
        if event.kind == LOST:
            self.away[worker] = self.away.get(worker, 0) + 1
            return () if self.order == "pure" else self.deal(1)
        if event.kind != JOINED:
            return (worker,)
        jobs = self.away.pop(worker, 0)
        if self.order == "pure":
            return [worker] * jobs
        if self.order == "idle":
            self.idle.append(worker)
        owed, self.owed = self.owed, 0
        return self.deal(owed)

    def deal(self, number):
        """So many workers that are there; what is left over waits for one that comes back."""
        there = self.num_workers - len(self.away) if self.order != "idle" else len(self.idle)
        dealt = [self.one() for _ in range(min(number, there) if self.order == "idle" else number * (there > 0))]
        self.owed += number - len(dealt)
        return dealt

    def one(self):
        """The next worker that is not known to be away."""
        while (worker := self.draw()) in self.away:
            pass
        return worker

    def draw(self):
        if self.order == "random":
            return int(self.rng.integers(self.num_workers))
        if self.order == "idle":
            at = int(self.rng.integers(len(self.idle)))
            self.idle[at], self.idle[-1] = self.idle[-1], self.idle[at]
            return self.idle.pop()
        if not self.hand:
            if self.permutation is None or self.order == "shuffled":
                self.permutation = self.rng.permutation(self.num_workers)[::-1].tolist()
            self.hand = list(self.permutation)
        return self.hand.pop()


def check_dispatch(order, concurrency):
    """The order by name, and how many jobs there are at a time (None: one for every worker)."""
    word("order", order, *ORDERS)
    return None if concurrency is None else whole("concurrency", concurrency, 1, hint=" jobs at a time")


def check_fleet(num_workers, order, concurrency, waiting, name):
    """What is known only with the number of workers: that the awaited gradients can come."""
    jobs = num_workers if concurrency is None else concurrency
    if waiting > jobs:
        raise ValueError(
            f"{name} is at most the number of jobs in flight ({jobs}), or nobody would end it; got {waiting}."
        )
    if order == "idle" and jobs > num_workers:
        raise ValueError(
            f"idle workers have no second job: concurrency is at most the number of workers ({num_workers}); got "
            f'{jobs}. order="random" lets jobs queue.'
        )


def dispatched(order: str = "pure", *, waiting: int = 1, concurrency: int | None = None) -> Policy:
    """Every gradient is an update; then a job goes to a worker that need not be the one that delivered.

        x[t+1] = x[t] - lr * g_i(x[read])     for the gradient of worker i that arrives;
        after every `waiting` of them, `waiting` jobs are handed out at the newest version

    A busy worker queues its jobs first-in first-out; a job's gradient is one of the worker's own data, at the version
    that was the newest when the job was handed out. With C jobs in flight the mean delay tends to
    C - (waiting + 1) / 2. With queues the slowest worker sets the pace: with every order but "pure" and "idle" the
    rate is at most n / h_n updates a second, h_n being its mean seconds. A job lost with its worker is dealt out again
    among those who are there ("pure": to the same worker once it is back).

    Args:
        order: who gets the next job. "pure": those who delivered; "random": anyone, uniformly, busy or not;
            "shuffled": one after the other in a random permutation of the workers, a new one each time round;
            "shuffled once": the same permutation each time; "idle": anyone of those who have nothing to do, uniformly.
        waiting: how many gradients are applied before as many jobs are handed out, all at the same version.
        concurrency: jobs at a time. None: one for every worker at the start. A number: so many jobs are dealt out at
            the start in the same order as later ones ("pure": to the workers 0, 1, ... in turn).

    Source: R. Islamov, M. Safaryan, D. Alistarh, AISTATS 2024, arXiv 2310.20452 (pure, random, shuffled, waiting);
    A. Koloskova, S. Stich, M. Jaggi, NeurIPS 2022, arXiv 2206.08307, Alg. 2 ("random" with concurrency). "idle" is
    how federated learning samples its clients.

    Example:
        >>> import jaxasgd as ja
        >>> policy = ja.policies.dispatched("random", concurrency=2)
        >>> times = ja.times.fixed(1.0, num_workers=4)
        >>> schedule = ja.simulate(policy, times, num_updates=1000, seed=1)
        >>> int(schedule.delay.sum() + schedule.unfinished["age"].sum())  # (concurrency - 1) T, exactly
        1000
    """
    concurrency = check_dispatch(order, concurrency)
    waiting = whole("waiting", waiting, 1, hint=" gradients before jobs are handed out")

    def init(num_workers, rng):
        check_fleet(num_workers, order, concurrency, waiting, "waiting")
        dealer = Dealer(order, num_workers, rng)
        return (dealer, []), dealer.first(concurrency)

    def on(state, event):
        dealer, delivered = state
        if event.kind != GRADIENT:
            return state, Decision(start=dealer.instead(event))
        delivered.append(event.worker)
        if len(delivered) < waiting:
            return state, Decision(use=True, step=True)
        return (dealer, []), Decision(use=True, step=True, start=dealer.next(delivered))

    numbers = {"order": order, "waiting": waiting, "concurrency": concurrency}
    return Policy(init, on, {"policy": "dispatched"} | numbers)
