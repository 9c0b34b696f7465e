"""The README and the documents are true where a program can tell: their examples run, their tables and links hold."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from quasiqueue.settings import settings_table

ROOT = Path(__file__).parent.parent
NAMES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
DOCUMENTS = [ROOT / name for name in NAMES] + sorted((ROOT / "docs").glob("*.md"))
TABLE = re.compile(r"<!-- settings table -->\n(.*)<!-- end of settings table -->", re.DOTALL)
EXAMPLE = re.compile(
    r"<!-- run, and its output compared -->\n```python\n(?P<program>.*?)```\n\n```text\n(?P<output>.*?)```", re.DOTALL
)
SAME = re.compile(r"<!-- the same as (?P<path>\S+) -->\n```python\n(?P<program>.*?)```", re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


def examples() -> list[object]:
    """Every example of every document that says what it prints."""
    return [
        pytest.param(match["program"], match["output"], id=f"{document.name}-{number}")
        for document in DOCUMENTS
        for number, match in enumerate(EXAMPLE.finditer(document.read_text()), 1)
    ]


@pytest.mark.parametrize(("program", "output"), examples())
def test_example_prints_what_its_document_shows(program: str, output: str, tmp_path: Path) -> None:
    """An example is a whole program; run as it stands, it prints exactly that; stderr has log lines at most."""
    script = tmp_path / "example.py"
    script.write_text(program)
    command = [sys.executable, "-W", "error", str(script)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == (output, 0)
    assert [word for word in ("Traceback", "Warning") if word in done.stderr] == []


def test_first_example_is_the_one_that_the_tests_run() -> None:
    """The README's first program is examples/hello.py, letter by letter; tests/test_examples.py runs that."""
    found = SAME.findall((ROOT / "README.md").read_text())
    assert [path for path, _ in found] == ["examples/hello.py"]
    assert found[0][1] == (ROOT / "examples/hello.py").read_text()


def test_every_python_block_is_marked_as_run_or_as_a_copy() -> None:
    """No program stands in a document that nothing runs."""
    for document in DOCUMENTS:
        text = document.read_text()
        assert text.count("```python\n") == len(EXAMPLE.findall(text)) + len(SAME.findall(text)), document.name


def test_readme_shows_the_settings_table_of_the_code() -> None:
    """The table of settings is made from the fields themselves: `python tests/test_documents.py` writes it anew."""
    assert TABLE.search((ROOT / "README.md").read_text())[1] == settings_table() + "\n"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_files_lead_somewhere(document: Path) -> None:
    """Every relative link names a file of the repository."""
    prose = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    broken = [target for target in LINK.findall(prose) if not (document.parent / target).exists()]
    assert broken == []


def write_settings_table() -> None:
    """Writes the table of the code into the README."""
    readme = ROOT / "README.md"
    table = f"<!-- settings table -->\n{settings_table()}\n<!-- end of settings table -->"
    readme.write_text(TABLE.sub(lambda _: table, readme.read_text()))


if __name__ == "__main__":
    write_settings_table()
