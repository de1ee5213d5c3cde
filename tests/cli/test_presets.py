from tests.cli.conftest import Program

from astseg.training.presets import PRESETS


def test_presets_are_listed_with_size_and_slots(astseg: Program) -> None:
    assert astseg("presets") == 0
    lines = astseg.out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(PRESETS)
    natural = [line.split()[-2:] for line in lines if line.startswith("natural-video")]
    assert natural == [["200x320", "20"]] * 2
