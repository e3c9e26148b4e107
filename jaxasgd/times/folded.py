"""Folded normal laws: a constant plus the size of a normal number."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from .base import NON_NEGATIVE, POSITIVE, Times, arguments


def half_normal(shift: ArrayLike, scale: ArrayLike, *, num_workers: int | None = None) -> Times:
    """A constant plus a half-normal jitter: t = shift + |N(0, scale^2)| seconds.

    Mean shift + scale sqrt(2 / pi) (this is `Times.mean`), standard deviation scale sqrt(1 - 2 / pi). The clock of the
    experiments with Ringmaster ASGD (Maranjyan, Tyurin and Richtarik, ICML 2025, arXiv:2501.16168) and Ringleader ASGD
    (Maranjyan and Richtarik 2025, arXiv:2509.22860): h_i + |N(0, s_i^2)|, e.g. half_normal(h, h) with
    h = power_law_means(n, power=1.0), or half_normal(1 + h, np.sqrt(h**2 + 1)) with h = power_law_means(n). ValueError
    unless `shift` >= 0, `scale` > 0, both finite.

    Example:
        >>> import jaxasgd as ja
        >>> h = ja.times.power_law_means(8, power=0.5)
        >>> ja.times.half_normal(shift=h, scale=h)
        Times(half_normal, num_workers=8, mean=1.798..5.085)
    """
    rules = {"shift": (shift, NON_NEGATIVE), "scale": (scale, POSITIVE)}
    (shift, scale), args = arguments("half_normal", num_workers, **rules)
    draw = lambda rng, i, n: shift[i] + np.abs(scale[i] * rng.standard_normal(n))
    return Times("half_normal", shift + scale * math.sqrt(2 / math.pi), draw, args)


def folded_normal(
    center: ArrayLike, scale: ArrayLike, shift: ArrayLike = 0.0, *, num_workers: int | None = None
) -> Times:
    """A constant plus the size of a normal number: t = shift + |N(center, scale^2)| seconds.

    With c = center and s = scale the mean is shift + s sqrt(2 / pi) exp(-c^2 / (2 s^2)) + c erf(c / (s sqrt(2))), a
    little more than shift + c. Rounded up to whole ticks it is a clock of AsGrad (Islamov, Safaryan and Alistarh,
    AISTATS 2024, arXiv:2310.20452): `ticks(folded_normal(h, h))`. ValueError unless `center` >= 0, `scale` > 0,
    `shift` >= 0, all finite.

    Example:
        >>> import jaxasgd as ja
        >>> ja.times.folded_normal(center=[1.0, 2.0], scale=[1.0, 2.0]).mean.round(4)
        array([1.1666, 2.3333])
    """
    rules = {"center": (center, NON_NEGATIVE), "scale": (scale, POSITIVE), "shift": (shift, NON_NEGATIVE)}
    (center, scale, shift), args = arguments("folded_normal", num_workers, **rules)
    z = center / scale
    erf = np.array([math.erf(x / math.sqrt(2)) for x in z])
    mean = shift + scale * math.sqrt(2 / math.pi) * np.exp(-(z**2) / 2) + center * erf
    draw = lambda rng, i, n: shift[i] + np.abs(center[i] + scale[i] * rng.standard_normal(n))
    return Times("folded_normal", mean, draw, args)
