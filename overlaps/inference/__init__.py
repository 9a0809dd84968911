"""Inference: what observed learning tells about overlaps, and which experiment tells the most.

An experiment is a protocol (one phase of learning or several), what is observed meanwhile, and the noise of the observation.

- `observations`: what an experiment would see, with its noise.
- `discriminate`: how well an experiment tells histories apart, and how many repetitions it takes.
- `design`, `best_protocol`: the protocol that tells them apart best.
- `identifiability`: which overlaps an experiment reveals, how precisely, and which networks it cannot tell apart.
- `path_noise`: how curves scatter under label noise whose samples are not known.
- `fit`: overlaps from observed curves. `choose_rank`: their rank. `posterior`: the whole distribution (extra `inference`).

This room computes with `trajectory`, which JAX can differentiate. It may not know the studies and the figures, and it may not
know how `trajectory` carries out a rule.
"""

from overlaps.inference._choose_rank import choose_rank as choose_rank
from overlaps.inference._correlated import Correlated as Correlated
from overlaps.inference._design import (
    best_protocol as best_protocol,
    design as design,
)
from overlaps.inference._discriminate import discriminate as discriminate
from overlaps.inference._fit import fit as fit
from overlaps.inference._fit_dataset import fit_arguments as fit_arguments
from overlaps.inference._identifiability import identifiability as identifiability
from overlaps.inference._noise import (
    Counts as Counts,
    Gaussian as Gaussian,
    error_probability as error_probability,
)
from overlaps.inference._observations import observations as observations
from overlaps.inference._path_noise import path_noise as path_noise
from overlaps.inference._posterior import posterior as posterior
