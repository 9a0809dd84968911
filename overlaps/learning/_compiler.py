"""Options of the compiler XLA for the programs of this room."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax

# Barriers between products of small matrices stay. XLA would remove them, and then compute again, for each entry of a product,
# the entries of its factors.
BARRIERS_STAY = {"xla_disable_hlo_passes": "cse_barrier_expander"}
# XLA's newer way to generate code takes longer for programs that call a solver, and they run no faster for it.
NO_FUSION_EMITTERS = {"xla_cpu_use_fusion_emitters": False}


def compiled(function: Callable, options: Any) -> Callable:
    """The function as a compiled program, on CPUs with these options, if this version of XLA knows them."""
    if jax.default_backend() != "cpu":
        return eqx.filter_jit(function)
    try:
        jax.jit(lambda: 0.0, compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError:
        return eqx.filter_jit(function)
    keywords: Any = {"compiler_options": options}
    return eqx.filter_jit(function, **keywords)
