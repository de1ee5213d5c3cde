"""The data sets by name: the one table from which presets, imports, downloads, scenes, ablations and reports are made.

A set has one name; earlier spellings of it are aliases, which are understood wherever a name is. The generated images
that resemble a set, its look-alike, have a name of their own, because an image's random numbers hang on it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from astseg._core.errors import AstSegError, unknown_name

GENERATOR = "astseg scenes"
"""What a store of generated images names as its source."""


@dataclass(frozen=True)
class DatasetSpec:
    """A data set, and what the paper sets differently for it (section 5.1, Table 6)."""

    name: str
    """The name in commands, presets, stores and published rows."""
    title: str
    """As the paper's tables head it."""
    image_size: int
    """Height and width of a prepared image in pixels."""
    num_slots: int
    """K, the largest number of objects."""
    anisotropic: bool
    """Whether width and height of an object scale apart."""
    trained_on: str
    """The data set whose models the paper scores on this one: itself (Tables 1, 2 and 4), or another that this one is
    only evaluated with (Table 3); empty for what is in no table."""
    look_alike: str
    """The generated set that resembles it; empty if there is none."""
    aliases: tuple[str, ...] = ()
    """Other names of it, or of a form of its files."""
    fixed_background: bool = False
    """Whether all images show one background, which takes the simple channels and few steps."""

    @property
    def only_evaluated(self) -> bool:
        """Whether the paper trains no models on it and scores those of another set."""
        return self.trained_on not in ("", self.name)


_CLEVRTEX = DatasetSpec("clevrtex", "CLEVRTEX", 128, 10, True, "clevrtex", "clevrtex", ("clevrtex-full",))
_UNSEEN = replace(_CLEVRTEX, name="clevrtex-ood", title="OOD", look_alike="ood", aliases=("clevrtex-outd", "ood"))
_CAMOUFLAGED = replace(_CLEVRTEX, name="clevrtex-camo", title="CAMO", look_alike="camo", aliases=("camo",))
_IN_NO_TABLE = replace(_CLEVRTEX, trained_on="", look_alike="", aliases=())

DATASETS: Mapping[str, DatasetSpec] = MappingProxyType(
    {
        spec.name: spec
        for spec in (
            # The name, title, image size, K, whether anisotropic, whose models, look-alike, aliases.
            _CLEVRTEX,
            DatasetSpec("clevr", "CLEVR", 128, 10, False, "clevr", "clevr", ("clevr-png",), fixed_background=True),
            _UNSEEN,
            _CAMOUFLAGED,
            DatasetSpec("shapestacks", "ShapeStacks", 64, 6, False, "shapestacks", "towers"),
            DatasetSpec("objectsroom", "ObjectsRoom", 64, 3, True, "objectsroom", "rooms", ("objects-room",)),
            replace(_IN_NO_TABLE, name="clevrtex-pbg", title="CLEVRTEX-PBG"),
            replace(_IN_NO_TABLE, name="clevrtex-vbg", title="CLEVRTEX-VBG"),
            replace(_IN_NO_TABLE, name="clevrtex-grassbg", title="CLEVRTEX-GRASSBG"),
        )
    }
)

TRAINING_SETS: Mapping[str, DatasetSpec] = MappingProxyType(
    {name: spec for name, spec in DATASETS.items() if spec.trained_on == name}
)
"""The data sets that the paper trains models on, each with all rows of its tables."""

SPELLINGS: Mapping[str, DatasetSpec] = MappingProxyType(
    {name: spec for spec in DATASETS.values() for name in (spec.name, *spec.aliases)}
)
"""The data sets by every name that means them: look-alikes' names are none, unless they are spelled alike."""


def find_dataset(name: str) -> DatasetSpec:
    """Return the data set of a name or an alias.

    Raises:
        AstSegError: there is none; the message says what is nearest, or which set a look-alike resembles.
    """
    if name in SPELLINGS:
        return SPELLINGS[name]
    for spec in DATASETS.values():
        if name == spec.look_alike:
            raise AstSegError(f"'{name}' is the generated look-alike of {spec.title}; the data set is '{spec.name}'.")
    raise unknown_name("data set", name, DATASETS)


def evaluated_with(dataset: str) -> list[DatasetSpec]:
    """Return the data sets that are only evaluated, with models of this one."""
    return [spec for spec in DATASETS.values() if spec.only_evaluated and spec.trained_on == dataset]
