"""The field: one short function per published method."""

from .base import Late, Method, late
from .baselines import asgd, backup_sgd, polynomial_asgd, sync_sgd

__all__ = ["Late", "Method", "asgd", "backup_sgd", "late", "polynomial_asgd", "sync_sgd"]
