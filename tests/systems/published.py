"""The learning flow of [GB26] overlap by overlap, as derived in the README of this folder."""


def rank_one(s, g):
    """The 10 derivatives from the 10 overlaps `s` and the loss gradient `g` on the visible ones, all by label."""
    return {
        "zm": -g["zm"] * (s["mm"] + s["zz"]) - g["zu"] * s["mu"] - g["vm"] * s["zv"],
        "zu": -g["zu"] * (s["uu"] + s["zz"]) - g["zm"] * s["mu"] - g["vu"] * s["zv"],
        "vm": -g["vm"] * (s["mm"] + s["vv"]) - g["vu"] * s["mu"] - g["zm"] * s["zv"],
        "vu": -g["vu"] * (s["uu"] + s["vv"]) - g["vm"] * s["mu"] - g["zu"] * s["zv"],
        "mu": -g["zm"] * s["zu"] - g["vm"] * s["vu"] - g["zu"] * s["zm"] - g["vu"] * s["vm"],
        "zv": -g["zm"] * s["vm"] - g["zu"] * s["vu"] - g["vm"] * s["zm"] - g["vu"] * s["zu"],
        "mm": -2 * (g["zm"] * s["zm"] + g["vm"] * s["vm"]),
        "uu": -2 * (g["zu"] * s["zu"] + g["vu"] * s["vu"]),
        "vv": -2 * (g["vm"] * s["vm"] + g["vu"] * s["vu"]),
        "zz": -2 * (g["zm"] * s["zm"] + g["zu"] * s["zu"]),
    }


def rank_one_nonlinear(s, g):
    """The 10 derivatives for nonlinear phi from the gradient on the 7 visible overlaps, mm, mu and uu among them."""
    return {
        "zm": -g["zm"] * (s["mm"] + s["zz"])
        - g["zu"] * s["mu"]
        - g["vm"] * s["zv"]
        - 2 * g["mm"] * s["zm"]
        - g["mu"] * s["zu"],
        "zu": -g["zu"] * (s["uu"] + s["zz"])
        - g["zm"] * s["mu"]
        - g["vu"] * s["zv"]
        - 2 * g["uu"] * s["zu"]
        - g["mu"] * s["zm"],
        "vm": -g["vm"] * (s["mm"] + s["vv"])
        - g["vu"] * s["mu"]
        - g["zm"] * s["zv"]
        - 2 * g["mm"] * s["vm"]
        - g["mu"] * s["vu"],
        "vu": -g["vu"] * (s["uu"] + s["vv"])
        - g["vm"] * s["mu"]
        - g["zu"] * s["zv"]
        - 2 * g["uu"] * s["vu"]
        - g["mu"] * s["vm"],
        "mu": -g["zm"] * s["zu"]
        - g["vm"] * s["vu"]
        - g["zu"] * s["zm"]
        - g["vu"] * s["vm"]
        - 2 * (g["mm"] + g["uu"]) * s["mu"]
        - g["mu"] * (s["mm"] + s["uu"]),
        "zv": -g["zm"] * s["vm"] - g["zu"] * s["vu"] - g["vm"] * s["zm"] - g["vu"] * s["zu"],
        "mm": -2 * (g["zm"] * s["zm"] + g["vm"] * s["vm"] + 2 * g["mm"] * s["mm"] + g["mu"] * s["mu"]),
        "uu": -2 * (g["zu"] * s["zu"] + g["vu"] * s["vu"] + 2 * g["uu"] * s["uu"] + g["mu"] * s["mu"]),
        "vv": -2 * (g["vm"] * s["vm"] + g["vu"] * s["vu"]),
        "zz": -2 * (g["zm"] * s["zm"] + g["zu"] * s["zu"]),
    }


