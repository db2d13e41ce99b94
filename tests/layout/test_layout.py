"""House rules that a machine can check: names, sizes, and one place for everything."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from configs import DEFAULTS, ROOT, merge, read_config
from mflens.run.captions import DESCRIBED

VERBS = {
    "draw", "compute", "train", "simulate", "measure", "pretrain", "finetune", "sample", "score",
    "plot", "tabulate", "collect", "compile",
}  # fmt: skip
STAGES = {"theory", "simulate", "compress", "infer", "evaluate", "report", "tasks", "benchmarks"}
TOP_LEVEL = {
    "Snakefile", "workflow", "config", "scripts", "envs", "tests", "README.md", "pyproject.toml",
    "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff",
}  # fmt: skip
# rooms of the package, from top to bottom: what stands in none is the ground
ROOMS = (
    "benchmarks", "run", "tasks", "report", "evaluate", "infer", "compress", "simulate", "theory",
    "design", "files",
)  # fmt: skip
MADE = {"results", "smoke", "report.html", "report.zip"}  # by the README's commands

RULES_FILES = sorted((ROOT / "workflow/rules").glob("*.smk"))
SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))
PACKAGE = ROOT / "workflow/mflens"
MODULES = sorted(PACKAGE.rglob("*.py"))
README = (ROOT / "README.md").read_text()
SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
# directives that a rule need not have, and the folder names it must use
FOLDERS = {"output": "{RESULTS}/", "log": "{RESULTS}/logs/", "benchmark": "{RESULTS}/benchmarks/"}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def rules() -> dict[str, str]:
    """Text of each rule, by name."""
    found = {}
    for path in RULES_FILES:
        for part in re.split(r"^(?=rule )", path.read_text(), flags=re.MULTILINE)[1:]:
            block = re.match(r"rule (\w+):\n((?:[ \t]+.*\n|\n)*)", part + "\n")
            if "    script:" in block[2]:  # targets have none
                found[block[1]] = block[2].rstrip()
    return found


RULES = rules()
CHECKS = {"verify"}  # make nothing


def directives(text: str) -> dict[str, str]:
    """Text of each directive of a rule, by name."""
    parts = re.split(r"^    (\w+):", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def folder_of(rule: str) -> str:
    """Folder of a rule's files: its name; below its task's folder, which says `task_`."""
    return rule.replace("_task_", "_", 1) if is_task(rule) else rule


def is_task(rule: str) -> bool:
    return "_task_" in rule


def test_there_are_rules_and_scripts():
    assert len(RULES) > 10
    assert SCRIPTS


def test_top_level_names():
    visible = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert visible - TOP_LEVEL - MADE == set()
    assert TOP_LEVEL - visible == set()


def test_one_script_per_rule():
    assert {path.stem for path in SCRIPTS} == set(RULES)


@pytest.mark.parametrize("rule", RULES)
def test_rule(rule):
    parts = directives(RULES[rule])
    assert rule in CHECKS or (rule.split("_")[0] in VERBS and "_" in rule)
    assert len(RULES[rule].splitlines()) + 1 <= 32
    assert re.fullmatch(r'\s*"[A-Z].*\."\s*', parts["message"]), "a rule opens with a sentence"
    assert f"scripts/{rule}.py" in parts["script"]
    assert f'code("{rule}")' in parts["params"]
    assert rule in CHECKS or f'NEEDS.of("{rule}")' in parts["resources"]
    for directive, folder in FOLDERS.items() if rule not in CHECKS else ():
        folder += "{{task}}/" * is_task(rule)
        paths = re.findall(r'f"([^"]*)"', parts[directive])
        # one job for all methods: PLAN.products names a file each in the rule's folder
        several = re.findall(r'PLAN\.products\("(\w+)"', parts[directive])
        paths += [f"{{RESULTS}}/{folder}/" for folder in several]
        assert paths, directive
        assert all(path.startswith(f"{folder}{folder_of(rule)}/") for path in paths), paths
    if "report(" in parts.get("output", ""):
        captions = re.findall(r'caption="([^"]*)"', parts["output"])
        assert captions
        assert all((ROOT / "workflow/rules" / path).is_file() for path in captions)


@pytest.mark.parametrize("rule", RULES)
def test_only_plot_rules_make_figures(rule):
    if not rule.startswith("plot_"):
        assert not re.search(r"\.(pdf|png|svg)\b", RULES[rule])


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script_has_one_main_and_the_usual_end(path):
    text = path.read_text()
    functions = [node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    assert functions.count("main") == 1
    end = re.sub(r"\s+|# noqa: F821", "", text[text.index("if __name__") :])
    known = (
        'if__name__=="__main__":start_job(snakemake)'
        r"main\(\*\*snakemake\.input,\*\*snakemake\.output,\*\*snakemake\.params"
        r"(,\*\*snakemake\.wildcards)?,?\)"
    )
    assert re.fullmatch(known.replace("start_job(snakemake)", r"start_job\(snakemake\)"), end)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_main_has_no_defaults_for_values(path):
    tree = ast.parse(path.read_text())
    main = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "main")
    defaults = [*main.args.defaults, *(d for d in main.args.kw_defaults if d)]
    # None marks an input that not every job has
    assert all(isinstance(d, ast.Constant) and d.value is None for d in defaults)


@pytest.mark.parametrize(
    ("path", "limit"),
    [(ROOT / "Snakefile", 60), (ROOT / "workflow/rules/common.smk", 90)]
    + [(path, 400) for path in MODULES],
    ids=lambda value: name(value) if isinstance(value, Path) else None,
)
def test_one_screen(path, limit):
    assert len(path.read_text().splitlines()) <= limit


def statements(function: ast.FunctionDef) -> int:
    """Statements of a function, docstring and nested functions' insides included once."""
    found = [node for node in ast.walk(function) if isinstance(node, ast.stmt)]
    return len(found) - 1 - bool(ast.get_docstring(function))


