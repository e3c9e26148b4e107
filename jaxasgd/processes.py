"""Arrays over several processes: what each of them has on its own devices, and the whole that a program sees."""

from __future__ import annotations

import zlib

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

AXIS = "shards"


def own_devices(devices, who: str) -> tuple[jax.Device, ...]:
    """Those of this process."""
    own = tuple(device for device in devices if device.process_index == jax.process_index())
    if not own:
        raise ValueError(
            f"fanout.{who}: a process that takes part has devices of its own among `devices`; got none of process "
            f"{jax.process_index()}: {devices!r}. Pass jax.devices(), or do not call it there."
        )
    return own


def mesh_of(devices) -> Mesh:
    """One axis over the devices, whose arrays take part in any program."""
    return Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Auto,))


def lift(tree, mesh: Mesh, spec, keys=True):
    """Arrays on this process's devices (typed keys too, if asked) as its part of arrays on the whole mesh, uncopied."""
    sharding = NamedSharding(mesh, spec)

    def up(x):
        if not keys and jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return x
        parts = [part.data for part in x.addressable_shards]
        length = (len(parts[0]) * mesh.size,) if spec else ()
        return jax.make_array_from_single_device_arrays((*length, *x.shape[len(length) :]), sharding, parts)

    return jax.tree.map(up, tree)


def lower(tree, own: Mesh, spec):
    """The other way: this process's part of arrays on the whole mesh. Arrays of this process alone stay as they are."""
    sharding = NamedSharding(own, spec)

    def down(x):
        if not isinstance(x, jax.Array) or isinstance(x, jax.core.Tracer) or x.is_fully_addressable:
            return x
        parts = {part.device: part.data for part in x.addressable_shards}
        shape = (sum(len(part) for part in parts.values()), *x.shape[1:]) if spec else x.shape
        size = 0 if 0 in shape else len(x) // len(x.sharding.device_set) if spec else None
        fits = all(part.shape == ((size, *x.shape[1:]) if spec else x.shape) for part in parts.values())
        if set(parts) != set(own.devices.flat) or not fits:
            raise ValueError(
                f"fanout: an array of several processes lies on the same devices as the call, "
                f"{'cut along its first axis' if spec else 'whole on each'}; got shape {x.shape} with {x.sharding}. "
                f"Make it with fanout.share, or pass the process's own part."
            )
        return jax.make_array_from_single_device_arrays(shape, sharding, [parts[d] for d in own.devices.flat])

    return jax.tree.map(down, tree)


def packed_mean(tree, axis):
    """`lax.pmean` with one message for each dtype, since between hosts XLA's CPU collectives send one for each leaf."""
    leaves, structure = jax.tree.flatten(tree)
    for dtype in {leaf.dtype: None for leaf in leaves}:
        members = [i for i, leaf in enumerate(leaves) if leaf.dtype == dtype]
        flat = lax.pmean(jnp.concatenate([leaves[i].reshape(-1) for i in members]), axis)
        ends = np.cumsum([leaves[i].size for i in members])
        for i, part in zip(members, jnp.split(flat, ends[:-1]), strict=True):
            leaves[i] = part.reshape(leaves[i].shape)
    return jax.tree.unflatten(structure, leaves)


def check_traced(how, shards):
    """What a jit over several processes can do."""
    if how == "pmap":
        raise ValueError(
            'fanout.value_and_grad: inside a jit over several processes how is "shard_map"; got "pmap", which cuts the '
            'arrays of each process there. Pass how="shard_map".'
        )
    for leaf in jax.tree.leaves(shards):
        if not isinstance(leaf, jax.core.Tracer):
            raise ValueError(
                f"fanout.value_and_grad: inside a jit over several processes shards are arguments of the jit, since "
                f"constants would differ from process to process; got a constant of shape {np.shape(leaf)}. Make it "
                f"with fanout.share and pass it in."
            )


def agree(mesh: Mesh, own: Mesh, params, shards):
    """Raise on every process where they differ in the structure of their arguments or in the numbers of params."""

    def kinds(tree, rows=None):
        shape = lambda x: np.shape(x) if rows is None else (np.shape(x)[0] // rows, *np.shape(x)[1:])
        leaves = jax.tree.leaves_with_path(tree)
        return [f"{jax.tree_util.keystr(path)} {shape(x)} {jnp.result_type(x)}".strip() for path, x in leaves]

    def raw(x):
        typed = jnp.issubdtype(jnp.result_type(x), jax.dtypes.prng_key)
        return np.ascontiguousarray(jax.random.key_data(x) if typed else x).tobytes()

    told = f"params {', '.join(kinds(params))}; shards for each device {', '.join(kinds(shards, own.size))}"
    marks = [zlib.crc32(told.encode()), zlib.crc32(b"".join(raw(x) for x in jax.tree.leaves(params)))]
    marks = jax.device_put(np.tile(np.array(marks, np.uint32), (own.size, 1)), NamedSharding(own, P(AXIS)))
    differs = jax.jit(lambda x: x.max(0) != x.min(0), out_shardings=NamedSharding(mesh, P()))
    shapes, numbers = np.asarray(differs(lift(marks, mesh, P(AXIS)))).tolist()
    here = f"on process {jax.process_index()}: {told}"
    if shapes:
        raise ValueError(
            f"fanout.value_and_grad: all processes pass params and shards of the same shapes and types, and as many "
            f"shards for each device; got others than this {here}. Pass the same everywhere."
        )
    if numbers:
        raise ValueError(
            f"fanout.value_and_grad: all processes pass params of the same numbers; got other numbers than those "
            f"{here}. Make them everywhere from the same key."
        )
