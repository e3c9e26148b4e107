"""One look for each published method, in every figure: a colour for what it is about, dashes for its variants.

The colours are Okabe and Ito's (safe for colour-blind eyes) and black; in grey, those that are close differ in dashes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain, cycle, product

INK, GREY = "#262626", "#6e6e6e"
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
BLUE, RED, GREEN, PINK, ORANGE, SKY = PALETTE
DASHES = ("-", (0, (5, 1.2)), (0, (1, 1)), (0, (5, 1.2, 1, 1.2)))  # beyond six methods the colours come again, dashed
SOLID, LONG, DOTS, MIXED = DASHES

#: The method's name on the page of the field -> colour and dashes. Add those that are shown together.
LOOKS = {
    "synchronous SGD": (INK, SOLID),
    "SGD with backup workers": (INK, LONG),
    "K-sync SGD": (INK, LONG),
    "m-synchronous SGD": (INK, DOTS),
    "DiLoCo": (INK, SOLID),
    "FedAvg": (INK, MIXED),
    "asynchronous SGD": (BLUE, SOLID),
    "pure asynchronous SGD": (BLUE, SOLID),
    "PipeDream": (BLUE, SOLID),
    "Naive Optimal ASGD": (BLUE, LONG),
    "asynchronous SGD with momentum": (BLUE, DOTS),
    "NAG-ASGD": (BLUE, LONG),
    "Ringmaster ASGD": (RED, SOLID),
    "random asynchronous SGD": (RED, DOTS),
    "pipelined backpropagation with spike compensation and linear weight prediction": (RED, SOLID),
    "DANA-Zero": (RED, LONG),
    "DANA-DC": (RED, SOLID),
    "asynchronous DiLoCo": (RED, SOLID),
    "Rennala SGD": (GREEN, SOLID),
    "Malenia SGD": (GREEN, LONG),
    "shuffled asynchronous SGD": (GREEN, LONG),
    "K-async SGD": (GREEN, DOTS),
    "DC-ASGD-c": (GREEN, SOLID),
    "DC-ASGD-a": (GREEN, LONG),
    "n-softsync SGD": (PINK, SOLID),
    "asynchronous SGD, polynomial step": (PINK, LONG),
    "Ringleader ASGD": (PINK, SOLID),
    "asynchronous SGD, Adaptive 1": (PINK, SOLID),
    "Gap-Aware ASGD": (PINK, MIXED),
    "asynchronous Nesterov": (PINK, MIXED),
    "delay-adaptive ASGD": (ORANGE, LONG),
    "asynchronous SGD, Adaptive 2": (ORANGE, LONG),
    "Rescaled ASGD": (ORANGE, MIXED),
    "Multi-ASGD": (ORANGE, DOTS),
    "IA2SGD": (SKY, MIXED),
    "ACE": (SKY, DOTS),
    "FedBuff": (SKY, LONG),
    "FedAsync": (SKY, SOLID),
    # variants of one method, and optimizers, by the label they have in figures
    "no delays": (INK, SOLID),
    "spike compensation": (ORANGE, LONG),
    "weight prediction": (GREEN, DOTS),
    "both": (RED, SOLID),
    "asynchronous, outer SGD": (BLUE, SOLID),
    "asynchronous, Nesterov": (PINK, MIXED),
    "delayed Nesterov": (GREEN, LONG),
    "delayed Nesterov, DyLU": (RED, SOLID),
    "SGD": (BLUE, SOLID),
    "SGD, momentum 0.9": (BLUE, DOTS),
    "Adam": (GREEN, LONG),
    "AdamW": (GREEN, SOLID),
    "Muon": (RED, SOLID),
}


def looks(labels: Iterable[str], names: Mapping[str, str] | None = None) -> dict[str, dict]:
    """Colour and dashes of every line of a figure: `{label: {"color": ..., "linestyle": ...}}`.

    A label (or the published name that `names` gives for it) that has a look of its own gets it; a second label of the
    same method gets its colour with other dashes; all others get what is left, in the order of the palette.

    Args:
        labels: what the legend will say.
        names: label -> the method's name on the page of the field, where the label is another.

    Example:
        >>> found = looks(["mine", "asynchronous SGD"])
        >>> found["asynchronous SGD"]["color"], found["mine"]["color"]
        ('#0072b2', '#d55e00')
    """
    labels, names = list(labels), names or {}
    wanted = {label: LOOKS.get(label) or LOOKS.get(names.get(label, label)) for label in labels}
    taken, found = set(), {}
    for label, look in wanted.items():
        if look is None:
            continue
        color, first = look
        tries = [first, *(dash for dash in DASHES if dash != first)]
        found[label] = next(((color, dash) for dash in tries if (color, dash) not in taken), look)
        taken.add(found[label])
    every = [(color, dash) for dash, color in product(DASHES, PALETTE)]
    rest = chain((look for look in every if look not in taken), cycle(every))
    chosen = {label: found[label] if label in found else next(rest) for label in labels}
    return {label: {"color": color, "linestyle": dash} for label, (color, dash) in chosen.items()}
