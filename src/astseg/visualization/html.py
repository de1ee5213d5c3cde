"""Render the templates beside this module as HTML pages: a single file each, with all text escaped."""

import base64
import io
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from astseg._core.atomic_io import atomic_write
from astseg._core.text import ENCODING_ERRORS, format_value


def render(template: str, **values: Any) -> str:
    """Render a template as an HTML page.

    Args:
        template: the name of a file in `templates/`.
        values: the template's variables. Text is escaped unless the template calls it safe.

    Raises:
        jinja2.UndefinedError: a variable is missing.
    """
    return _environment().get_template(template).render(values)


def write_html(path: Path | str, text: str) -> None:
    """Write a page.

    Raises:
        AstSegError: the file cannot be written.
    """
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8", errors=ENCODING_ERRORS)


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
    environment.filters |= {"data_url": data_url, "percent": percent, "format_value": format_value}
    return environment


def data_url(image: npt.NDArray[np.uint8]) -> str:
    """Return an H x W x 3 image as a PNG file in a ``data:`` URL."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def percent(share: float) -> str:
    """Return a share, clipped to 0 to 1, as a CSS length.

    >>> percent(0.125), percent(1.5)
    ('12.5%', '100.0%')
    """
    return f"{100 * min(1.0, max(0.0, share)):.1f}%"
