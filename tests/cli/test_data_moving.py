from pathlib import Path

from tests.cli.conftest import Program


def test_sequences(astseg: Program, tmp_path: Path) -> None:
    out = tmp_path / "out[1]"
    assert astseg("data", "moving", out, "--sequences", 2, "--frames", 3, "--size", 32) == 0
    assert astseg.out == f"Sequences: {out}\n"
    files = {path.relative_to(out).as_posix() for path in out.rglob("*.png")}
    frames = (f"{index:06d}.png" for index in range(3))
    assert files == {f"{n}/{kind}/{frame}" for frame in frames for n in ("000", "001") for kind in ("images", "masks")}


def test_mistakes(astseg: Program, tmp_path: Path) -> None:
    for option, value, message in (
        ("--size", 33, "multiple of 8"),
        ("--frames", 1001, "1 to 1000"),
        ("--seed", -1, "seed"),
    ):
        assert message in astseg.mistake("data", "moving", tmp_path / "out", option, value)
    assert not any(tmp_path.iterdir())
