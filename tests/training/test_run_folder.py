from pathlib import Path

import pytest

from astseg._core.errors import AstSegError
from astseg.training.run_folder import read_run


@pytest.mark.parametrize("text", ["[]", "[1]", "5", "null"])
def test_settings_of_another_kind_are_told_in_words(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(
        AstSegError, match=r"run\.json cannot be understood: a value of another kind than is expected\.$"
    ):
        read_run(tmp_path)
