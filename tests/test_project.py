"""Promises of the repository as a whole."""

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from caraway.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
MAX_LINES = 600

HOSTS = (
    *("pypi" + ".org", "pythonhosted" + ".org", "deb.debian" + ".org", "security.debian" + ".org"),
    *(
        "archive.ubuntu" + ".com",
        "registry.npmjs" + ".org",
        "docker" + ".io",
        "crates" + ".io",
        "proxy.golang" + ".org",
    ),
)
PLACES = tuple(f"/{folder}/" for folder in ("work", "root", "opt/pypi", "home/runner"))


def tracked_files() -> list[Path]:
    """What is, or is about to be, in the repository."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"not a git repository: {error}")
    return [path for name in listing.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_file_names_a_registry_or_a_place_of_one_machine() -> None:
    pattern = re.compile("|".join([*map(re.escape, HOSTS), *(rf"(?<![\w.~}}]){re.escape(p)}" for p in PLACES)]))
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in tracked_files()
        if (match := pattern.search(path.read_bytes().decode(errors="replace")))
    ]
    assert not found


def test_modules_hold_one_concept() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for folder in ("src", "examples", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if (lines := len(path.read_text().splitlines())) >= MAX_LINES
    }
    assert not long


def test_imports_point_down() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    command = [program, "--no-logo", "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_programs_in_the_readme_are_examples() -> None:
    readme = (ROOT / "README.md").read_text()
    blocks = re.findall(r"(?:<!-- (\S+) -->\n)?```python\n(.*?)```", readme, re.DOTALL)
    assert blocks
    for name, program in blocks:
        assert name.startswith("examples/")
        assert program == (ROOT / name).read_text()


def test_every_example_has_a_test_and_is_short() -> None:
    tests = (ROOT / "tests" / "test_examples.py").read_text()
    for example in (ROOT / "examples").glob("*.py"):
        assert f'"{example.name}"' in tests, example.name
        assert len(example.read_text().splitlines()) <= 30, example.name


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_command_line_reference_is_complete(name: str) -> None:
    reference = (ROOT / "docs" / "reference" / "cli.md").read_text()
    command: click.Command = importlib.import_module(f"caraway.cli.{name}").command
    assert f"`caraway {name} " in reference
    options = [option for parameter in command.params for option in parameter.opts if option.startswith("--")]
    assert options
    assert [option for option in options if option not in reference] == []


def test_links_between_documents_lead_somewhere() -> None:
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    broken = [
        f"{document.relative_to(ROOT)}: {target}"
        for document in documents
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text())
        if "://" not in target and not (document.parent / target).exists()
    ]
    assert not broken


def test_version_is_in_the_changelog() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()
