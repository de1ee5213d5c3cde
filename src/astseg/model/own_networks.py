"""Networks of the user's own, which recipes and saved models name like those that come with astseg."""

from collections.abc import Callable
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from torch import nn

from astseg._core.errors import UnknownNetworkError, wrong_argument
from astseg._core.settings_io import check_choice

NetworkSetting: TypeAlias = Literal["feature_network", "refinement", "background_network"]
"""The settings of `Architecture` that name a network."""
OWN = "own:"
"""The prefix of their names: it shows that a model has such a network, and no misspelled name is taken for one."""

_builders: MappingProxyType[str, dict[str, Callable[..., nn.Module]]] = MappingProxyType(
    {setting: {} for setting in get_args(NetworkSetting)}
)


def register_network(setting: NetworkSetting, name: str, build: Callable[..., nn.Module]) -> None:
    """Let architectures name a network of your own.

    Recipes, runs and saved models hold the name alone: register the network in each program that trains, resumes or
    loads one, before it does. Registered again, a name stands for the later network.

    Args:
        setting: what the network does, as `Architecture` calls it.

            * ``feature_network``: ``build(size, channels, inputs)`` returns a module that maps N x inputs x size to
              N x channels x h x w: images in [0, 1], of 3 inputs, or slow features. The first K channels are the slots'
              attention logits, the others are pooled. Its last layer is its `output_layer`, if slots are to be reset
              (``foreground.reinitialize_slots_until``).
            * ``refinement``: ``build(columns)`` returns a module that maps `ObjectQueries` to others, with as
              many columns of features.
            * ``background_network``: ``build(image_size)`` returns a `Background`.
        name: the name, which begins with ``own:``.
        build: what makes the network, with random weights.

    Raises:
        ValueError: the setting is none of these, or the name does not begin with ``own:``.
        TypeError: `build` cannot be called.
    """
    check_choice("setting", setting, NetworkSetting)
    if not is_own(name):
        raise ValueError(f"the name of a network of your own begins with '{OWN}' and goes on, unlike {name!r}")
    if not callable(build):
        raise wrong_argument("build should be a function or a class, which makes the network", build)
    _builders[setting][name] = build


def is_own(name: object) -> bool:
    """Tell whether a setting names a network of the user's own, registered or not.

    >>> is_own("own:mine"), is_own("own:"), is_own("unet"), is_own(None)
    (True, False, False, False)
    """
    return isinstance(name, str) and name.startswith(OWN) and name != OWN


def build_own(setting: NetworkSetting, name: str, *arguments: object) -> nn.Module:
    """Build a network of the user's own.

    Raises:
        UnknownNetworkError: none is registered by that name.
    """
    build = _builders[setting].get(name)
    if build is None:
        raise UnknownNetworkError(
            f"The model has a {setting} of somebody's own, '{name}', which this program does not know. Call "
            f"astseg.register_network('{setting}', '{name}', ...) first, with what builds it."
        )
    return build(*arguments)
