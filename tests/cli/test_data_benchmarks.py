from tests.cli.conftest import Program


def test_benchmarks_and_protocols_are_listed(astseg: Program) -> None:
    assert astseg("data", "benchmarks") == 0
    lines = astseg.out.splitlines()
    assert any(line.startswith("clevr ") and "authors, clevrtex, genesis" in line for line in lines)
