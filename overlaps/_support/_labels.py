"""Attributes of the labelled variables in xarray Datasets."""


def said(long_name: str, units: str = "1") -> dict[str, str]:
    """The attributes of a variable of a Dataset: what the variable is, in words, and its units."""
    return {"long_name": long_name, "units": units}
