"""README and docs are correct: commands, options and links exist, and the example runs."""

import pkgutil
import re
import shlex
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import soundfile
import typer
from small_run import SPEECH_ONLY, small_yaml
from small_system import small_system
from typer.testing import CliRunner

from medusa_jax.cli.app import app
from medusa_jax.config.ensemble import SubmissionConfig

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "configs").glob("*.yaml")]
)
TREE = typer.main.get_command(app)
TWO = {
    "demo": "pip install . && medusa demo",
    "tests": "pip install '.[test]' && pytest -n 2 --dist loadfile",
}
HEAVY = ("jax", "flax", "torch", "transformers", "datasets", "pandas", "sklearn")


def commands_in(text: str) -> list[str]:
    """Every `medusa …` in code spans, code blocks and configuration heads, without comments."""
    lines = re.findall(r"`(medusa [^`\n]+)`", text)
    lines += re.findall(
        r"^(?:[ #]*(?:Command: +)?|.*&& )(medusa (?:[a-z]|CONFIG|-).*)$", text, re.M
    )
    return [re.split(r" #| {3,}|\s+\(or:", line)[0].strip() for line in lines]


def find(tree, words: list[str]) -> tuple[list[str], object, list[str]]:
    """The path of a command, the command, and its arguments. Raises `LookupError` if unknown."""
    path: list[str] = []
    while hasattr(tree, "commands") and words and not words[0].startswith("-"):
        if words[0] not in tree.commands:
            if words[0].islower() or "write" not in tree.commands:  # `medusa submit CONFIG` writes
                raise LookupError(words[0])
            words = ["write", *words]
        path.append(words[0])
        tree, words = tree.commands[words[0]], words[1:]
    return path, tree, words


def check_command(line: str) -> None:
    """Raise `LookupError` unless the command, its options and its arguments exist."""
    path, command, words = find(TREE, shlex.split(line.replace("…", ""))[1:])
    known = {option: p for p in command.params for option in p.opts} | {"--help": None}
    given = iter(words)
    values = []
    for word in given:
        if not word.startswith("-"):
            values.append(word)
        elif word.split("=")[0] not in known:
            raise LookupError(f"{' '.join(path)}: {word}")
        elif (
            known[word.split("=")[0]] is not None
            and not known[word.split("=")[0]].is_flag
            and "=" not in word
        ):
            next(given, None)
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    if len(values) > len(arguments) and all(argument.nargs != -1 for argument in arguments):
        raise LookupError(f"{' '.join(path)} takes {len(arguments)} argument(s), not {values}")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_exists_with_these_options(page):
    for line in commands_in(page.read_text(encoding="utf-8")):
        if "|" not in line:  # a list of names, `medusa corpus build | check`, stands for several
            check_command(line)
            continue
        head, *others = re.split(r"\s*\|\s*", line)
        check_command(head)
        for other in others:
            check_command(f"{head.rsplit(' ', 1)[0]} {other}")


def test_the_readme_names_commands_at_all():
    found = commands_in(README.read_text(encoding="utf-8"))
    assert len(found) > 12
    assert "medusa demo" in found
    assert "medusa run ravdess --set corpus.path=FOLDER_OF_RAVDESS" in found


@pytest.mark.parametrize(
    "line",
    [
        "medusa fly",
        "medusa submit fly FILE",
        "medusa demo --quick",
        "medusa corpus check A B",
        "medusa submit check F --name x",
    ],
)
def test_an_invented_command_is_noticed(line):
    with pytest.raises(LookupError):
        check_command(line)


def every_command(tree=TREE, path=()):
    yield list(path)
    for name, command in getattr(tree, "commands", {}).items():
        yield from every_command(command, (*path, name))


@pytest.mark.parametrize("path", list(every_command()), ids=" ".join)
def test_every_command_has_help(path):
    shown = CliRunner().invoke(app, [*path, "--help"])
    assert shown.exit_code == 0
    assert "Usage:" in shown.output


