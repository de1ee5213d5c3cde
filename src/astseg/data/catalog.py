"""The table of data sets, on which presets, imports, downloads, scenes, ablations and reports are based.

A data set has one name, and aliases that are accepted wherever the name is. The generated images that resemble it, its
look-alike, have their own name, because it seeds the random numbers of each image.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from astseg._core.errors import AstSegError, unknown_name

GENERATOR = "astseg scenes"
"""The source that a store of generated images names."""


@dataclass(frozen=True)
class DatasetSpec:
    """A data set, and what the paper sets differently for it (section 5.1, Table 6)."""

    name: str
    """The name in commands, presets, stores and published rows."""
    title: str
    """The heading in the paper's tables."""
    image_size: int
    """Height and width of a prepared image in pixels."""
    num_slots: int
    """K, the largest number of objects."""
    anisotropic: bool
    """Whether objects scale separately in width and height."""
    trained_on: str
    """The data set whose models the paper scores on this one: itself (Tables 1, 2 and 4) or, where this one is only
    used for evaluation (Table 3), another; empty if no table has it."""
    look_alike: str
    """The generated set that resembles it; empty if there is none."""
    aliases: tuple[str, ...] = ()
    """Other names of the set, or of a variant of its files."""
    fixed_background: bool = False
    """Whether all images show the same background, for which the simple channels and few steps suffice."""
    natural_look_alike: str = ""
    """A generated set in materials like photographs, nearer to it than `look_alike` is; empty if there is none."""

    @property
    def look_alikes(self) -> tuple[str, ...]:
        """The generated sets that resemble it; its own name stands for the first."""
        return tuple(name for name in (self.look_alike, self.natural_look_alike) if name)

    @property
    def only_evaluated(self) -> bool:
        """Whether the paper only scores the models of another set on it."""
        return self.trained_on not in ("", self.name)


_CLEVRTEX = DatasetSpec("clevrtex", "CLEVRTEX", 128, 10, True, "clevrtex", "clevrtex", ("clevrtex-full",))
_CLEVRTEX = replace(_CLEVRTEX, natural_look_alike="clevrtex-2")
_UNSEEN = replace(_CLEVRTEX, name="clevrtex-ood", title="OOD", look_alike="ood", aliases=("clevrtex-outd", "ood"))
_UNSEEN = replace(_UNSEEN, natural_look_alike="ood-2")
_CAMOUFLAGED = replace(_CLEVRTEX, name="clevrtex-camo", title="CAMO", look_alike="camo", aliases=("camo",))
_CAMOUFLAGED = replace(_CAMOUFLAGED, natural_look_alike="camo-2")
_IN_NO_TABLE = replace(_CLEVRTEX, trained_on="", look_alike="", natural_look_alike="", aliases=())

DATASETS: Mapping[str, DatasetSpec] = MappingProxyType(
    {
        spec.name: spec
        for spec in (
            # Name, title, image size, K, anisotropic, trained on, look-alike, aliases.
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
"""The data sets on which the paper trains models, each with all rows of its tables."""

SPELLINGS: Mapping[str, DatasetSpec] = MappingProxyType(
    {name: spec for spec in DATASETS.values() for name in (spec.name, *spec.aliases)}
)
"""The data sets by name and alias. The names of look-alikes are not among them, unless they are the same."""


def find_dataset(name: str) -> DatasetSpec:
    """Return the data set with a name or an alias.

    Raises:
        AstSegError: there is none; the message gives the nearest name, or the set that a look-alike resembles.
    """
    if name in SPELLINGS:
        return SPELLINGS[name]
    for spec in DATASETS.values():
        if name in spec.look_alikes:
            raise AstSegError(f"'{name}' is the generated look-alike of {spec.title}; the data set is '{spec.name}'.")
    raise unknown_name("data set", name, DATASETS)


def evaluated_with(dataset: str) -> list[DatasetSpec]:
    """Return the data sets that are only used to evaluate models of this one."""
    return [spec for spec in DATASETS.values() if spec.only_evaluated and spec.trained_on == dataset]
