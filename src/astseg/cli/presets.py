"""``astseg presets``: list the named recipes, or print one."""

from typing import Annotated

import typer

from astseg.cli._console import output, print_table


def presets(
    name: Annotated[str | None, typer.Argument(help="The preset whose recipe to print as JSON.")] = None,
) -> None:
    """List the named recipes: every row of the paper's tables, and small ones for two CPU cores.

    With a name, print the recipe as JSON, to be changed and used with `train --recipe`.

    ```
    astseg presets clevr > mine.json
    astseg train images/ --recipe mine.json
    ```
    """
    import json

    from rich.table import Table

    from astseg._core.settings_io import to_builtins
    from astseg.training.presets import PRESETS, get_preset

    if name is not None:
        lines = json.dumps(to_builtins(get_preset(name).recipe), indent=2).splitlines()
        output.print(*lines, sep="\n", markup=False)
        return
    table = Table("name", "what it is", "size", "K", box=None, pad_edge=False)
    for preset in PRESETS.values():
        architecture = preset.recipe.architecture
        size = "{}x{}".format(*architecture.image_size)
        table.add_row(preset.name, preset.description, size, str(architecture.num_slots))
    print_table(table)
