"""A progress bar on long work: tqdm, where it is installed and somebody is watching."""

from __future__ import annotations

import sys
from contextlib import contextmanager


@contextmanager
def bar(wanted, total, unit):
    """Yields `show(done, **numbers)`. `wanted`: True, False, or None for "if standard error is a terminal"."""
    show = wanted if wanted is not None else sys.stderr.isatty()
    if not show:
        yield lambda done, **numbers: None
        return
    try:
        from tqdm import tqdm
    except ImportError as error:
        if wanted:
            raise ImportError('a progress bar needs tqdm: pip install "jaxasgd[cli]", or progress=False.') from error
        yield lambda done, **numbers: None
        return
    with tqdm(total=total, unit=f" {unit}s", delay=0 if wanted else 2, leave=bool(wanted), file=sys.stderr) as shown:

        def update(done, **numbers):
            shown.set_postfix({name: f"{value:.4g}" for name, value in numbers.items()}, refresh=False)
            shown.update(done - shown.n)

        yield update
