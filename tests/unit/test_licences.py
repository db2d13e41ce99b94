"""The list of packages is what is pinned, and what these packages say of themselves."""

import re
from importlib.metadata import PackageNotFoundError, distribution

import pytest

from configs import ROOT
from licences import OTHERWISE, licence, pins

PAGE = (ROOT / "envs/licences.md").read_text()
ROWS = {
    row[0]: row[1:] for row in re.findall(r"^\| (\S+) \| (\S+) \| (.+) \|$", PAGE, re.MULTILINE)
}
ROWS.pop("package", None)
ROWS.pop("---", None)


def test_it_lists_the_constraints():
    assert {name: row[0] for name, row in ROWS.items()} == pins()


def test_every_licence_is_stated():
    assert [name for name, row in ROWS.items() if row[1] == OTHERWISE] == []


@pytest.mark.parametrize("name", ROWS)
def test_licence(name):
    try:
        package = distribution(name)
    except PackageNotFoundError:
        pytest.skip("only in an environment with all extras")
    # a build of torch adds +cpu
    if package.version.split("+")[0] == ROWS[name][0]:
        assert licence(package) == ROWS[name][1]


def test_copyleft_and_proprietary_packages_are_told():
    told = PAGE.split("## Known")[0]
    notable = [n for n, row in ROWS.items() if re.search(r"\bGPL|GNU|ropriet", row[1])]
    # docutils offers other licences beside the GPL
    assert [name for name in notable if name not in told] == ["docutils"]