@pytest.mark.parametrize("path", [*MODULES, *SCRIPTS], ids=name)
def test_short_functions(path):
    functions = (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef))
    assert {f.name: statements(f) for f in functions if statements(f) > 30} == {}


def test_one_word_per_stage():
    sections = {key for key, value in SCHEMA["properties"].items() if value["type"] == "object"}
    assert sections == STAGES
    stems = {path.stem for path in RULES_FILES} - {"common"}
    # a stage whose rules fill more than a screen has more files, <stage>_<word>.smk
    assert STAGES - stems == set()
    assert {stem for stem in stems if stem.split("_")[0] not in STAGES} == set()
    assert {stage for stage in STAGES if not _module(stage)} == set()
    tests = {path.stem.removeprefix("test_") for path in (ROOT / "tests").rglob("test_*.py")}
    assert STAGES - tests == set()


def _module(stage: str) -> bool:
    return (PACKAGE / f"{stage}.py").is_file() or (PACKAGE / stage / "__init__.py").is_file()


def room(module: str) -> int:
    """Height of a module's room, 0 for the ground; `module` is its dotted name in the package."""
    first = module.split(".")[0]
    return len(ROOMS) - ROOMS.index(first) if first in ROOMS else 0


def test_rooms_are_those_of_the_package():
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(ROOMS)


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_imports_run_downward(path):
    here = room(".".join(path.relative_to(PACKAGE).with_suffix("").parts))
    tree = ast.walk(ast.parse(path.read_text()))
    imported = [n.module for n in tree if isinstance(n, ast.ImportFrom) and n.module]
    ours = [n.removeprefix("mflens.") for n in imported if n.startswith("mflens.")]
    assert [module for module in ours if room(module) > here] == []


