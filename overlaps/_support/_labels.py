"""Attributes of labelled variables."""


def said(long_name: str, units: str = "1") -> dict[str, str]:
    """What a variable of a Dataset is, and its units."""
    return {"long_name": long_name, "units": units}
