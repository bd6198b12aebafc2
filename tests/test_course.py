"""course.py: the set-up and its stamp, one clear line for each thing that goes wrong, and its twins.

Most tests run a copy of course.py in a folder of its own, whose .venv holds a shell script instead of Python: it
notes what it was asked to do, and fails or waits where a test wants that.
"""

import ast
import errno
import itertools
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
COURSE = runpy.run_path(str(ROOT / "course.py"))
posix = pytest.mark.skipif(os.name == "nt", reason="the stand-in for Python is a shell script")

STAND_IN = """#!/bin/sh
[ "$1" = -c ] && exit 0
echo "$*" >> "{log}"
case "$*" in
{cases}
esac
exit 0
"""


@pytest.fixture
def tree(tmp_path):
    """A copy of what course.py needs, without .venv."""
    folder = tmp_path / "course"
    (folder / "labsupport").mkdir(parents=True)
    for name in ("course.py", "pyproject.toml", "constraints.txt", "README.md", "LICENSE", "LICENSE-text"):
        shutil.copy(ROOT / name, folder)
    shutil.copy(ROOT / "labsupport" / "__init__.py", folder / "labsupport")
    return folder


def _stand_in(tree, cases=""):
    """Puts the script in the place of .venv's Python; `cases` are the shell's `pattern) command;;`."""
    python = tree / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True, exist_ok=True)
    python.write_text(STAND_IN.format(log=tree / "log", cases=cases), encoding="utf-8")
    python.chmod(0o755)


def _asked(tree):
    log = tree / "log"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return lines


def _course(tree, *arguments, before="pass", **env):
    """Runs course.py, after some doctoring in the same process."""
    code = (
        f"import runpy, sys; sys.argv = {['course.py', *arguments]!r}; {before}; "
        f"runpy.run_path({str(tree / 'course.py')!r}, run_name='__main__')"
    )
    inherited = {name: value for name, value in os.environ.items() if name not in COURSE["ENVIRONMENT"]}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=tree, env=inherited | env, capture_output=True, text=True, timeout=120
    )


