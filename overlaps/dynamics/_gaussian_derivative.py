"""A Gaussian mean <phi>(mu, Delta) as an operation of JAX that has derivatives of every order.

The slope of <phi> in mu is <phi'>, and its slope in Delta is <phi''> / 2: <phi> solves the heat equation. So the derivatives
in mu of all orders are enough to differentiate it. The operation is a primitive of JAX and not a `jax.custom_jvp`, because
`jax.lax.scan` forgets such a rule in second derivatives (jax.hessian), and then differentiates square roots of Delta = 0.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

Function = Callable[[Any], Any]
Average = Callable[[int, Any, Any], Any]

_primitive = Primitive("gaussian_mean_derivative")


def gaussian_mean(average: Average, mu: Any, variance: Any, order: int = 0) -> Any:
    """<phi>(mu, Delta), or its derivative of an order in mu, for arrays that broadcast.

    `average`: a function of an order n, mu and Delta that computes the n-th derivative of <phi> in mu, for arrays of one shape.
    It can be hashed, and equal functions compute the same.
    """
    dtype = jnp.result_type(mu, variance, 0.0)  # single precision stays single precision
    mu, variance = jnp.broadcast_arrays(jnp.asarray(mu, dtype), jnp.asarray(variance, dtype))
    return _derivative(mu, variance, average=average, order=order)


def _derivative(mu: Any, variance: Any, *, average: Average, order: int) -> Any:
    return _primitive.bind(mu, variance, average=average, order=order)


def _compute(mu: Any, variance: Any, *, average: Average, order: int) -> Any:
    return average(order, mu, variance).astype(mu.dtype)


def _differentiate(primals: Any, tangents: Any, *, average: Average, order: int) -> tuple[Any, Any]:
    derivative = functools.partial(_derivative, *primals, average=average)
    changes = [
        tangent * derivative(order=order + orders) / orders
        for tangent, orders in zip(tangents, (1, 2), strict=True)
        if not isinstance(tangent, ad.Zero)
    ]
    return derivative(order=order), sum(changes[1:], changes[0])


def _batch(arrays: Any, axes: Any, **settings: Any) -> tuple[Any, int]:
    size = next(array.shape[axis] for array, axis in zip(arrays, axes, strict=True) if axis is not None)
    mu, variance = (
        jnp.broadcast_to(array, (size, *array.shape)) if axis is None else jnp.moveaxis(array, axis, 0)
        for array, axis in zip(arrays, axes, strict=True)
    )
    return _derivative(mu, variance, **settings), 0


def slope(function: Function) -> Function:
    """The derivative of a function that acts entry by entry."""
    return lambda x: jax.jvp(function, (x,), (jnp.ones_like(x),))[1]


_primitive.def_impl(jax.jit(_compute, static_argnames=("average", "order")))
_primitive.def_abstract_eval(lambda mu, variance, **settings: mu)
mlir.register_lowering(_primitive, mlir.lower_fun(_compute, multiple_results=False))
ad.primitive_jvps[_primitive] = _differentiate
batching.primitive_batchers[_primitive] = _batch