def rank_two(s, g):
    """The 21 derivatives at rank 2."""
    return {
        "zm": -g["zm"] * (s["mm"] + s["zz"])
        - g["zu1"] * s["mu1"]
        - g["zu2"] * s["mu2"]
        - g["v1m"] * s["zv1"]
        - g["v2m"] * s["zv2"],
        "zu1": -g["zu1"] * (s["u1u1"] + s["zz"])
        - g["zu2"] * s["u1u2"]
        - g["zm"] * s["mu1"]
        - g["v1u1"] * s["zv1"]
        - g["v2u1"] * s["zv2"],
        "zu2": -g["zu2"] * (s["u2u2"] + s["zz"])
        - g["zu1"] * s["u1u2"]
        - g["zm"] * s["mu2"]
        - g["v1u2"] * s["zv1"]
        - g["v2u2"] * s["zv2"],
        "v1m": -g["v1m"] * (s["mm"] + s["v1v1"])
        - g["v2m"] * s["v1v2"]
        - g["zm"] * s["zv1"]
        - g["v1u1"] * s["mu1"]
        - g["v1u2"] * s["mu2"],
        "v2m": -g["v2m"] * (s["mm"] + s["v2v2"])
        - g["v1m"] * s["v1v2"]
        - g["zm"] * s["zv2"]
        - g["v2u1"] * s["mu1"]
        - g["v2u2"] * s["mu2"],
        "v1u1": -g["v1u1"] * (s["u1u1"] + s["v1v1"])
        - g["zu1"] * s["zv1"]
        - g["v2u1"] * s["v1v2"]
        - g["v1m"] * s["mu1"]
        - g["v1u2"] * s["u1u2"],
        "v1u2": -g["v1u2"] * (s["u2u2"] + s["v1v1"])
        - g["zu2"] * s["zv1"]
        - g["v2u2"] * s["v1v2"]
        - g["v1m"] * s["mu2"]
        - g["v1u1"] * s["u1u2"],
        "v2u1": -g["v2u1"] * (s["u1u1"] + s["v2v2"])
        - g["zu1"] * s["zv2"]
        - g["v1u1"] * s["v1v2"]
        - g["v2m"] * s["mu1"]
        - g["v2u2"] * s["u1u2"],
        "v2u2": -g["v2u2"] * (s["u2u2"] + s["v2v2"])
        - g["zu2"] * s["zv2"]
        - g["v1u2"] * s["v1v2"]
        - g["v2m"] * s["mu2"]
        - g["v2u1"] * s["u1u2"],
        "mu1": -g["zm"] * s["zu1"]
        - g["v1m"] * s["v1u1"]
        - g["v2m"] * s["v2u1"]
        - g["zu1"] * s["zm"]
        - g["v1u1"] * s["v1m"]
        - g["v2u1"] * s["v2m"],
        "mu2": -g["zm"] * s["zu2"]
        - g["v1m"] * s["v1u2"]
        - g["v2m"] * s["v2u2"]
        - g["zu2"] * s["zm"]
        - g["v1u2"] * s["v1m"]
        - g["v2u2"] * s["v2m"],
        "zv1": -g["zm"] * s["v1m"]
        - g["zu1"] * s["v1u1"]
        - g["zu2"] * s["v1u2"]
        - g["v1m"] * s["zm"]
        - g["v1u1"] * s["zu1"]
        - g["v1u2"] * s["zu2"],
        "zv2": -g["zm"] * s["v2m"]
        - g["zu1"] * s["v2u1"]
        - g["zu2"] * s["v2u2"]
        - g["v2m"] * s["zm"]
        - g["v2u1"] * s["zu1"]
        - g["v2u2"] * s["zu2"],
        "mm": -2 * (g["zm"] * s["zm"] + g["v1m"] * s["v1m"] + g["v2m"] * s["v2m"]),
        "u1u1": -2 * (g["zu1"] * s["zu1"] + g["v1u1"] * s["v1u1"] + g["v2u1"] * s["v2u1"]),
        "u1u2": -g["zu1"] * s["zu2"]
        - g["v1u1"] * s["v1u2"]
        - g["v2u1"] * s["v2u2"]
        - g["zu2"] * s["zu1"]
        - g["v1u2"] * s["v1u1"]
        - g["v2u2"] * s["v2u1"],
        "u2u2": -2 * (g["zu2"] * s["zu2"] + g["v1u2"] * s["v1u2"] + g["v2u2"] * s["v2u2"]),
        "v1v1": -2 * (g["v1m"] * s["v1m"] + g["v1u1"] * s["v1u1"] + g["v1u2"] * s["v1u2"]),
        "v1v2": -g["v1m"] * s["v2m"]
        - g["v1u1"] * s["v2u1"]
        - g["v1u2"] * s["v2u2"]
        - g["v2m"] * s["v1m"]
        - g["v2u1"] * s["v1u1"]
        - g["v2u2"] * s["v1u2"],
        "v2v2": -2 * (g["v2m"] * s["v2m"] + g["v2u1"] * s["v2u1"] + g["v2u2"] * s["v2u2"]),
        "zz": -2 * (g["zm"] * s["zm"] + g["zu1"] * s["zu1"] + g["zu2"] * s["zu2"]),
    }