def _one_line(done, *parts):
    """The command failed with exit status 1 and one line that says these things."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("course.py: ")
    for part in parts:
        assert part in done.stderr


# -- what goes wrong for newcomers


def test_an_old_python_is_turned_away(tree):
    done = _course(tree, "lab", before="sys.version_info = (3, 9, 1, 'final', 0)")
    _one_line(done, "Python 3.11 or newer is needed, this is 3.9")


def test_an_old_python_can_read_the_file():
    ast.parse((ROOT / "course.py").read_text(encoding="utf-8"), feature_version=(3, 6))


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_a_python_without_venv(tree, module):
    before = (
        "import importlib.util as u; find = u.find_spec; "
        f"u.find_spec = lambda name: None if name == {module!r} else find(name)"
    )
    _one_line(_course(tree, "lab", before=before), f"lacks its {module} module", "apt install python3-venv")


def test_outside_the_course(tmp_path):
    shutil.copy(ROOT / "course.py", tmp_path)
    _one_line(_course(tmp_path, "lab"), "is not the course's folder", "pyproject.toml is missing")


def test_no_network_at_the_first_installation(tree):
    """A real .venv and a real pip that finds nobody listening."""
    nowhere = {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_RETRIES": "0",
        "PIP_FIND_LINKS": "",
        "PIP_NO_CACHE_DIR": "1",
    }
    _one_line(_course(tree, "lab", **nowhere), "no network")
    assert not (tree / ".venv" / "course-stamp.json").exists()


@posix
def test_a_full_disk_in_pips_words(tree):
    _stand_in(
        tree,
        "*install*) echo 'ERROR: Could not install packages due to an OSError: [Errno 28] "
        "No space left on device' >&2; exit 1;;",
    )
    _one_line(_course(tree, "lab"), "the disk is full")


@posix
def test_a_system_without_torch(tree):
    _stand_in(tree, "*install*) echo 'ERROR: No matching distribution found for torch==2.13.0' >&2; exit 1;;")
    _one_line(_course(tree, "lab"), "pip finds no torch==2.13.0 for Python 3.")


@posix
def test_pips_own_words_are_shown_where_no_line_is_known(tree):
    _stand_in(tree, "*install*) echo 'ERROR: no such flag' >&2; exit 1;;")
    done = _course(tree, "lab")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "ERROR: no such flag",
        "course.py: pip could not install the course; its own words are above",
    ]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (KeyboardInterrupt(), "stopped; what was finished is kept"),
    ],
)
def test_errors_anywhere_become_a_line(error, line, monkeypatch, capsys):
    def fail(options):
        raise error

    monkeypatch.setitem(COURSE["WORDS"], "derive", (fail, [], None))
    assert COURSE["main"](["derive"]) == 1
    assert capsys.readouterr().err.startswith(f"course.py: {line}")


@posix
def test_ctrl_c(tree):
    _stand_in(tree, "*install*) exec sleep 60;;")
    child = subprocess.Popen(
        [sys.executable, "course.py", "lab"],
        cwd=tree,
        start_new_session=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while not _asked(tree):
        assert child.poll() is None
        time.sleep(0.05)
    os.killpg(child.pid, signal.SIGINT)
    out, err = child.communicate(timeout=30)
    _one_line(subprocess.CompletedProcess([], child.returncode, out, err), "stopped")


# -- the command line and its twins


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["bake"], ["say one of: lab test site run"]),
        (["lab", "SIZE=3"], ["lab: SIZE=3 is not understood", "FRESH, PORT, NO_BROWSER, PIP_ARGS"]),
        (["table"], ["table: say which", "NAME="]),
        (["bench"], ["bench: say which", "TOPIC="]),
        (["lab", "PORT=here"], ["PORT must be a number, got here"]),
        (["table", "NAME=a/b", "JOBS=all"], ["table: JOBS must be a number, got all"]),
    ],
)
def test_words_that_are_not_understood(arguments, parts):
    _one_line(_course(ROOT, *arguments), *parts)


def test_help_names_every_word():
    done = _course(ROOT, "--help")
    assert done.returncode == 0
    assert re.findall(r"python course\.py (\w+) ", done.stdout)
    assert set(re.findall(r"python course\.py (\w+) ", done.stdout)) == set(COURSE["WORDS"])


def test_the_makefile_has_the_same_words_and_options():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert set(re.search(r"^WORDS := (.*)$", makefile, flags=re.M)[1].split()) == set(COURSE["WORDS"])
    options = {option for _, known, _ in COURSE["WORDS"].values() for option in known} | {"PIP_ARGS"}
    assert set(re.search(r"^OPTIONS := (.*)$", makefile, flags=re.M)[1].split()) == options


@pytest.mark.skipif(shutil.which("make") is None, reason="no make here")
def test_make_passes_on_what_was_typed_and_nothing_else():
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # this may run under make
    env |= {"NAME": "a-machine", "QUICK": "1"}
    asked = subprocess.run(
        ["make", "-n", "table", "NAME=landscape/steps", "CLUSTER=tcp://a:1", "CHECK=1", "PIP_ARGS=-q --no-cache"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split(maxsplit=2)[2]
    typed = "table 'NAME=landscape/steps' 'CLUSTER=tcp://a:1' 'CHECK=1' 'PIP_ARGS=-q --no-cache'"
    assert " ".join(asked.split()) == typed
    asked = subprocess.run(["make", "-n", "lab"], cwd=ROOT, env=env, capture_output=True, text=True, check=True).stdout
    assert asked.split()[1:] == ["course.py", "lab"]


def test_the_size_of_course():
    assert len((ROOT / "course.py").read_text(encoding="utf-8").splitlines()) <= 400


# -- the set-up and its stamp


@posix
def test_the_second_start_installs_nothing(tree):
    _stand_in(tree)
    assert _course(tree, "derive").returncode == 0
    install, derive = _asked(tree)
    assert install == f"-m pip install -c {tree / 'constraints.txt'} -e {tree}[lab,cluster]"
    assert derive == "-m book derive"
    assert _course(tree, "derive").returncode == 0
    assert _asked(tree) == ["-m book derive"]


@posix
def test_what_makes_it_install_again(tree):
    _stand_in(tree)
    _course(tree, "derive")
    _asked(tree)
    _course(tree, "site", "PIP_ARGS=-q --pre")
    assert _asked(tree)[0].endswith("[lab,site,cluster] -q --pre")  # more extras; those already there stay
    _course(tree, "derive")
    assert _asked(tree) == ["-m book derive"]
    for name in ("constraints.txt", "pyproject.toml"):
        with (tree / name).open("a", encoding="utf-8") as file:
            file.write("# another line\n")
        _course(tree, "derive")
        assert _asked(tree)[0].endswith("[lab,site,cluster]")
    moved = tree.rename(tree.with_name("moved"))
    _stand_in(moved)
    _course(moved, "derive")
    assert _asked(moved)[0].endswith(f"{moved}[lab,site,cluster]")


@posix
@pytest.mark.parametrize("stamp", ["", "[1]", '{"digest": 3, "extras": []}', '{"digest": "x"}'])
def test_a_broken_stamp_counts_as_none(tree, stamp):
    _stand_in(tree)
    (tree / ".venv" / "course-stamp.json").write_text(stamp, encoding="utf-8")
    _course(tree, "derive")
    assert len(_asked(tree)) == 2


@posix
def test_a_failed_installation_leaves_no_stamp(tree):
    _stand_in(tree)
    _course(tree, "derive")
    _stand_in(tree, "*install*) exit 1;;")
    assert _course(tree, "site").returncode == 1
    assert not (tree / ".venv" / "course-stamp.json").exists()


# -- the words


@posix
def test_lab_copies_the_pages_and_opens_the_welcome_page(tree):
    _stand_in(tree)
    (tree / "my").mkdir()
    assert _course(tree, "lab", "FRESH=landscape", "PORT=8899", "--no-browser").returncode == 0
    _, copy, lab = _asked(tree)
    assert copy == "-m book copy my/ --fresh landscape"
    for part in (
        f"--ServerApp.root_dir={tree / 'my'}",
        "/lab/tree/welcome.md",
        "--ServerApp.port=8899",
        "--no-browser",
        "{'jupyterlab_jupytext': False}",
    ):
        assert part in lab
    assert '"fetchNews": "false"' in (tree / ".venv" / "lab-settings" / "overrides.json").read_text(encoding="utf-8")


@posix
def test_options_in_the_environment(tree):
    """`FRESH=landscape make lab` works too; NAME, which WSL sets, and QUICK, which is not lab's, do no harm."""
    _stand_in(tree)
    (tree / "my").mkdir()
    assert _course(tree, "lab", FRESH="landscape", PIP_ARGS="-q", NAME="a-machine", QUICK="1", PORT="x").returncode == 0
    install, copy, _ = _asked(tree)
    assert install.endswith("[lab,cluster] -q")
    assert copy == "-m book copy my/ --fresh landscape"
    _one_line(_course(tree, "table", NAME="a-machine"), "table: say which")


