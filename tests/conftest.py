import gc
import importlib.metadata
import os

# Nearly all of the time of these tests goes into compiling small programs that run for milliseconds: let XLA optimise less.
# Before JAX is imported, and in the environment, so that programs that tests start inherit it.
os.environ["XLA_FLAGS"] = " ".join(
    [
        *os.environ.get("XLA_FLAGS", "").split(),
        "--xla_backend_optimization_level=0",
        "--xla_llvm_disable_expensive_passes=true",
        # Later versions of XLA end the program at this flag.
        *(["--xla_cpu_use_fusion_emitters=false"] if importlib.metadata.version("jax") < "0.11" else []),
        "--xla_cpu_parallel_codegen_split_count=1",  # a program in one piece: the cores are busy with other tests
    ]
)

import jax
import matplotlib as mpl
import pytest

gc.disable()  # until all is imported: see pytest_collection_finish
mpl.use("Agg")
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")


SLOW_DOCTESTS = ("overlaps.inference._fit.fit", "overlaps.learning._trajectory.trajectory")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if item.name in SLOW_DOCTESTS:
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish():
    """Collect garbage seldom, and never look through what imports have made: it took a tenth of the time of all tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    gc.enable()


@pytest.fixture(scope="module", autouse=True)
def _no_programs_left():
    """Drop the compiled programs of a module: each holds memory maps, of which a process may have 65530."""
    yield
    jax.clear_caches()
    gc.collect()
