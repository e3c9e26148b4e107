"""How the versions that workers hold are kept: as they are, in fewer bits, or in the host's memory."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .checks import shown
from .tables import put, take


class Cells(NamedTuple):
    """How cells are kept, hashable: it shapes the compiled program.

    Attributes:
        dtype: floating-point leaves are rounded to it; None: as they are.
        memory: kind of memory, "pinned_host"; None: the device's own.
        wide: the dtypes of the leaves of what workers are sent.
    """

    dtype: str | None = None
    memory: str | None = None
    wide: tuple[str, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether a cell is what was sent, bit for bit and on the device."""
        return self.dtype is None and self.memory is None

    def table(self, number, row):
        """A table of `number` rows, the first one given; a table in another memory begins as that row (`moved`)."""
        number = 1 if self.memory else number
        empty = lambda a: jnp.zeros((number, *jnp.shape(a)), self.narrow(a.dtype))
        return put(jax.tree.map(empty, row), 0, row)

    def moved(self, table, number):
        """The table of `number` rows in its memory, from one with the first row; the device never holds it whole."""
        if not self.memory:
            return table
        (device,) = jax.tree.leaves(table)[0].devices()
        place = jax.sharding.SingleDeviceSharding(device, memory_kind=self.memory)
        empty = lambda a: jax.device_put(np.zeros((number, *a.shape[1:]), a.dtype), place)
        return write_first(self, jax.tree.map(empty, table), take(table, 0))

    def narrow(self, dtype):
        return self.dtype if self.dtype and jnp.issubdtype(dtype, jnp.floating) else dtype

    def take(self, table, i):
        """Row i as it was sent, but for rounding."""
        return self.widen(take(table, i))

    def widen(self, row):
        leaves, tree = jax.tree.flatten(row)
        if self.memory:
            leaves = [jax.device_put(leaf, jax.memory.Space.Device) for leaf in leaves]
        if self.dtype:
            leaves = [leaf.astype(dtype) for leaf, dtype in zip(leaves, self.wide, strict=True)]
        return jax.tree.unflatten(tree, leaves)

    def put(self, table, i, row):
        """The table with row i replaced."""
        if self.memory:
            row = jax.tree.map(lambda a, x: jax.device_put(x.astype(a.dtype), jax.memory.Space.Host), table, row)
        return put(table, i, row)


AS_SENT = Cells()


def checked(dtype, memory, device) -> Cells:
    """Cells of this dtype in this memory of the device.

    Raises:
        ValueError: for a dtype that is no floating point, or a memory that the device does not have.
    """
    if dtype is not None:
        try:
            dtype = jnp.dtype(dtype)
        except TypeError:
            raise ValueError(
                f"cell_dtype is a floating-point dtype, jnp.bfloat16 for example; got {shown(dtype)}."
            ) from None
        if not jnp.issubdtype(dtype, jnp.floating):
            raise ValueError(f"cell_dtype is a floating-point dtype, jnp.bfloat16 for example; got {dtype}.")
        dtype = dtype.name
    if memory is not None:
        kinds = [found.kind for found in device.addressable_memories()]
        if not isinstance(memory, str) or memory != "pinned_host" or memory not in kinds:
            raise ValueError(
                f'cell_memory is "pinned_host", where the device has it, or None for its own; got {shown(memory)}, and '
                f"{device} has {kinds}."
            )
    return Cells(dtype, memory)


write_first = jax.jit(lambda cells, table, row: cells.put(table, 0, row), static_argnums=0, donate_argnums=1)