@posix
def test_the_proof_is_asked_for_with_its_topic(tree):
    _stand_in(tree, "*book.proof*) exit 3;;")
    assert _course(tree, "test", "TOPIC=landscape").returncode == 3
    assert _asked(tree)[1:] == ["-m book.proof test landscape"]
    assert _course(tree, "test").returncode == 3 and _asked(tree) == ["-m book.proof test"]


@posix
def test_other_packages_have_an_environment_of_their_own(tree):
    _one_line(_course(tree, "test", "DEPS=latest"), "DEPS must be newest or oldest, got latest")
    for which, pin in (("newest", ""), ("oldest", " torch==2.8.*")):
        _stand_in(tree)
        (tree / ".venv").rename(tree / f".venv-{which}")
        assert _course(tree, "test", f"DEPS={which}").returncode == 0
        install, tests = _asked(tree)
        assert install.endswith(f"[lab,test,cluster]{pin}") and "-c " not in install
        assert tests.startswith("-m pytest tests") and "--ignore=tests/book" in tests


# -- the other files of the set-up


def test_environment_yml_is_what_conda_reads():
    """No conda here: every spec is parsed strictly, as conda would, and the pip part by pip itself."""
    from rattler import MatchSpec, Version, VersionSpec

    content = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert set(content) == {"name", "channels", "dependencies"}
    assert (content["name"], content["channels"][0]) == ("adaptive-training", "conda-forge")
    *conda, pip = content["dependencies"]
    specs = {
        str(spec.name.as_normalized if hasattr(spec.name, "as_normalized") else spec.name): spec
        for spec in (MatchSpec(text, strict=True) for text in conda)
    }
    assert len(specs) == 2, specs
    python = next(text for text in conda if text.startswith("python"))
    assert VersionSpec(python.removeprefix("python")).matches(Version("3.11.7"))
    six = ["torch", "matplotlib", "jupyterlab", "jupytext", "ipywidgets", "nbval"]
    assert pip == {"pip": ["-c constraints.txt", *six, "-e .[lab,cluster]"]}


