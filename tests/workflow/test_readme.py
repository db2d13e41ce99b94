"""The README's commands are run, as far as a test may: word for word, dry where they are long."""

import os
import re
import shlex
import subprocess
import sys
import tomllib

import pytest
import yaml

from configs import ROOT, merge, read_config
from mflens.run.check import check_config
from runs import Runner
from spectra import write_spectra

pytestmark = pytest.mark.workflow

README = (ROOT / "README.md").read_text() if (ROOT / "README.md").is_file() else ""
OPTIONAL = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def blocks(text: str, language: str) -> list[str]:
    """Return the contents of the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    """Return the text of the section with this title."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert found, f"the README has no section '## {title}'"
    return found[1]


COMMANDS = sorted(
    {
        part.strip()
        for block in blocks(README, "bash")
        for line in block.splitlines()
        for part in re.split(r"&&|;", line.split("#")[0])
        if part.strip()
    }
)


@pytest.mark.parametrize("title", ["Run it", "Test it"])
def test_fixed_sections_hold_one_command_line(title):
    (block,) = blocks(section(title), "bash")
    assert len(block.strip().splitlines()) == 1
    assert "envs/constraints.txt" in block


@pytest.fixture(scope="module")
def runner(tmp_path_factory) -> Runner:
    made = Runner(tmp_path_factory.mktemp("readme"))
    # where the default config looks for the CAMELS spectra
    write_spectra(made.repository.parent / "shared/data/camels_pk")
    return made


@pytest.mark.parametrize("command", COMMANDS)
def test_command(command, runner):
    words = shlex.split(command)
    tool, arguments = os.path.basename(words[0]), words[1:]
    if tool.startswith("python") and arguments[:2] == ["-m", "pytest"]:
        tool, arguments = "pytest", arguments[2:]
    here = {"cwd": runner.repository, "env": runner.environment, "text": True}
    if tool == "snakemake" and "--report" in arguments:
        return  # test_workflow.py writes a report of the smoke run
    if tool == "snakemake":
        check = ["-m", "snakemake", "-n"]
    elif tool == "pytest":
        check = ["-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    elif tool.startswith("python") and arguments[:2] == ["-m", "venv"]:
        return
    elif tool == "pip" and arguments[0] == "install":
        assert (ROOT / arguments[arguments.index("-c") + 1]).is_file()
        extras = re.findall(r"\[(\w+)\]", command)
        assert set(extras) <= set(OPTIONAL)
        return
    elif tool.startswith("python") and arguments[:2] == ["-m", "mflens.run.verify"]:
        check = ["-c", "import sys; from mflens.run.verify import parse; parse(sys.argv[1:])"]
        arguments = arguments[2:]  # test_workflow.py repairs the smoke run
    elif tool == "bash":
        assert subprocess.run(["bash", "-n", *arguments], **here).returncode == 0
        return
    else:
        pytest.fail(f"no test runs the README's command '{command}'")
    done = subprocess.run([sys.executable, *check, *arguments], **here, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_overlays_of_the_published_tasks_are_valid():
    overlays = blocks(section("Published tasks"), "yaml")
    assert overlays
    for overlay in overlays:
        check_config(merge(read_config(), yaml.safe_load(overlay)))


def test_tier_of_the_readme(runner):
    """The example of a user's tier is short and simulates pairs."""
    example = section("Add a tier")
    (code,), (overlay,) = blocks(example, "python"), blocks(example, "yaml")
    assert len(code.splitlines()) < 30
    module = re.search(r"class: (\w+)\.\w+", overlay)[1]
    ladder = re.search(r"ladder: \[(.*?)\]", overlay)[1].replace(",", " ").split()
    (runner.folder / f"{module}.py").write_text(code)
    path = runner.folder / "tier.yaml"
    path.write_text(overlay)
    wanted = [f"results/simulate_maps/{tier}/pairs_{ladder[-1]}/0.h5" for tier in ladder[-2:]]
    runner(*wanted, configs=["smoke", str(path)])
    assert all((runner.folder / file).is_file() for file in wanted)
