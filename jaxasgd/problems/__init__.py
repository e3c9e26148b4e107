"""Problems: what is minimised, and on which data."""

from .base import Order, Problem, Request
from .data import Dataset, binary_labels, folder, idx, images, libsvm, mnist, sklearn_set
from .finite import from_loss
from .nets import classifier, mlp
from .quadratics import quadratic, tridiagonal
from .regression import linear, logistic, squared_error, toy_regression
from .shards import shard
from .stages import Split, stage_of_leaves, staged
from .texts import Text, text
from .transformers import transformer

__all__ = [
    "Dataset",
    "Order",
    "Problem",
    "Request",
    "Split",
    "Text",
    "binary_labels",
    "classifier",
    "folder",
    "from_loss",
    "idx",
    "images",
    "libsvm",
    "linear",
    "logistic",
    "mlp",
    "mnist",
    "quadratic",
    "shard",
    "sklearn_set",
    "squared_error",
    "stage_of_leaves",
    "staged",
    "text",
    "toy_regression",
    "transformer",
    "tridiagonal",
]
