"""The public face as type checkers see it: right uses are accepted, wrong ones are not."""

import re
from pathlib import Path

import pytest

import quasiqueue

ROOT = Path(__file__).parent.parent
TYPED = ROOT / "tests" / "typing"


def checked(path: Path) -> list[str]:
    """Return what mypy says of a file, with the project's settings."""
    api = pytest.importorskip("mypy.api", reason="mypy is part of the tools that `make types` installs")
    text, trouble, _ = api.run([f"--config-file={ROOT / 'pyproject.toml'}", "--no-error-summary", str(path)])
    assert trouble == ""
    return [line for line in text.splitlines() if ": note: " not in line]


def test_typed_user_code_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every way of using the public face passes the strictest check."""
    monkeypatch.chdir(ROOT)
    assert checked(TYPED / "api.py") == []


def test_wrong_user_code_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each line that is marked as wrong gives the error that its mark names, and no other line gives any."""
    monkeypatch.chdir(ROOT)
    assert checked(TYPED / "wrong.py") == []
    text = (TYPED / "wrong.py").read_text()
    marks = [
        (number, match[1])
        for number, line in enumerate(text.splitlines(), 1)
        if (match := re.search(r"# type: ignore\[(.*)\]$", line))
    ]
    bare = tmp_path / "bare.py"
    bare.write_text(re.sub(r"  # type: ignore\[.*\]$", "", text, flags=re.MULTILINE))
    found = [re.search(r":(\d+): error: .*\[(.*)\]$", line) for line in checked(bare)]
    assert [(int(match[1]), match[2]) for match in found if match is not None] == marks
    assert len(found) == len(marks)


def test_every_public_name_is_used_in_typed_code() -> None:
    """The typed file is complete: a new public name is used in it too."""
    text = (TYPED / "api.py").read_text()
    assert [name for name in quasiqueue.__all__ if not re.search(rf"\b{name}\b", text)] == []
