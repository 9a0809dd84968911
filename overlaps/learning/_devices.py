"""How a batch of networks is laid over the devices of the process."""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, PartitionSpec

LANES = 256  # networks that are computed side by side: their numbers fit into the fastest memory of a core


def side_by_side(function: Callable, shared: Any, *own: Any) -> Any:
    """function(shared, *own) for each network of a batch, mapped over the leading axes of the arrays in `own`.

    The batch is laid over the devices of the process along its axis. Each device computes its networks in equal groups, one
    group after the other. Copies of the first networks fill the last groups up.
    """
    devices = jax.local_devices()
    networks = jax.tree.leaves(own)[0].shape[0]
    groups = math.ceil(networks / (len(devices) * LANES))
    lanes = math.ceil(networks / (len(devices) * groups))

    def part(shared: Any, own: Any) -> Any:
        return jax.lax.map(lambda one: function(shared, *one), own, batch_size=lanes)

    if len(devices) > 1:
        mesh = jax.make_mesh((len(devices),), ("batch",), axis_types=(AxisType.Auto,), devices=devices)
        along = PartitionSpec("batch")
        part = jax.shard_map(part, mesh=mesh, in_specs=(PartitionSpec(), along), out_specs=along, check_vma=False)
    filled = np.arange(len(devices) * groups * lanes) % networks
    results = part(shared, jax.tree.map(lambda values: values[filled], own))
    return jax.tree.map(lambda values: values[:networks], results)
