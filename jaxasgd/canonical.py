"""Functions by what they compute: two rules that trace to the same program are the same to the compiler.

`optax.sgd(1e-3)` is a new object each time it is written, and `jit` caches by object. Here a function is traced, its
arrays and its floating-point constants become arguments, and what is left compares by its text: a freshly built rule,
or one with another learning rate, runs the program that is already compiled.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

SEALED = "sample_gradient"  # an inner program of this name keeps its constants


class Traced:
    """A traced function, hashable by what it computes; `traced(consts, *args)` runs it."""

    def __init__(self, jaxpr, in_tree, out_tree, text):
        self.jaxpr, self.in_tree, self.out_tree = jaxpr, in_tree, out_tree
        self.text = text

    def __hash__(self):
        return hash(self.text)

    def __eq__(self, other):
        return isinstance(other, Traced) and self.text == other.text

    def __call__(self, consts, *args):
        leaves, tree = jax.tree.flatten(args)
        if tree != self.in_tree:
            raise ValueError(f"a traced function was called with {tree}; it was traced with {self.in_tree}.")
        out = core.jaxpr_as_fun(core.ClosedJaxpr(self.jaxpr, ()))(*consts, *leaves)
        return jax.tree.unflatten(self.out_tree, out)


def trace(function, *args):
    """Trace `function` at arguments (arrays or their shapes): `(Traced, consts, shapes of the result)`."""
    closed, shape = jax.make_jaxpr(function, return_shape=True)(*args)
    jaxpr, consts = hoist(closed)
    in_tree, out_tree = jax.tree.structure(args), jax.tree.structure(shape)
    text = "\n".join([str(jaxpr), *inner_constants(jaxpr), str(in_tree), str(out_tree)])
    return Traced(jaxpr, in_tree, out_tree, text), consts, shape


def hoist(closed):
    """Turn constants into arguments: arrays, and the floating-point scalars written into the program.

    Returns a program whose first arguments are those, in the order they appear, and their values.
    """
    numbers = dict(literals(closed.jaxpr, ()))
    values = [jnp.asarray(literal.val, literal.aval.dtype) for literal in numbers.values()]

    def again(values, consts, *args):
        return evaluate(closed.jaxpr, consts, args, dict(zip(numbers, values, strict=True)), ())

    avals = lambda variables: [variable.aval for variable in variables]
    once = jax.make_jaxpr(again)(
        avals(numbers.values()), avals(closed.jaxpr.constvars), *avals(closed.jaxpr.invars)
    )  # fmt: skip
    jaxpr = once.jaxpr.replace(
        invars=[*once.jaxpr.constvars, *once.jaxpr.invars], constvars=[], debug_info=once.jaxpr.debug_info
    )
    return jaxpr, [*once.consts, *values, *closed.consts]


def is_number(operand) -> bool:
    """Whether an operand is a floating-point scalar written into the program."""
    if not isinstance(operand, core.Literal):
        return False
    aval: Any = operand.aval  # of a shape
    return aval.shape == () and jnp.issubdtype(aval.dtype, jnp.floating)


def inner(equation):
    """The programs within an equation that `evaluate` goes into, by name."""
    kind, params = equation.primitive.name, equation.params
    if kind in ("jit", "pjit") and params["name"] != SEALED:
        return {"jaxpr": params["jaxpr"]}
    if kind == "while":
        return {"cond": params["cond_jaxpr"], "body": params["body_jaxpr"]}
    if kind == "scan" and scan_counts(params):
        return {"body": params["jaxpr"]}
    if kind == "cond":
        return dict(enumerate(params["branches"]))
    return {}


def scan_counts(params):
    """How many operands of a scan are constants, and how many are carried; None if this JAX does not tell."""
    if "num_consts" in params:
        return params["num_consts"], params["num_carry"]
    try:
        consts, carry, _ = params["ft_in"].unpack()
        return len(list(consts)), len(list(carry))
    except (AttributeError, KeyError, TypeError, ValueError):
        return None  # its numbers stay where they are: correct, but another number compiles again


def literals(jaxpr, path):
    """All numbers in a program and in those within it: (where, literal)."""
    for i, equation in enumerate(jaxpr.eqns):
        yield from (((*path, i, j), operand) for j, operand in enumerate(equation.invars) if is_number(operand))
        for name, program in inner(equation).items():
            yield from literals(program.jaxpr, (*path, i, name))
    yield from (((*path, j), operand) for j, operand in enumerate(jaxpr.outvars) if is_number(operand))


def evaluate(jaxpr, consts, args, numbers, path):
    """Run a program, equation by equation, with other numbers in the place of those written into it."""
    known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))
    value = lambda v, *where: numbers.get((*path, *where), v.val) if isinstance(v, core.Literal) else known[v]
    for i, equation in enumerate(jaxpr.eqns):
        operands = [value(operand, i, j) for j, operand in enumerate(equation.invars)]
        parts = {
            name: lambda *args, name=name, part=part: evaluate(part.jaxpr, part.consts, args, numbers, (*path, i, name))
            for name, part in inner(equation).items()
        }
        out = again(equation, parts, operands)
        known.update(zip(equation.outvars, out, strict=True))
    return [value(out, j) for j, out in enumerate(jaxpr.outvars)]


def again(equation, parts, operands):
    """One equation, its inner programs replaced by functions."""
    params = equation.params
    if not parts:
        out = equation.primitive.bind(*operands, **equation.primitive.get_bind_params(params))
        return out if equation.primitive.multiple_results else [out]
    if "jaxpr" in parts:
        return parts["jaxpr"](*operands)
    if "cond" in parts:
        first, second = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]
        test = lambda carry: parts["cond"](*operands[:first], *carry)[0]
        body = lambda carry: parts["body"](*operands[first:second], *carry)
        return jax.lax.while_loop(test, body, operands[second:])
    if "body" in parts:
        first, carried = scan_counts(params)
        second = first + carried

        def step(carry, x):
            out = parts["body"](*operands[:first], *carry, *x)
            return out[:carried], out[carried:]

        options = {name: params[name] for name in ("length", "reverse", "unroll")}
        carry, ys = jax.lax.scan(step, operands[first:second], operands[second:], **options)
        return [*carry, *ys]
    return jax.lax.switch(operands[0], [parts[b] for b in range(len(parts))], *operands[1:])


def inner_constants(jaxpr):
    """What a program's text does not show: arrays that inner programs close over, functions of the host."""
    for equation in jaxpr.eqns:
        if "callback" in equation.primitive.name:  # a function of the host: the same only if it is the same object
            yield " ".join(str(id(value)) for value in equation.params.values() if callable(value))
        for value in jax.tree.leaves(equation.params, is_leaf=lambda v: isinstance(v, (core.ClosedJaxpr, core.Jaxpr))):
            if isinstance(value, core.ClosedJaxpr):
                yield from (f"{c.dtype}{c.shape}{jnp.asarray(c).tobytes().hex()}" for c in value.consts)
                yield from inner_constants(value.jaxpr)
            elif isinstance(value, core.Jaxpr):
                yield from inner_constants(value)
