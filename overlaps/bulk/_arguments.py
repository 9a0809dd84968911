"""Checks of the arguments that the functions of this room share."""

from typing import Any

from overlaps._support import argument_error, is_traced, number
from overlaps.connectivity import Overlaps
from overlaps.dynamics import RNN


def checked(net: Any, radius: Any, rnn: Any) -> float:
    """The radius g of the bulk as a number. Raises ValueError unless the theory covers these arguments."""
    if not isinstance(net, Overlaps):
        mend = "Pass network.overlaps(), which stands for Gaussian vectors that are independent of the bulk."
        raise argument_error("net", "be an Overlaps", f"{type(net).__name__} came", mend)
    if is_traced(net, radius):
        raise argument_error("net", "hold known numbers", "JAX traces an argument", "Call it outside jit, vmap and grad.")
    if net.batch:
        raise argument_error("net", "be a single network", f"a batch of shape {net.batch} came")
    if not isinstance(rnn, RNN):
        raise argument_error("rnn", "be an overlaps.RNN", f"{type(rnn).__name__} came")
    if getattr(radius, "correlation", 0.0):
        came = f"J_ij and J_ji have the correlation {radius.correlation:g}"
        mend = "A correlation brings in how neurons respond to a push, which this theory has not. Simulate a network."
        raise argument_error("radius", "describe a bulk of independent entries", came, mend)
    return number("radius", getattr(radius, "radius", radius), least=0.0)
