"""Between processes: objects as bytes, with their arrays beside them, so that Ray can share those without a copy."""

from __future__ import annotations

import io
import pickle
from functools import cache
from typing import Any, NamedTuple

import jax
import numpy as np

LEAST_BYTES = 512  # of a NumPy array that is kept beside; smaller ones are in the bytes
PLAIN = {int, float, str, bytes, tuple, list, dict, bool, type(None)}


class Frozen(NamedTuple):
    """An object: its pickle, and the arrays and payloads that it refers to by number.

    Attributes:
        code: the pickle.
        arrays: NumPy arrays.
        payloads: what is sent to workers, by version; `thaw` asks for them again.
    """

    code: bytes
    arrays: list
    payloads: dict


class Payload:
    """What workers are sent at one version: a pytree on the server's device, or what shards hold.

    Args:
        version: of the parameters.
        tree: the pytree; None where there are shards.
        args: what a call to a worker gets: for each shard (or in all, without shards) the leaves, or a reference to
            them in the object store; None: made from the tree when it is first asked for.
    """

    __slots__ = ("args", "tree", "version")

    def __init__(self, version, tree=None, args=None):
        self.version, self.tree, self.args = version, tree, args


@cache
def pickler():
    """The class, once Ray is there: its cloudpickle takes closures."""
    from ray import cloudpickle

    class Pickler(cloudpickle.Pickler):
        def __init__(self, file):
            super().__init__(file, protocol=5)
            self.arrays, self.payloads = [], {}

        def persistent_id(self, value):
            if type(value) in PLAIN:
                return None
            if isinstance(value, Payload):
                self.payloads[value.version] = value
                return "payload", value.version, None
            if isinstance(value, jax.Array) and not isinstance(value, jax.core.Tracer):
                if jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
                    self.arrays.append(np.asarray(jax.random.key_data(value)))
                    return "key", len(self.arrays) - 1, str(jax.random.key_impl(value))
                self.arrays.append(np.asarray(value))
                return "device", len(self.arrays) - 1, None
            if type(value) is np.ndarray and value.nbytes >= LEAST_BYTES and value.dtype != object:
                self.arrays.append(value)
                return "host", len(self.arrays) - 1, None
            return None

    return Pickler


class Unpickler(pickle.Unpickler):
    def __init__(self, code, arrays, payload):
        super().__init__(io.BytesIO(code))
        self.arrays, self.payload = arrays, payload

    def persistent_load(self, told):
        kind, i, impl = told
        if kind == "payload":
            return self.payload(i)
        if kind == "key":
            return jax.random.wrap_key_data(np.asarray(self.arrays[i]), impl=impl)  # type: ignore[arg-type]  # fits
        return jax.device_put(self.arrays[i]) if kind == "device" else self.arrays[i]


def freeze(value, what) -> Frozen:
    """An object for another process.

    Args:
        value: any; functions and closures too.
        what: it is, for the error.

    Raises:
        ValueError: it can't be pickled.
    """
    file = io.BytesIO()
    writer = pickler()(file)
    try:
        writer.dump(value)
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        raise ValueError(
            f"on Ray {what} is sent to other processes, so it can be pickled; got one with a part that can't "
            f"({type(error).__name__}: {error}): make open files, locks, generators and the like where they are used."
        ) from error
    return Frozen(file.getvalue(), writer.arrays, writer.payloads)


def thaw(code, arrays, payload=None) -> Any:
    """The object again. Its arrays may be views of read-only memory that others share: donate none of them.

    Args:
        code, arrays: of `Frozen`.
        payload: version -> `Payload`.
    """
    return Unpickler(code, arrays, payload).load()
