"""Run a study again from the description of its arguments in its Dataset."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from overlaps import learning
from overlaps._support import argument_error
from overlaps.bulk import explained, speed
from overlaps.inference import discriminate, fit, fit_arguments, identifiability
from overlaps.integration import compare_regimes
from overlaps.learning import restore
from overlaps.studies._degeneracy import degeneracy
from overlaps.studies._memory import memory
from overlaps.studies._memory_table import memory_table
from overlaps.studies._perturbation_assay import perturbation_assay
from overlaps.studies._savings import savings
from overlaps.studies._transfer import transfer
from overlaps.studies._validate import validate

# These studies write their arguments into one attribute, which has the name of the study.
STUDIES: dict[str, Callable[..., xr.Dataset]] = {
    "degeneracy": degeneracy,
    "memory": memory,
    "memory_table": memory_table,
    "savings": savings,
    "transfer": transfer,
    "compare_regimes": compare_regimes,
    "bulk_speed": speed,
    "bulk_explained": explained,
    "discriminate": discriminate,
    "perturbation_assay": perturbation_assay,
    "identifiability": identifiability,
}
SILENT = ("identifiability", "bulk_explained")  # they show no progress
VALIDATE = ("task", "rnn", "rule", "sizes", "seeds", "key", "exact", "saves")  # arguments that are attributes of the same name


def rerun(dataset: xr.Dataset, progress: bool = False) -> xr.Dataset:
    """Run again what a Dataset describes, and return the new Dataset.

    `dataset`: a result of `learn`, of `validate`, of `studies.degeneracy`, `memory`, `memory_table`, `savings`, `transfer` or
    `perturbation_assay`, of `integration.compare_regimes`, of `bulk.speed` or `explained`, or of `inference.identifiability`,
    `discriminate` or `fit`. It may come from a netCDF file. The new run has all the arguments of the first one, and gives the
    same numbers on the same machine. `progress`: whether to show a bar.

    If `learn` trained a batch, the networks that are in the Dataset run again: rerun(dataset.isel(batch=0)) repeats the first
    network. A study always runs again as a whole.

    Raises ValueError for a Dataset that comes from none of these functions, and for a Dataset whose arguments held something
    that cannot be written down, such as a lambda.
    """
    attributes = dataset.attrs
    if "validated" in attributes:
        missing = [name for name in (*VALIDATE, "nodes_asked") if name not in attributes]
        if missing:
            came = f"its attributes lack {', '.join(missing)}, as those of an older version do"
            raise argument_error("dataset", "describe all arguments of `validate`", came, "Call `validate` with its arguments.")
        arguments = {name: json.loads(attributes[name]) for name in VALIDATE}
        arguments |= {"net": json.loads(attributes["validated"]), "nodes": json.loads(attributes["nodes_asked"])}
        return validate(**_restored(arguments), tolerance=attributes["tolerance"], progress=progress)
    for name, study in STUDIES.items():
        if name in attributes:
            shown = {} if name in SILENT else {"progress": progress}
            return study(**_restored(json.loads(attributes[name])), **shown)
    if "fit" in attributes:
        return fit(**fit_arguments(dataset))
    if "endings" not in attributes:
        known = ", ".join(f"`{name}`" for name in ("learn", "validate", "fit", *STUDIES))
        raise argument_error("dataset", f"be a result of one of {known}", f"its attributes are {sorted(attributes)}")
    return learning.rerun(dataset, progress)


def _restored(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a study from their description."""
    arguments = {name: restore(value) for name, value in arguments.items() if name != "version"}
    if isinstance(arguments.get("key"), list):
        arguments["key"] = np.asarray(arguments["key"], np.uint32)
    return arguments
