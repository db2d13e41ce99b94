"""The git commit that a clone has checked out, read from its files."""

import re
import subprocess
from pathlib import Path


def commit_of(path: Path) -> str:
    """Return the commit that is checked out in the git repository around a file, or `unknown`.

    It is read from git's files: git itself refuses a clone that another user owns, and is not
    there in every container.
    """
    folder = next((p for p in path.parents if (p / ".git").exists()), None)
    if folder is None:
        return "unknown"
    try:
        return _read_head(folder / ".git")
    except (OSError, ValueError, LookupError):  # references are stored in another way
        return _ask_git(folder)


def _read_head(git: Path) -> str:
    """Return the commit that HEAD names, itself or by a branch.

    Raises
    ------
    OSError, ValueError, LookupError
        If it cannot be found in loose or packed references.
    """
    if git.is_file():  # of a worktree or a submodule: where its files are
        git = git.parent / git.read_text().removeprefix("gitdir:").strip()
    shared = git / "commondir"
    common = git / shared.read_text().strip() if shared.is_file() else git
    name = (git / "HEAD").read_text().strip()
    while name.startswith("ref:"):
        name = name.removeprefix("ref:").strip()
        loose = next((p / name for p in (git, common) if (p / name).is_file()), None)
        if loose:
            name = loose.read_text().strip()
        else:
            packed = (row.split() for row in (common / "packed-refs").read_text().splitlines())
            name = {row[-1]: row[0] for row in packed}[name]
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", name):
        raise ValueError(f"HEAD is {name}")
    return name


def _ask_git(folder: Path) -> str:
    command = ["git", "-c", f"safe.directory={folder}", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