def test_pip_reads_the_pip_part(tmp_path):
    content = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    lines = content["dependencies"][-1]["pip"]
    file = tmp_path / "requirements.txt"  # conda writes the lines beside environment.yml, hence the full path below
    file.write_text("\n".join(lines).replace("-c ", f"-c {ROOT}{os.sep}"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--no-build-isolation", "-r", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "adaptive-training" in done.stdout


def test_constraints_pin_every_direct_requirement_of_every_extra():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert list(project["optional-dependencies"]) == COURSE["EXTRAS"]
    pins = COURSE["read_pins"](ROOT / "constraints.txt")
    normal = {re.sub(r"[-_.]+", "-", name).lower() for name in pins}
    for line in itertools.chain(project["dependencies"], *project["optional-dependencies"].values()):
        name = re.fullmatch(r"([\w.-]+)>=[\w.]+", line)[1]
        assert re.sub(r"[-_.]+", "-", name).lower() in normal, f"{name}: run `make lock`"
    assert list(pins) == sorted(pins, key=str.lower)


def test_the_extra_lab_holds_what_its_words_import():
    """`lab`, `run` and `derive` start the tools in book/ with nothing but that extra installed."""
    import importlib.metadata
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["lab"]]
    allowed = {re.split(r"[>=]", line)[0].lower() for line in lines}
    homes = importlib.metadata.packages_distributions()
    tools = [path for path in (ROOT / "book").glob("*.py") if path.name not in ("conf.py", "sphinx_hooks.py")]
    for path in [*tools, *(ROOT / "labsupport" / "experiments").glob("*.py")]:
        for name in _imports(path) - {"book", "labsupport"} - set(sys.stdlib_module_names):
            assert {home.lower() for home in homes.get(name, [])} & allowed, f"{path.name} imports {name}"


def test_ci_runs_the_readmes_command_and_the_browser():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert "course test" in script
    assert "course browser" in script
    assert "make test" in (ROOT / "README.md").read_text(encoding="utf-8")


@posix
@pytest.mark.parametrize(("failing", "status"), [("none", 0), ("test", 1), ("browser", 1)])
def test_ci_fails_when_either_stage_fails(tmp_path, failing, status):
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    for name, body in (("make", f'[ "$1" != {failing} ]'), ("chromium", "exit 0")):
        (bin_ / name).write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        (bin_ / name).chmod(0o755)
    done = subprocess.run(
        ["bash", ".ci/run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=dict(os.environ, PATH=f"{bin_}{os.pathsep}{os.environ['PATH']}"),
    )
    assert done.returncode == status
    assert done.stdout.splitlines()[-1] == f"{2 - status} passed, {status} failed"


def test_the_module_needs_only_the_standard_library():
    assert _imports(ROOT / "course.py") <= set(sys.stdlib_module_names)


def _imports(path):
    """The top names of all modules that a file imports, at its head or inside functions."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    return {name.split(".")[0] for name in names}