def test_no_room_fills_the_house():
    lines = {path: len(path.read_text().splitlines()) for path in MODULES}
    shares = {
        room: sum(n for path, n in lines.items() if PACKAGE / room in path.parents)
        for room in ROOMS
    }
    assert max(shares.values()) < 0.2 * sum(lines.values()), shares


def nodes(schema, path="config"):
    """Yield every keyed sub-schema with its path, its reference resolved."""
    reference = schema.get("$ref", "").rpartition("/")[2]
    schema = SCHEMA["$defs"].get(reference, {}) | schema
    yield path, schema
    for key, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{key}")
    if isinstance(schema.get("items"), dict):
        yield from nodes(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from nodes(schema["additionalProperties"], f"{path}.*")


NODES = dict(nodes(SCHEMA))
USER_TIER = "config.simulate.tiers.*"


def test_the_snakefile_reads_the_defaults():
    names = re.search(r"^for name in \[(.*?)\]:", (ROOT / "Snakefile").read_text(), re.MULTILINE)[1]
    assert re.findall(r"\w+", names) == DEFAULTS


def test_every_task_has_a_config_that_holds_nothing_else():
    for task in DEFAULTS[1:]:
        content = yaml.safe_load((ROOT / f"config/{task}.yaml").read_text())
        assert list(content) == ["tasks"]
        assert list(content["tasks"]) == [task]


@pytest.mark.parametrize("path", NODES)
def test_schema_node(path):
    node = NODES[path]
    assert node.get("description"), "every key is explained"
    assert "default" not in node, "values live in config/"
    if "properties" in node and path != USER_TIER:
        assert "additionalProperties" in node, "unknown keys are refused"
    number = {"number", "integer"} & set(str(node.get("type", "")).split())
    if number and path != "config.seed":
        assert re.search(r"\(.+\)$", node["description"]), "a number says its unit"


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_config_key_is_in_the_schema(path):
    known = set(NODES)

    def unknown(value, at="config"):
        if not isinstance(value, dict):
            return [] if at in known else [at]
        names = {k: k if f"{at}.{k}" in known else "*" for k in value}
        return [key for k, entry in value.items() for key in unknown(entry, f"{at}.{names[k]}")]

    assert unknown(yaml.safe_load(path.read_text())) == []


@pytest.mark.parametrize(
    "path",
    [p for p in sorted((ROOT / "config").glob("*.yaml")) if p.stem not in DEFAULTS],
    ids=name,
)
def test_overlays_hold_only_what_they_change(path):
    default, overlay = read_config(), yaml.safe_load(path.read_text())

    def same(a, b, at=""):
        if isinstance(a, dict) and isinstance(b, dict):
            return [key for k in b if k in a for key in same(a[k], b[k], f"{at}.{k}")]
        return [at] if a == b else []

    assert same(default, overlay) == []
    assert merge(default, overlay) == read_config(path.stem)


@pytest.mark.parametrize("path", [ROOT / "Snakefile", *RULES_FILES, *MODULES, *SCRIPTS], ids=name)
def test_forbidden_words(path):
    text = path.read_text()
    assert not re.search(r"\b(TODO|FIXME|XXX)\b", text)
    assert not re.search(r"\bimport pickle\b|\bpickle\.|(?<![\w.])eval\(|weights_only=False", text)
    assert not re.search(r"^\s*run:\s*$", text, flags=re.MULTILINE), "no run: blocks"


def pins(lines):
    """Return exact versions by normalised name."""
    pairs = (line.strip().split("==") for line in lines if "==" in line and line[0] != "#")
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pairs}


