from pathlib import Path

import pytest
from tests.cli.conftest import Program


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("imagenet", (), "no data set 'imagenet'"),
        ("clevr", ("--mirror", "elsewhere"), "http:// or https://"),
        ("clevr", ("--mirror", "http://127.0.0.1:9"), "does not answer"),
    ],
)
def test_mistakes(name: str, options: tuple[object, ...], message: str, astseg: Program, tmp_path: Path) -> None:
    assert message in astseg.mistake("data", "download", name, tmp_path / "out", *options)
    assert not any(tmp_path.iterdir())
