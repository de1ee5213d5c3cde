"""Categories for objects that nobody has named: by their slots, or by what looks alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from jaxtyping import Float64
from scipy.cluster.vq import ClusterError, kmeans2, vq

from astseg._core.errors import AstSegError, wrong_argument
from astseg._core.sampling import evenly_spaced
from astseg._core.text import folded
from astseg.data.store import MAX_LABELS
from astseg.inference.formats.results import ObjectRecord, Results

DEFAULT_CATEGORY = "object"
MAX_FITTED_OBJECTS = 20_000
"""Clusters are found among this many objects, evenly spaced, so that a long video needs no more memory."""
NUM_STARTS = 20
"""Of k-means, of which the best is taken: a single one often ends in a poor optimum."""

NUM_ROUNDS = 50
"""Of each start."""

RESERVED_NAMES = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³")}
)
"""What no file and no folder can be called on Windows, whatever the case and the suffix."""

CategoryChoice: TypeAlias = int | Mapping[int, str]
"""The number of clusters of `ObjectRecord.appearance`, or names by slot; slots without a name are objects."""


class Categories(Protocol):
    """The categories of the objects of some results."""

    @property
    def names(self) -> tuple[str, ...]:
        """All names; a category is an index of them."""
        ...

    def category_of(self, found: ObjectRecord) -> int:
        """Return the category of an object."""
        ...


@dataclass(frozen=True)
class SlotCategories:
    """Categories by slot."""

    names: tuple[str, ...]
    by_slot: Mapping[int, int]

    def category_of(self, found: ObjectRecord) -> int:
        """Return the category of an object's slot."""
        return self.by_slot[found.found_by]


@dataclass(frozen=True, eq=False)
class AppearanceCategories:
    """Categories of things that look alike."""

    centers: Float64[np.ndarray, "clusters appearance"]

    @property
    def names(self) -> tuple[str, ...]:
        """Return ``kind-1`` for the largest cluster, and so on."""
        return tuple(f"kind-{number}" for number in range(1, len(self.centers) + 1))

    def category_of(self, found: ObjectRecord) -> int:
        """Return the nearest cluster."""
        return int(vq(np.array([found.appearance]), self.centers)[0][0])


def check_categories(choice: CategoryChoice) -> None:
    """Raise if no results can have such categories.

    Raises:
        TypeError: these are neither a number nor names of slots.
        AstSegError: the number is below 1, a name cannot name a folder and a line of a list, or two names are
            one on some disks.
    """
    if not isinstance(choice, int | Mapping) or isinstance(choice, bool):
        raise wrong_argument("categories are a number of kinds, or names by slot, such as {1: 'car'}", choice)
    if isinstance(choice, int):
        if choice < 1:
            raise AstSegError(f"There should be 1 kind of objects or more, not {choice}.")
        return
    for slot, name in choice.items():
        if not isinstance(slot, int) or not isinstance(name, str):
            wrong = name if isinstance(slot, int) else slot
            raise wrong_argument("categories are names by slot, such as {1: 'car'}", wrong)
        if name != name.strip() or not name or not name.isprintable() or {*name} & {*'/\\<>:"|?*'}:
            raise AstSegError(f"'{name}' cannot name a category: take letters, digits, spaces and dashes.")
        if name.endswith(".") or name.partition(".")[0].strip().lower() in RESERVED_NAMES:
            raise AstSegError(f"'{name}' cannot name a category: on Windows, no folder can be called so.")
    spellings: dict[str, str] = {}
    for name in (DEFAULT_CATEGORY, *choice.values()):
        other = spellings.setdefault(folded(name), name)
        if name != other:
            raise AstSegError(f"'{other}' and '{name}' are one name on some disks. Call both categories alike.")


def check_slots(choice: CategoryChoice, num_slots: int | None) -> None:
    """Raise if a slot is named that a model does not have, or any if labels are no slots.

    Raises:
        AstSegError: it is.
    """
    for slot in () if isinstance(choice, int) else choice:
        if num_slots is None:
            raise AstSegError(
                "Objects that were joined from tiles belong to no slot that could be named. Give a number of kinds."
            )
        if not 1 <= slot <= num_slots:
            raise AstSegError(f"There is no slot {slot} to name: the model has slots 1 to {num_slots}.")


def find_categories(choice: CategoryChoice, results: Results) -> Categories:
    """Return the categories of some results; the same choice for the same results gives the same ones.

    Raises:
        AstSegError: a slot is named that the model does not have, or fewer objects than clusters look different.
    """
    check_slots(choice, results.head.slots)
    if isinstance(choice, int):
        return AppearanceCategories(_fit_clusters(choice, results))
    slots = range(1, (results.head.slots or MAX_LABELS) + 1)
    by_slot = {slot: choice.get(slot, DEFAULT_CATEGORY) for slot in slots}
    names = tuple(dict.fromkeys([*choice.values(), *by_slot.values()]))
    return SlotCategories(names, {slot: names.index(name) for slot, name in by_slot.items()})


def _fit_clusters(count: int, results: Results) -> Float64[np.ndarray, "clusters appearance"]:
    """Find clusters of appearances by k-means, the largest first."""
    total = sum(len(record.objects) for record in results.records())
    chosen = set(evenly_spaced(total, MAX_FITTED_OBJECTS).tolist())
    objects = (found for record in results.records() for found in record.objects)
    appearances = [found.appearance for index, found in enumerate(objects) if index in chosen]
    if len(lengths := {len(appearance) for appearance in appearances}) > 1 or 0 in lengths:
        raise AstSegError(f"Objects in {results.folder} have lost their appearance, which likeness needs. Name slots.")
    vectors = np.array(appearances)
    distinct = np.unique(vectors, axis=0)
    if len(distinct) < count:
        raise AstSegError(f"{results.folder} holds {len(distinct)} objects that differ, too few for {count} kinds.")
    best, lowest = distinct[:count], np.inf
    for seed in range(NUM_STARTS):
        random = np.random.default_rng(seed)
        try:
            centers, _ = kmeans2(vectors, count, NUM_ROUNDS, minit="++", missing="raise", rng=random)
        except ClusterError:  # a cluster has lost all its objects
            continue
        error = float((vq(vectors, centers)[1] ** 2).sum())
        if error < lowest:
            best, lowest = centers, error
    sizes = np.bincount(vq(vectors, best)[0], minlength=count)
    ordered: Float64[np.ndarray, "clusters appearance"] = best[np.argsort(-sizes, kind="stable")]
    return ordered
