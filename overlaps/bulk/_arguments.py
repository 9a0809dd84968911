"""Checks of the arguments that the functions of this room share."""

from typing import Any

from overlaps._support import argument_error, is_traced, number
from overlaps.connectivity import Overlaps, RandomBulk
from overlaps.dynamics import RNN


def checked(net: Any, radius: Any, rnn: Any) -> float:
    """The radius g of the bulk as a number. Raises ValueError unless the theory covers these arguments."""
    if not isinstance(net, Overlaps):
        mend = "Pass the Overlaps from which the network was drawn: the theory is for vectors that are independent of the bulk."
        raise argument_error("net", "be an Overlaps", f"{type(net).__name__} came", mend)
    if is_traced(net, radius):
        raise argument_error("net", "hold known numbers", "JAX traces an argument", "Call it outside jit, vmap and grad.")
    if net.batch:
        raise argument_error("net", "be a single network", f"a batch of shape {net.batch} came")
    if not isinstance(rnn, RNN):
        raise argument_error("rnn", "be an overlaps.RNN", f"{type(rnn).__name__} came")
    if not isinstance(radius, RandomBulk):
        return number("radius", radius, least=0.0)
    if radius.correlation:
        came = f"J_ij and J_ji have the correlation {radius.correlation:g}"
        mend = "With it, neurons feel their own past through J. This theory has no such term: simulate a Network(bulk=...)."
        raise argument_error("radius", "describe a bulk of independent entries", came, mend)
    return number("radius", radius.radius, least=0.0)
