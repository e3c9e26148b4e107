"""Means of whole fleets: seconds of every worker, to be handed to a law as `mean`."""

from __future__ import annotations

import numpy as np

from .base import NON_NEGATIVE, POSITIVE, SHARE, arguments, integer, numbers

MEANS_STREAM = 0x3EA5  # second word of the seed of fleets that are drawn


def power_law_means(num_workers: int, power: float = 0.5, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    """Seconds that grow like a power of the worker's number: h_i = shift + scale i^power, i = 1, ..., num_workers.

    The fleets of Ringmaster and Ringleader ASGD (Maranjyan, Tyurin and Richtarik, ICML 2025, arXiv:2501.16168;
    Maranjyan and Richtarik 2025, arXiv:2509.22860) and of the codes around them: i (power=1), sqrt(i) (0.5), i^2 (2),
    1 + sqrt(i) (0.5, shift=1). Half of a fleet fast, the other half like i^3:
    np.concatenate([h[1:n // 2 + 1], h[n // 2:] ** 3]) with h = power_law_means(n, power=1.0). ValueError unless
    `num_workers` is a positive integer, `scale` > 0, `shift` >= 0, `power` finite.

    Example:
        >>> import jaxasgd as ja
        >>> ja.times.power_law_means(4, power=2.0)
        array([ 1.,  4.,  9., 16.])
        >>> ja.times.fixed(ja.times.power_law_means(3, power=1.0, shift=0.5))
        Times(fixed, num_workers=3, mean=1.5..3.5)
    """
    count = workers("power_law_means", num_workers)
    power = one("power_law_means", power=(power, FINITE))
    scale = one("power_law_means", scale=(scale, POSITIVE))
    shift = one("power_law_means", shift=(shift, NON_NEGATIVE))
    with np.errstate(over="ignore"):
        means = shift + scale * np.arange(1.0, count + 1) ** power
    return finite("power_law_means", means, "a smaller power")


def two_group_means(num_workers: int, fast: float = 1.0, slow: float = 10.0, share: float = 0.5) -> np.ndarray:
    """Two kinds of machines: `fast` seconds for the first workers, `slow` for the last share of them.

    round(share num_workers) workers are slow. Speeds 1 and 10 are those of the experiments with Birch SGD (Tyurin et
    al., ICLR 2026). ValueError unless `fast` > 0 and `slow` > 0, both finite, and `share` is in [0, 1].

    Example:
        >>> import jaxasgd as ja
        >>> ja.times.two_group_means(5, share=0.4)
        array([ 1.,  1.,  1., 10., 10.])
    """
    count = workers("two_group_means", num_workers)
    fast, slow = one("two_group_means", fast=(fast, POSITIVE)), one("two_group_means", slow=(slow, POSITIVE))
    share = one("two_group_means", share=(share, SHARE))
    return np.where(np.arange(count) < count - round(share * count), fast, slow)


def cvb_means(num_workers: int, mean: float = 1.0, cv: float = 0.6, seed: int = 0) -> np.ndarray:
    """Machines drawn from a gamma law: q_i ~ Gamma(shape 1 / cv^2, scale mean cv^2) seconds, independent.

    `cv` is the coefficient of variation over the machines: standard deviation cv mean. The heterogeneous fleets of
    the CVB model (Ali, Siegel, Maheswaran, Hensgen and Ali, Tamkang Journal of Science and Engineering 3(3), 2000), as
    used for DANA (Hakimi, Barkai, Gabel and Schuster 2019, arXiv:1907.11612): a job takes gamma(mean=q, cv=0.1). With
    cv 0.6 and 0.1 a share 0.2788 of all jobs takes more than 1.25 times the mean; 0.0094 in a homogeneous fleet.
    The first machines are the same for every `num_workers`. ValueError unless `mean` > 0 and `cv` > 0, both finite.

    Example:
        >>> import jaxasgd as ja
        >>> ja.times.gamma(mean=ja.times.cvb_means(32, mean=128.0, seed=1), cv=0.1).num_workers
        32
    """
    count, rng = workers("cvb_means", num_workers), generator("cvb_means", seed)
    mean, cv = one("cvb_means", mean=(mean, POSITIVE)), one("cvb_means", cv=(cv, POSITIVE))
    drawn = mean * cv**2 * rng.standard_gamma(1 / cv**2, count)
    return np.maximum(drawn, np.finfo(np.float64).tiny)  # a huge cv: smaller than any float64


def lognormal_means(num_workers: int, median: float = 1.0, sigma: float = 1.0, seed: int = 0) -> np.ndarray:
    """Machines drawn from a log-normal law: m_i = median exp(sigma z_i) seconds, z_i standard normal, independent.

    Then the rates 1 / m_i are log-normal too: clients with rates LogN(0, sigma^2) and exponential jobs, as in
    simulators of federated learning, are exponential(lognormal_means(n, sigma=sigma)). The first machines are the same
    for every `num_workers`. ValueError unless `median` > 0 and `sigma` >= 0, both finite.

    Example:
        >>> import jaxasgd as ja
        >>> ja.times.exponential(ja.times.lognormal_means(100, sigma=0.5, seed=3)).num_workers
        100
    """
    count, rng = workers("lognormal_means", num_workers), generator("lognormal_means", seed)
    median = one("lognormal_means", median=(median, POSITIVE))
    sigma = one("lognormal_means", sigma=(sigma, NON_NEGATIVE))
    with np.errstate(over="ignore"):
        means = median * np.exp(sigma * rng.standard_normal(count))
    return finite("lognormal_means", means, "a smaller sigma")


FINITE = ("finite", np.isfinite)


def workers(function: str, num_workers) -> int:
    """How many workers."""
    return integer(num_workers, 1, f"times.{function}: num_workers", "e.g. num_workers=8")


def generator(function: str, seed) -> np.random.Generator:
    """The stream of a fleet."""
    seed = integer(seed, 0, f"times.{function}: seed", "e.g. seed=0")
    return np.random.default_rng(np.random.SeedSequence([seed, MEANS_STREAM]))


def one(function: str, **given) -> float:
    """One number, by its rule."""
    ((name, pair),) = given.items()
    value = pair[0]
    if numbers(function, name, value).ndim:
        raise ValueError(f"times.{function}: {name} is one number; got {value!r}. Pass e.g. {name}=1.0.")
    return float(arguments(function, 1, **given)[0][0][0])


def finite(function: str, means: np.ndarray, remedy: str) -> np.ndarray:
    """Positive, finite seconds."""
    good = (means > 0) & np.isfinite(means)
    if not good.all():
        i = int((~good).argmax())
        raise ValueError(
            f"times.{function}: seconds are positive and finite; worker {i} would have {means[i]}. Take {remedy}."
        )
    return means