def test_the_readme_lists_every_command():
    page = README.read_text(encoding="utf-8")
    assert not [name for name in TREE.commands if f"`medusa {name}" not in page]
    assert not [
        name
        for group in ("corpus", "features", "submit")
        for name in TREE.commands[group].commands
        if f"{name}" not in page
    ]


@pytest.mark.parametrize(
    "page", [p for p in PAGES if p.suffix == ".md"], ids=lambda path: str(path.relative_to(ROOT))
)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    for target in (link.split("#")[0] for link in links if not re.match(r"https?://|#", link)):
        found = (page.parent / target).resolve()
        assert found.is_relative_to(ROOT), target
        assert found.exists(), target


SETTINGS = {f"submission.{key}" for key in SubmissionConfig.model_fields}
"""Keys of a configuration that look like modules."""


def exists(name: str) -> bool:
    """True for a Python file below the root, and for the dotted name of a module or of its part."""
    if name.endswith(".py"):
        return (ROOT / name).is_file()
    if name in SETTINGS:
        return True
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


@pytest.mark.parametrize(
    "page", [p for p in PAGES if p.name != "CHANGELOG.md"], ids=lambda path: path.name
)
def test_named_modules_and_files_exist(page):
    text = page.read_text(encoding="utf-8")
    names = re.findall(r"\b(?:medusa_jax|submission)(?:\.(?!md\b|py\b)[A-Za-z]\w*)+", text)
    names += re.findall(
        r"\b(?:medusa_jax|submission|benchmarks|tests|docs)/[a-z0-9_/]+\.py\b", text
    )
    assert [name for name in dict.fromkeys(names) if not exists(name)] == []


def test_an_invented_module_is_noticed():
    assert exists("medusa_jax.corpus.table.Corpus")
    assert exists("medusa_jax/corpus/table.py")
    assert not exists("medusa_jax.corpus.fly")
    assert not exists("medusa_jax/corpus/fly.py")


@pytest.mark.parametrize(("name", "command"), list(TWO.items()))
def test_the_two_commands_stand_there_once(name, command):
    text = README.read_text(encoding="utf-8")
    assert text.count(f"<!-- command: {name} -->\n```bash\n{command}\n```\n") == 1
    assert text.count(f"<!-- command: {name}") == 1


def test_help_loads_nothing_heavy():
    program = f"""
import sys
from medusa_jax.cli.app import app
from medusa_jax.config.ensemble import SubmissionConfig
from typer.testing import CliRunner
for path in {list(every_command())!r}:
    assert CliRunner().invoke(app, [*path, "--help"]).exit_code == 0
print(sorted(set(sys.modules) & set({HEAVY!r})))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    _, example = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)
    (tmp_path / "configs").mkdir()
    small_yaml(tmp_path / "configs/demo.yaml", **SPEECH_ONLY)  # the same steps on a smaller run
    monkeypatch.chdir(tmp_path)
    try:
        exec(compile(example, "README.md", "exec"), {})
    finally:
        jax.config.update("jax_compilation_cache_dir", None)  # a run had set it
    file, macro_f1 = capsys.readouterr().out.split()
    assert (tmp_path / file).is_file()
    assert 0 < float(macro_f1) < 1


@pytest.mark.slow
def test_the_example_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    _, system = small_system(tmp_path)
    jax.config.update("jax_compilation_cache_dir", None)
    text = README.read_text(encoding="utf-8")
    (code,) = re.findall(r"<!-- example: begin -->\n```python\n(.*?)```", text, re.S)
    (folder,) = re.findall(r'load\("(.+?)"\)', code)
    (tmp_path / folder).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / folder).symlink_to(system)
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "speech.wav", rng.normal(0, 0.1, 5 * 16_000), 16_000)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    said = capsys.readouterr().out
    assert "0 days 00:00:01" in said  # the second window's start
