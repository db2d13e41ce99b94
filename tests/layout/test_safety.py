"""Nothing executes what it reads: no call that could, anywhere in the code."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from configs import ROOT

CODE = [*sorted((ROOT / "workflow/mflens").rglob("*.py")), *sorted((ROOT / "scripts").glob("*.py"))]
RULES = [ROOT / "Snakefile", *sorted((ROOT / "workflow/rules").glob("*.smk"))]
PICKLES = {"pickle", "shelve", "marshal", "dill", "cloudpickle", "joblib", "jsonpickle"}
CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load", "yaml.load_all",
    "yaml.full_load", "yaml.unsafe_load", "subprocess.getoutput", "subprocess.getstatusoutput",
    "pd.read_pickle", "pd.eval",
}  # fmt: skip
# what a call must say, by its name
SAID = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False)}
# the two places that import what a config names: its tiers
IMPORTERS = {"workflow/mflens/run/check.py", "workflow/mflens/simulate/tiers.py"}


def problems(text: str, importer: bool = False) -> Iterator[str]:
    """Yield what a source does that could execute what it reads."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
            if (module or "").split(".")[0] in PICKLES:
                yield f"line {node.lineno}: imports {module}"
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        said = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if name in CALLS or said.get("shell", "False") != "False":
            yield f"line {node.lineno}: {ast.unparse(node)[:60]}"
        if said.get("allow_pickle", "False") != "False":
            yield f"line {node.lineno}: allow_pickle"
        if name in SAID and said.get(SAID[name][0]) != str(SAID[name][1]):
            yield f"line {node.lineno}: {name} without {SAID[name][0]}={SAID[name][1]}"
        if name.endswith("import_module") and not importer:
            yield f"line {node.lineno}: imports what data name"
        # a list of words passes no shell
        text = node.args and isinstance(node.args[0], ast.Constant | ast.JoinedStr)
        if name.startswith("subprocess.") and name.count(".") == 1 and text:
            yield f"line {node.lineno}: a command that is text"


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_executes_what_it_reads(path: Path):
    name = str(path.relative_to(ROOT))
    assert list(problems(path.read_text(), name in IMPORTERS)) == []


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_no_rule_has_a_shell(path: Path):
    assert "shell:" not in path.read_text()
    assert "shell(" not in path.read_text()


@pytest.mark.parametrize(
    "text",
    [
        "import pickle", "from joblib import load", "eval(x)", "torch.load(p)", "np.load(p)",
        "torch.load(p, weights_only=False)", "np.load(p, allow_pickle=True)", "yaml.load(t)",
        "subprocess.run(c, shell=True)", "os.system(c)", "subprocess.run(f'ls {x}')",
        "importlib.import_module(x)", "h5.read(allow_pickle=yes)",
    ],
)  # fmt: skip
def test_the_check_sees_it(text):
    assert list(problems(text))
