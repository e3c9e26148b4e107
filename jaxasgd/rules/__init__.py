"""Rules: what the server does with the numbers. Any optax chain; these read `delay=` and its like."""

from .staleness import scale_by_delay

__all__ = ["scale_by_delay"]
