"""HTML pages from the templates beside this module: a single file each, with nothing in it left unescaped."""

import base64
import io
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from astseg._core.text import format_value


def render(template: str, **values: Any) -> str:
    """Return the page that a template makes of values.

    Args:
        template: the name of a file in `templates/`.
        values: what the template asks for, by name. Text is escaped unless the template calls it safe.

    Raises:
        jinja2.UndefinedError: the template asks for something that is not given.
    """
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("astseg.visualization"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"data_address": data_address, "percent": percent, "format_value": format_value}
    return environment


def data_address(image: npt.NDArray[np.uint8]) -> str:
    """Return an H x W x 3 image as an address that holds all of it, as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def percent(share: float) -> str:
    """Return a share, clipped to 0 to 1, as a length of CSS.

    >>> percent(0.125), percent(1.5)
    ('12.5%', '100.0%')
    """
    return f"{100 * min(1.0, max(0.0, share)):.1f}%"
