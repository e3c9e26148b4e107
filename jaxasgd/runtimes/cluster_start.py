"""Ray itself: one of our own on this machine, that nobody else can reach, or a cluster that is there; and its end."""

from __future__ import annotations

import logging
import math
import os
import secrets
import shutil
import tempfile
import warnings
from contextlib import contextmanager

from ..checks import real, shown

INLINE = 4_000_000  # bytes up to which Ray of our own sends arguments and results along with calls
PATIENCE = 10.0  # seconds that processes get to end by themselves
LONGEST = 30  # letters of a temporary folder that Ray's sockets can be in
NEEDED = 'ja.runtimes.ray needs Ray: pip install "jaxasgd[ray]".'
TOKEN = secrets.token_hex(32)  # without it nobody connects to a Ray of ours
VARIABLES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # no cluster: Ray keeps to loopback
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": TOKEN,
}


def load():
    """The package, or an error that says how to get it."""
    try:
        import ray
    except ImportError as error:
        raise ImportError(NEEDED) from error
    return ray


@contextmanager
def connected(address, demand):
    """Be connected to Ray: yields the package.

    Args:
        address: None: the connection that this process has; if there is none, a Ray of our own, which is gone at the
            end with all its processes and files. "auto" or "host:port": a cluster that is there, and stays.
        demand: resources of all actors together, by name.
    """
    ray = load()
    if address is not None and not isinstance(address, str):
        raise ValueError(
            f'address is None (a Ray of our own), "auto", or "host:port" of a cluster; got {shown(address)}.'
        )
    if ray.is_initialized():
        check_demand(ray, demand)
        yield ray
    elif address is None:
        with own(demand) as ray:
            check_demand(ray, demand)
            yield ray
    else:
        quietly(ray, address=address)
        try:
            check_demand(ray, demand)
            yield ray
        finally:
            ray.shutdown()


@contextmanager
def own(demand):
    """A Ray on this machine: nothing listens to other machines, nothing is written but into a temporary folder."""
    ray = load()
    from ray._private import ray_constants

    folder = tempfile.gettempdir()
    folder = tempfile.mkdtemp(prefix="ja-", dir=folder if len(folder) <= LONGEST else "/tmp")
    before = {name: os.environ.get(name) for name in VARIABLES}
    cluster = ray_constants.ENABLE_RAY_CLUSTER
    os.environ.update(VARIABLES)
    look_again()
    ray_constants.ENABLE_RAY_CLUSTER = False  # read when Ray was imported
    mine = children()
    try:
        others = {name: value for name, value in demand.items() if name not in ("num_cpus", "num_gpus", "memory")}
        quietly(
            ray, address="local", num_cpus=math.ceil(demand.get("num_cpus", 0)) + 1, resources=others or None,
            include_dashboard=False, _node_ip_address="127.0.0.1", _temp_dir=folder,
            _system_config={"max_direct_call_object_size": INLINE},
        )  # fmt: skip
        yield ray
    finally:
        started = [process for process in children() if process not in mine]
        with quiet():
            ray.shutdown()
        end(started)
        ray_constants.ENABLE_RAY_CLUSTER = cluster
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        look_again()
        shutil.rmtree(folder, ignore_errors=True)


def look_again():
    """Ray reads the variables about authentication once; where it knows of that at all."""
    try:
        from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]  # Cython
    except ImportError:
        return
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


@contextmanager
def quiet():
    """Without JAX's warning of any fork (Ray's are followed by exec), and Ray's of unclosed pipes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def quietly(ray, **arguments):
    with quiet():
        ray.init(log_to_driver=False, logging_level=logging.ERROR, configure_logging=True, **arguments)


def children() -> list:
    """Processes that descend from this one."""
    import psutil  # comes with Ray

    return psutil.Process().children(recursive=True)


def end(processes):
    """Let processes end; those that don't are killed."""
    import psutil

    _, left = psutil.wait_procs(processes, timeout=PATIENCE)
    for process in left:
        process.kill()
    psutil.wait_procs(left, timeout=PATIENCE)


# ------------------------------------------------------------------------- resources


def options_of(name, given, default) -> dict:
    """Resources of an actor, as `ray.remote` takes them: checked."""
    if given is None:
        return dict(default)
    fits = isinstance(given, dict) and all(isinstance(key, str) for key in given)
    if not fits:
        raise ValueError(
            f'{name} is a dict of resources, {{"num_cpus": 1, "num_gpus": 0.5, "mine": 1}}; got {shown(given)}.'
        )
    return default | {key: real(f"{name}[{key!r}]", value, 0) for key, value in given.items()}


def remote_options(resources) -> dict:
    """The same as keyword arguments of `options`."""
    known = {name: value for name, value in resources.items() if name in ("num_cpus", "num_gpus", "memory")}
    others = {name: value for name, value in resources.items() if name not in known}
    return known | ({"resources": others} if others else {})


def strategy_of(placement):
    """A scheduling strategy, from one, its name, or the name of a placement group; called with Ray connected."""
    if placement is None or placement in ("DEFAULT", "SPREAD"):
        return placement or "DEFAULT"
    if not isinstance(placement, str):
        return placement
    import ray
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    try:
        return PlacementGroupSchedulingStrategy(ray.util.get_placement_group(placement))
    except ValueError as error:
        raise ValueError(
            'placement is "SPREAD", a strategy of ray.util.scheduling_strategies, or the name of a placement group '
            f"that is there; got {placement!r}."
        ) from error


def check_demand(ray, demand):
    """Whether the cluster is large enough; otherwise actors would be waited for without end."""
    names = {"num_cpus": "CPU", "num_gpus": "GPU"}
    there = ray.cluster_resources()
    for name, wanted in demand.items():
        has = there.get(names.get(name, name), 0.0)
        if wanted > has + 1e-9:
            raise ValueError(
                f"the run asks for {wanted:g} {names.get(name, name)} in all, and this Ray has {has:g}: give fewer "
                f'workers, or a smaller share each, resources={{"{name}": ...}}.'
            )
