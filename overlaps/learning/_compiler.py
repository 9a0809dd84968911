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
    """The function as a compiled program, with these options on CPUs in JAX 0.10.

    Later versions of XLA gain nothing from the options, and that of JAX 0.12.0.1 cannot compile programs whose barriers stay.
    """
    if jax.default_backend() != "cpu" or jax.__version_info__ >= (0, 11):
        return eqx.filter_jit(function)
    keywords: Any = {"compiler_options": options}
    return eqx.filter_jit(function, **keywords)