def test_environments_agree():
    exact = pins((ROOT / "envs/constraints.txt").read_text().splitlines())
    conda = yaml.safe_load((ROOT / "envs/mflens.yaml").read_text())["dependencies"][-1]["pip"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [re.match(r"[\w.-]+", entry)[0] for entry in project["dependencies"]]
    assert set(pins(conda).items()) <= set(exact.items())
    assert set(pins(conda)) == set(pins(f"{name}==" for name in names))


@pytest.mark.parametrize("path", sorted((ROOT / "workflow/report").glob("*.rst")), ids=name)
def test_captions_have_their_numbers_from_the_results(path):
    """Config and params of a report are those of its command line."""
    used = re.findall(r"snakemake\.(?:config|params)\S*", path.read_text())
    # a report of a task alone describes no methods
    known = "" if path.stem == "workflow" else f'["{path.stem}"]'
    assert used in ([], [f'snakemake.config["described"]{known}'])
    assert not used or path.stem in (*DESCRIBED, "workflow")


def test_citation_names_what_the_readme_says():
    said = re.search(r"`CITATION.cff` names what to cite: this software, (.*?)\.", README)[1]
    papers = {
        "GLASS": "2302.01942", "PySCo": "10.1051/0004-6361/202452770",
        "CAMB": "astro-ph/9911177", "HMCode-2020": "2009.01858", "the MLMC paper": "2506.06087",
    }  # fmt: skip
    assert re.split(r", | and ", said) == list(papers)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    known = [f"{entry.get('doi')} {entry.get('url')}" for entry in citation["references"]]
    for paper in papers.values():
        assert sum(paper in entry for entry in known) == 1, paper


def test_science_knows_no_snakemake():
    for path in MODULES:
        assert not re.search(r"^\s*(import|from) snakemake", path.read_text(), re.MULTILINE), path


def test_conda_environment_has_the_versions_of_the_constraints():
    def normal(line):
        name, version = line.strip().split("==")
        return re.sub(r"[-_.]+", "-", name).lower(), version

    lines = (ROOT / "envs/constraints.txt").read_text().splitlines()
    pins = dict(normal(line) for line in lines if not line.startswith("#"))
    environment = yaml.safe_load((ROOT / "envs/mflens.yaml").read_text())
    listed = dict(normal(line) for line in environment["dependencies"][-1]["pip"])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {re.split(r"[<>=]", line)[0].replace(".", "-") for line in project["dependencies"]}
    assert set(listed) == wanted
    assert {name: pins[name] for name in listed} == listed


def test_container_has_the_same_environment():
    """The definition names files that exist and installs the package under the constraints."""
    text = (ROOT / "envs/mflens.def").read_text()
    sections = dict(re.findall(r"^%(\w+)\n((?:    .*\n?)*)", text, re.MULTILINE))
    assert list(sections) == ["files", "post", "environment"]
    copied = dict(line.split() for line in sections["files"].splitlines())
    assert all((ROOT / source).exists() for source in copied)
    assert all(target == f"/opt/mflens/{source}" for source, target in copied.items())
    (install,) = re.findall(r"pip install .*", sections["post"])
    assert install.endswith("-c envs/constraints.txt .")
    environment = yaml.safe_load((ROOT / "envs/mflens.yaml").read_text())["dependencies"]
    (python,) = (entry.split("=")[1] for entry in environment if str(entry).startswith("python="))
    assert re.search(rf"^Bootstrap: docker\nFrom: python:{re.escape(python)}-", text, re.MULTILINE)
    assert "envs/mflens.sif" in (ROOT / "workflow/rules/theory.smk").read_text()


def test_profiles_agree():
    """What a run re-runs and keeps does not depend on where it runs."""
    default, slurm = (
        yaml.safe_load((ROOT / f"workflow/profiles/{name}/profile.yaml").read_text())
        for name in ("default", "slurm")
    )
    assert {key: slurm[key] for key in default} == default
    named = {*slurm["slurm-array-jobs"].split(","), *slurm["groups"]}
    known = {*RULES, "simulate_costly_maps"}
    assert named - known == set()
    chunked = {
        rule for rule in RULES if "chunk" in RULES[rule].partition("output:")[2].split("params:")[0]
    }
    assert chunked <= set(slurm["slurm-array-jobs"].split(","))
