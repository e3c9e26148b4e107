"""Over several devices: the gradient of a mean over shards, and sweeps.

`value_and_grad` is the synchronous data-parallel step, for a training loop of your own; `spread` is `jax.vmap` over
every device. Both are one compiled program and give what one device gives up to rounding.

Results are ordinary arrays that live on all of `devices`: replicated by `value_and_grad`, split along the first axis by
`spread`. They mix with each other, with NumPy arrays and with arrays that were never put anywhere; as always in JAX not
with arrays committed to one device: `jax.device_put(result, device)` brings a result there. Arguments may lie anywhere.
Forced host devices are for checks: they are no faster than one, and calls wait for their result there (on other devices
they return at once), because a Python loop of collective steps that never waits aborts the process.

Several processes (after `jax.distributed.initialize`, which makes `jax.devices()` the devices of all hosts) run the
same program and call in the same order. Each passes its own shards or members; results are ordinary arrays on its own
devices, which it may print, save or look at alone. Only `value_and_grad` sends anything: one all-reduce a call.
`ja.run(..., devices=jax.devices())` works there too: the same arguments on every process, and the final parameters,
replicated on all devices, are read by `np.asarray`. All of this is synchronous: when a process dies the others end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from .checks import flag, function, word
from .processes import AXIS, agree, check_traced, lift, lower, mesh_of, own_devices, packed_mean

__all__ = ["share", "spread", "value_and_grad"]


def value_and_grad(
    loss: Callable, devices: Sequence[jax.Device] | None = None, *, how: str = "pmap", has_aux: bool = False
) -> Callable:
    """Value and gradient of the mean loss over shards, with the shards spread over devices.

    Returns a function (params, shards) -> (F, grad F) at params, with F = (1 / num_shards) sum_s loss(params, shard_s):
    what `jax.value_and_grad` of the mean gives on one device, whatever the number of devices. `shards` is a pytree of
    arrays [num_shards, ...], one shard a worker; device d gets the d-th run of num_shards / len(devices) of them and
    the gradients are averaged by one all-reduce. The function does not trace again when called again, and may be
    called inside a `jit` or `scan` of the caller, which is the fast way: a `lax.scan` over steps inside one `jit`.

    Several processes: each passes the same params and its own shards, as many for each device everywhere; the mean is
    over the shards of all, F and grad F are the same numbers on each process, and aux is that of its own shards. The
    first call checks that the processes agree on params and shapes, later calls don't. Inside a `jit` of the caller
    arrays are those of all processes, as always in JAX: make them with `fanout.share`, and use "shard_map".

    A device computes its shards side by side, as the gradient of their mean under `vmap`. One by one in a `lax.scan`
    they would need the activations of one shard instead of all (2 instead of 21 MB for 64 shards of 32 images through
    an MLP 784-512-512-10) at the same speed on a CPU, but would leave a GPU idle; where memory is short, give it fewer
    shards a call. (A `lax.map` of the loss saves nothing: its gradient keeps the activations of all shards.)

    Args:
        loss: `loss(params, shard) -> scalar`; with `has_aux`, `-> (scalar, aux)`.
        devices: default `jax.devices()`.
        how: "pmap" or "shard_map": `jax.pmap`, or `jax.jit` of `jax.shard_map` over a mesh with one Auto axis. Same
            computation, same results; "shard_map" also works inside a `jit` over several processes.
        has_aux: the function returns ((F, aux), grad F), every leaf of aux [num_shards, ...].

    Raises:
        ValueError: no devices, or one twice; unknown `how`; when called: shards without a common first axis, none, a
            number of them that the devices don't divide, or a loss that is no scalar; over several processes: devices
            without one of this process, processes that don't agree, an array that lies elsewhere.

    Example:
        >>> import jax, jax.numpy as jnp, jaxasgd as ja
        >>> loss = lambda w, shard: jnp.mean((w - shard) ** 2)
        >>> shards = jnp.arange(8.0 * len(jax.devices())).reshape(-1, 4)     # 2 shards a device, of 4 numbers
        >>> value, grad = ja.fanout.value_and_grad(loss)(jnp.zeros(()), shards)
        >>> bool(jnp.allclose(grad, -2 * shards.mean()))
        True
    """
    devices = _devices(devices, "value_and_grad")
    function("fanout.value_and_grad: loss", loss, "(params, shard)")
    word("fanout.value_and_grad: how", how, "pmap", "shard_map")
    flag("fanout.value_and_grad: has_aux", has_aux)
    mesh, own = mesh_of(devices), mesh_of(own_devices(devices, "value_and_grad"))
    several = own.size < mesh.size
    agreed: list = []

    def one(params, shard):
        out = loss(params, shard)
        pair = isinstance(out, tuple) and len(out) == 2
        value, aux = out if has_aux and pair else (out, None)
        if getattr(value, "shape", None) != () or (has_aux and not pair):
            raise ValueError(
                f"fanout.value_and_grad: loss(params, shard) returns one JAX number, with has_aux=True (number, aux); "
                f"has_aux={has_aux} got {out!r}. Return e.g. the mean over the shard's samples."
            )
        return value, aux

    def local(params, shards):
        """On each device: its own shards [num_shards / num_devices, ...] in, the mean over all devices out."""

        def mean_loss(params):
            values, aux = jax.vmap(one, (None, 0))(params, shards)
            return jnp.mean(values), aux

        (value, aux), grads = jax.value_and_grad(mean_loss, has_aux=True)(params)
        return (packed_mean if several and devices[0].platform == "cpu" else lax.pmean)((value, grads), AXIS), aux

    # Under shard_map with check_vma=True the gradient with respect to replicated params would be a sum over devices
    # already, and its pmean too large by their number. With False it is the local one, as it is under pmap.
    if how == "pmap":
        mapped = jax.pmap(local, AXIS, in_axes=(None, 0), out_axes=(None, 0), devices=devices, axis_size=mesh.size)
    else:
        specs = (P(), P(AXIS))
        mapped = jax.jit(jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=specs, check_vma=False))

    def value_and_grad_of_mean(params, shards):
        eager = not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((params, shards)))
        if several and eager:  # from here on the shards of this process, on its devices
            params, shards = lower(params, own, P()), lower(shards, own, P(AXIS))
        elif several:
            check_traced(how, shards)
        num_shards = _length(shards, "fanout.value_and_grad: shards")
        count = own.size if eager else mesh.size
        if num_shards % count:
            fits = next(k for k in range(count, 0, -1) if num_shards % k == 0)
            raise ValueError(
                f"fanout.value_and_grad: every device takes the same number of shards; got {num_shards} shards for "
                f"{count} devices. Use {fits} of them, e.g. devices=jax.devices()[:{fits}], or other shards."
            )
        if several and eager and not agreed:
            agree(mesh, own, params, shards)
            agreed.append(True)
        if how == "pmap":
            shards = jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), shards)
        (params, shards), eager = _place(own, (params, shards), (P(), P(AXIS)))
        if several and eager:
            keys = how == "shard_map"  # pmap lifts those itself
            params, shards = lift(params, mesh, P(), keys), lift(shards, mesh, P(AXIS), keys)
        pair, aux = mapped(params, shards)
        if several and eager:
            pair, aux = lower(pair, own, P()), lower(aux, own, P(AXIS))
        value, grads = pair
        if how == "pmap":
            aux = jax.tree.map(lambda x: x.reshape(num_shards, *x.shape[2:]), aux)
        return _settle(((value, aux) if has_aux else value, grads), mesh, eager)

    return value_and_grad_of_mean


def share(tree: Any, devices: Sequence[jax.Device] | None = None, *, whole: bool = False) -> Any:
    """Arrays of all processes from what each of them has, for a `jit` of your own.

    Every process passes its own rows: leaves [own_rows, ...], as many for each device everywhere, become [rows, ...]
    over the rows of all, in the order of `devices`. With `whole` every process passes the same leaves and each device
    holds them whole (parameters). In a single process: the same placement, over its devices.

    Results of a `jit` over such arrays are arrays of all processes too: `np.asarray` reads the replicated ones
    (parameters, losses) on any process; everything else with them is a call that all processes make.

    Args:
        tree: a pytree of arrays, typed keys included.
        devices: default `jax.devices()`.
        whole: every device holds all of it.

    Raises:
        ValueError: as `value_and_grad`.

    Example:
        >>> import jax, jax.numpy as jnp, jaxasgd as ja
        >>> shards = ja.fanout.share(jnp.ones((2 * len(jax.local_devices()), 3)))
        >>> step = ja.fanout.value_and_grad(lambda w, shard: jnp.sum(w * shard), how="shard_map")
        >>> descend = lambda w, shards: jax.lax.scan(lambda w, _: (w - 0.1 * step(w, shards)[1], w), w, None, length=5)
        >>> jax.jit(descend)(ja.fanout.share(jnp.ones(3), whole=True), shards)[1].shape
        (5, 3)
    """
    devices = _devices(devices, "share")
    flag("fanout.share: whole", whole)
    mesh, own = mesh_of(devices), mesh_of(own_devices(devices, "share"))
    spec = P() if whole else P(AXIS)
    tree = lower(tree, own, spec)
    if not whole and (length := _length(tree, "fanout.share: rows")) % own.size:
        raise ValueError(
            f"fanout.share: every device takes the same number of rows; got {length} rows for {own.size} devices of "
            f"this process. Pass a multiple of {own.size}, or with whole=True what every device is to have."
        )
    ((tree,), eager) = _place(own, (tree,), (spec,))
    if not eager:
        raise ValueError(f"fanout.share: places arrays, before a jit; got traced ones: {tree!r}. Call it outside.")
    return lift(tree, mesh, spec) if own.size < mesh.size else tree


def spread(
    fn: Callable, in_axes: int | Sequence[int | None] | None = 0, devices: Sequence[jax.Device] | None = None
) -> Callable:
    """`jax.vmap(fn, in_axes)` with the mapped axis spread over devices: one program, each device a part of the sweep.

    Returns a function of the same arguments and the same results as `jax.vmap(fn, in_axes)`. The axis is cut into equal
    parts; where the devices don't divide it, its last member is repeated and the surplus cut off at the end. Devices
    don't wait for each other before that, so loops inside `fn` may have lengths of their own. Arguments with `None` are
    passed whole, to every device. As under `jit`, arguments and results are pytrees of arrays, typed keys included.

    Several processes: each passes members of its own, as many as it likes, e.g. `lrs[jax.process_index() ::
    jax.process_count()]`, and gets the results of its own; nothing is sent, so none waits for another, and a process
    that dies takes nobody along.

    Args:
        fn: any function that `jax.vmap` takes, `jax.vmap` of another one included.
        in_axes: 0 or None for all arguments, or a tuple with one of them for each. At least one is 0.
        devices: default `jax.devices()`.

    Raises:
        ValueError: no devices, or one twice; an axis other than 0 and None, or no 0; when called: another number of
            arguments than `in_axes`, mapped arguments without a common first axis, or an empty one.

    Example:
        >>> import jax, jax.numpy as jnp, jaxasgd as ja
        >>> from jax import lax
        >>> final = lambda lr, curvature: lax.fori_loop(0, 100, lambda _, x: x - lr * curvature * x, 1.0)
        >>> ja.spread(final, in_axes=(0, None))(jnp.array([0.0, 0.5, 1.0]), 1.0).shape
        (3,)
    """
    devices = own_devices(_devices(devices, "spread"), "spread")
    function("fanout.spread: fn", fn, "one member of the sweep")
    axes_given = tuple(in_axes) if isinstance(in_axes, (tuple, list)) else (in_axes,)
    bad = [axis for axis in axes_given if not (axis is None or (type(axis) is int and axis == 0))]
    if bad or 0 not in axes_given:
        raise ValueError(
            f"fanout.spread: in_axes has 0 (mapped) or None (whole) for each argument, and at least one 0; "
            f"got {in_axes!r}. Move other axes to the front first, e.g. jnp.moveaxis(x, 1, 0)."
        )
    mesh = mesh_of(devices)

    def axes_for(args):
        axes = axes_given if isinstance(in_axes, (tuple, list)) else axes_given * len(args)
        if len(axes) != len(args):
            raise ValueError(f"fanout.spread: in_axes={in_axes!r} has one entry for each argument; got {len(args)}.")
        return axes

    def length_of(args, axes):
        mapped = {f"argument {i}": arg for i, (arg, axis) in enumerate(zip(args, axes, strict=True)) if axis == 0}
        return _length(mapped, "fanout.spread: mapped arguments")

    @jax.jit
    def program(*args):
        axes = axes_for(args)
        length = length_of(args, axes)
        surplus = -length % len(devices)
        if surplus:
            members = np.minimum(np.arange(length + surplus), length - 1)
            args = tuple(_take(arg, members) if axis == 0 else arg for arg, axis in zip(args, axes, strict=True))
        specs = tuple(P(AXIS) if axis == 0 else P() for axis in axes)
        mapped = jax.shard_map(jax.vmap(fn, axes), mesh=mesh, in_specs=specs, out_specs=P(AXIS), check_vma=False)
        return mapped(*args)

    def spread_fn(*args):
        axes = axes_for(args)
        length = length_of(args, axes)
        surplus = -length % len(devices)
        split = P() if surplus else P(AXIS)
        args, eager = _place(mesh, args, tuple(split if axis == 0 else P() for axis in axes))
        out = _settle(program(*args), mesh, eager, always=surplus > 0)
        # Cutting gathers from all devices. In the program it would abort the process where one device comes 40 s after
        # another (XLA's limit for a collective on the CPU); so it is a program of its own, when all are done.
        return _settle(_take(out, slice(length)), mesh, eager) if surplus else out

    return spread_fn


def _take(tree, index):
    return jax.tree.map(lambda x: x[index], tree)


def _devices(devices, who: str) -> tuple[jax.Device, ...]:
    """The devices as a tuple, checked."""
    chosen = tuple(jax.devices()) if devices is None else tuple(devices) if np.iterable(devices) else (devices,)
    remedy = "Pass e.g. jax.devices()[:2], or leave it out for all of them"
    if not chosen or not all(isinstance(device, jax.Device) for device in chosen):
        raise ValueError(f"fanout.{who}: devices is a sequence of one or more JAX devices; got {devices!r}. {remedy}.")
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"fanout.{who}: every device takes part once; got {devices!r}. {remedy}.")
    return chosen


def _length(tree, what: str) -> int:
    """The common length of the first axes of all leaves."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    lengths = {np.shape(leaf)[:1] for _, leaf in leaves}
    if len(lengths) != 1 or lengths & {(), (0,)}:
        shapes = ", ".join(f"{jax.tree_util.keystr(path)} {np.shape(leaf)}".strip() for path, leaf in leaves)
        raise ValueError(
            f"{what} are arrays whose first axes have the same length, at least 1; got shapes {shapes or 'of none'}. "
            f"Stack them first, e.g. jax.tree.map(lambda *x: jnp.stack(x), *members)."
        )
    return lengths.pop()[0]


def _place(mesh: Mesh, args: tuple, specs: tuple) -> tuple[tuple, bool]:
    """Bring concrete arguments to the mesh, wherever they lie; under a tracer leave that to the caller's program."""
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(args)):
        return args, False
    return tuple(jax.device_put(arg, NamedSharding(mesh, spec)) for arg, spec in zip(args, specs, strict=True)), True


def _settle(out, mesh: Mesh, eager: bool, always: bool = False):
    """Wait for the result where going on would risk a deadlock of XLA's CPU collectives."""
    if eager and (always or (mesh.size > 1 and mesh.devices.flat[0].platform == "cpu")):
        jax.block_until_ready(out)
    return out
