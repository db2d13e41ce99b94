"""The commit of a clone is the one that git names, also where git refuses or is not there."""

import os
import subprocess

import pytest

from mflens.files import commit

GIT = {
    "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null",
    **{f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}  # fmt: skip


def git(folder, *arguments):
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | GIT, check=True)
    return done.stdout.strip()


@pytest.fixture
def clone(tmp_path):
    """Return a repository with two commits and a file where the package has this one."""
    folder = tmp_path / "clone"
    (folder / "workflow/mflens/files").mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    for text in ("one", "two"):
        (folder / "workflow/mflens/files/provenance.py").write_text(text)
        git(folder, "add", ".")
        git(folder, "commit", "-q", "-m", text)
    return folder


def commit_of(folder):
    return commit.commit_of(folder / "workflow/mflens/files/provenance.py")


class TestCommit:
    """The commit is the one that git names, without git where git refuses."""

    @pytest.mark.parametrize(
        "change",
        [
            [],
            ["pack-refs", "--all"],
            ["checkout", "-q", "--detach", "HEAD~1"],
            ["checkout", "-q", "-b", "a/branch/of-its"],
            ["tag", "-a", "v1", "-m", "v1"],
            ["gc", "-q"],
        ],
        ids=lambda change: " ".join(change[:2]) or "loose",
    )
    def test_it_is_what_git_says(self, clone, change):
        if change:
            git(clone, *change)
        assert commit_of(clone) == git(clone, "rev-parse", "HEAD")

    def test_of_a_worktree_and_a_submodule(self, clone, tmp_path):
        git(clone, "worktree", "add", "-q", "-b", "other", str(tmp_path / "tree"), "HEAD~1")
        assert commit_of(tmp_path / "tree") == git(clone, "rev-parse", "HEAD~1")
        git(clone, "pack-refs", "--all")
        assert commit_of(tmp_path / "tree") == git(clone, "rev-parse", "HEAD~1")
        outer = tmp_path / "outer"
        outer.mkdir()
        git(outer, "init", "-q")
        local = ["-c", "protocol.file.allow=always"]
        git(outer, *local, "submodule", "--quiet", "add", str(clone), "inner")
        assert commit_of(outer / "inner") == git(clone, "rev-parse", "HEAD")

    def test_of_references_that_are_kept_in_another_way(self, clone, monkeypatch):
        """As by git's reftable: HEAD names nothing that is a file."""
        monkeypatch.setattr(commit, "_read_head", lambda git: {}["refs/heads/.invalid"])
        assert commit_of(clone) == git(clone, "rev-parse", "HEAD")

    def test_without_a_repository_or_commits(self, tmp_path):
        (tmp_path / "workflow/mflens").mkdir(parents=True)
        assert commit_of(tmp_path) == "unknown"
        git(tmp_path, "init", "-q")
        assert commit_of(tmp_path) == "unknown"

    @pytest.mark.skipif(os.getuid() != 0, reason="needs root, who may give a file away")
    def test_of_a_clone_of_another_user(self, clone, monkeypatch):
        wanted = git(clone, "rev-parse", "HEAD")
        for path in (clone, *clone.rglob("*")):
            os.chown(path, 65534, 65534, follow_symlinks=False)
        with pytest.raises(subprocess.CalledProcessError) as refused:
            git(clone, "rev-parse", "HEAD")
        assert "dubious ownership" in refused.value.stderr
        assert commit_of(clone) == wanted
        monkeypatch.setenv("PATH", "")
        assert commit_of(clone) == wanted, "where there is no git"
