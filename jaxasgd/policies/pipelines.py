"""Pipelines: mini-batches in flight through stages, each of which has weights of an age of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..checks import many, shown, whole, word
from .base import GRADIENT, Decision, Policy, every, vectorized


def stage_numbers(stages):
    """How many stages there are, and the stage of each group of weights: `(number, groups)`.

    `stages` is a number, and then a group is a run of coordinates, or the stage of each leaf, and a group is a leaf.
    """
    if not many(stages):
        number = whole("stages", stages, 1, hint=", or the stage of each leaf")
        return number, np.arange(number)
    groups = np.array([whole(f"stages[{i}]", stage, hint=": the stage of a leaf") for i, stage in enumerate(stages)])
    if not len(groups):
        raise ValueError(f"stages is a number, or the stage of each leaf, one leaf or more; got {shown(stages)}.")
    return int(groups.max()) + 1, groups


def stage_delays(stages, delays=None, passes=1, ends=0) -> list[int]:
    """The delay of each stage; by default passes * (stages after it) + ends."""
    number, _ = stage_numbers(stages)
    if delays is None:
        return [passes * (number - 1 - stage) + ends for stage in range(number)]
    if not many(delays) or len(delays) != number:
        raise ValueError(f"delays holds a delay for each of the {number} stages; got {shown(delays)}.")
    return [whole(f"delays[{i}]", delay, hint=" mini-batches") for i, delay in enumerate(delays)]


def pipelined(
    stages: int | Sequence[int],
    *,
    delays: Sequence[int] | None = None,
    weights: str = "stashed",
    batch: int = 1,
    warmup: int = 0,
) -> Policy:
    """Mini-batches in flight through a pipeline: its stages have computed with weights of different ages.

        x[t+1] = x[t] - lr * g(x_0[t - d_0], ..., x_{S-1}[t - d_{S-1}]),     d_s = S - 1 - s

    x_s being the weights of stage s. The workers of the clock are the places in the pipeline: a mini-batch enters when
    another leaves it, at that version, and leaves as an update when its worker is done. Where all take the same time,
    as many as there are stages make the delays above; more are a queue before the first stage. A stage's weights are
    never older than the mini-batch: on a clock whose times vary, mini-batches overtake each other, and stage s was read
    d_s updates before, or when the mini-batch entered, whichever is later.

    Args:
        stages: S, which are runs of consecutive coordinates as equal as can be (as many as leaves: a stage is a leaf);
            or the stage of each leaf, 0 to S - 1, in the order of `jax.tree.leaves` (`ja.problems.stage_of_leaves`).
        delays: how many mini-batches leave the pipeline between the forward pass of one through a stage and its
            backward pass, one for each stage; None: S - 1 - s, one forward and one backward pass in turn.
        weights: "stashed": both passes of a stage use those of the forward pass, kept for the mini-batch; "synced": all
            stages use the version that the first met (vertical sync): the delay is max d_s; "latest": those of the
            forward pass for activations, the current ones for the backward pass. For this workers are sent a pytree of
            two halves (`ja.problems.Split`), and there are twice as many columns in `read`: forward, then backward.
        batch: mini-batches (micro-batches) whose mean is an update; delays remain in mini-batches.
        warmup: updates at the start that are synchronous: all stages use the current version. Their seconds are those
            of the others.

    Source: D. Narayanan et al., SOSP 2019 (PipeDream: stashed, synced); B. Yang et al., MLSys 2021, arXiv 1910.05124
    (PipeMare: latest, warmup).

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed(1.0, num_workers=3)
        >>> ja.simulate(ja.policies.pipelined(stages=3), times, num_updates=5).delay.tolist()
        [[0, 0, 0], [1, 1, 0], [2, 1, 0], [2, 1, 0], [2, 1, 0]]
    """
    told = stage_delays(stages, delays)
    late = np.array(told)[stage_numbers(stages)[1]]
    batch, warmup = whole("batch", batch, 1, hint=" mini-batches"), whole("warmup", warmup, hint=" updates")
    places = int(late.max()) + 1
    if word("weights", weights, "stashed", "synced", "latest") == "synced":
        late = late.max(keepdims=True)

    def init(num_workers, rng):
        if num_workers < places:
            raise ValueError(
                f"a pipeline with a delay of {places - 1} has {places} mini-batches in flight, and this clock has "
                f"{num_workers} workers: give it {places} or more."
            )
        return 0, range(num_workers)

    def on(count, event):
        if event.kind != GRADIENT:
            return count, Decision(start=(event.worker,))
        read = np.maximum((count - late) // batch, max(event.read, min(event.version, warmup)))
        if weights == "latest":
            read = np.append(read, np.full_like(read, event.version))
        elif len(read) == 1:
            read = int(read[0])
        count += 1
        return count, Decision(use=True, weight=1 / batch, step=count % batch == 0, start=(event.worker,), read=read)

    def pure(num_workers, arrivals):
        step, count = every(batch, arrivals), np.arange(len(arrivals.time))
        version = arrivals.version(step)
        least = np.maximum(arrivals.read(step), np.minimum(version, warmup))
        read = np.maximum((count[:, None] - late) // batch, least[:, None])
        if weights == "latest":
            read = np.concatenate([read, np.broadcast_to(version[:, None], read.shape)], axis=1)
        elif read.shape[1] == 1:
            read = read[:, 0]
        return Decision(use=True, weight=1 / batch, step=step, read=read)

    info = {"policy": "pipelined", "stages": np.asarray(stages, int).tolist(), "delays": told, "weights": weights}
    return Policy(init, vectorized(on, pure), info | {"batch": batch, "warmup": warmup})


def double_buffered(batch: int | None = None) -> Policy:
    """Mini-batches in flight through a pipeline that keeps two versions of its weights: the delay is 1 throughout.

        x[t+1] = x[t] - lr * (1/batch) sum_{j=1}^batch g_j(x[max(t - 1, 0)])

    With as many mini-batches in an update as there are stages, or more, the first of them enters before the update
    before is made: it is computed at the version before that, and so are the others of its update. The stages are not
    seen, and nobody waits. On a clock whose times vary, those that leave the pipeline next make the next update.

    Args:
        batch: micro-batches in an update; None: as many as workers, which are the places in the pipeline.

    Source: D. Narayanan, A. Phanishayee, K. Shi, X. Chen, M. Zaharia, ICML 2021, arXiv 2006.09503 (PipeDream-2BW).

    Example:
        >>> import jaxasgd as ja
        >>> times = ja.times.fixed(1.0, num_workers=2)
        >>> ja.simulate(ja.policies.double_buffered(), times, num_updates=3).delay.tolist()
        [0, 0, 1, 1, 1, 1]
    """
    batch = None if batch is None else whole("batch", batch, 1, hint=" micro-batches, or None: as many as workers")

    def init(num_workers, rng):
        return (0, num_workers if batch is None else batch), range(num_workers)

    def on(state, event):
        count, size = state
        if event.kind != GRADIENT:
            return state, Decision(start=(event.worker,))
        count = (count + 1) % size
        read = max(event.version - 1, 0)
        decision = Decision(use=True, weight=1 / size, step=count == 0, start=(event.worker,), read=read)
        return (count, size), decision

    def pure(num_workers, arrivals):
        size = num_workers if batch is None else batch
        step = every(size, arrivals)
        return Decision(use=True, weight=1 / size, step=step, read=np.maximum(arrivals.version(step) - 1, 0))

    return Policy(init, vectorized(on, pure), {"policy": "double_buffered", "batch": batch})
