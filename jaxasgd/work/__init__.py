"""Work: what a worker computes from what it read. One small file per family."""

from .gradients import Work, gradient

__all__ = ["Work", "gradient"]
