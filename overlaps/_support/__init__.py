"""Helpers that every room (subpackage) of the library uses, and that contain no science.

They check arguments, keep computations in double precision, name array types, label variables and give warnings. This room
imports nothing from the rest of the library. It may not know any concept of the science, for example what an overlap is.
"""

from overlaps._support._checks import (
    argument_error as argument_error,
    as_float as as_float,
    choice as choice,
    count as count,
    flag as flag,
    is_inside_trace as is_inside_trace,
    is_traced as is_traced,
    number as number,
    numpy_for as numpy_for,
    parameter as parameter,
    real_array as real_array,
)
from overlaps._support._labels import said as said
from overlaps._support._precision import (
    in_float64 as in_float64,
    random_key as random_key,
    require_x64 as require_x64,
)
from overlaps._support._typing import AnyArray as AnyArray
from overlaps._support._warnings import warn as warn
