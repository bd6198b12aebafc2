"""One door to the course: makes .venv, installs what a word needs into it, and does what the word says.

    python course.py lab       open the course in JupyterLab          FRESH=<topic>  PORT=<n>  --no-browser
    python course.py test      prove the course: code, rules, pages, site   TOPIC=<topic>  DEPS=newest|oldest
    python course.py site      build the site into _site/
    python course.py run       execute pages and store their outputs  PAGE=<topic>/<page>, all without it
    python course.py derive    make every derived file again
    python course.py table     make evidence too long for a page      NAME=<topic>/<name>  JOBS=<n>  CHECK=1
                                                                  CLUSTER=tcp://<a Dask scheduler>
    python course.py bench     time us beside the peers               TOPIC=<topic>|all  QUICK=1
    python course.py browser   drive the site and JupyterLab in a real Chromium   TOPIC=<topic>
    python course.py lock      resolve constraints.txt again          --keep: only what is missing

`make <word>` does the same. Every word takes PIP_ARGS="...", handed to pip. Windows: py course.py <word>.
Only the standard library is used here, and no syntax that an older Python cannot read.
"""

import errno
import hashlib
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "course-stamp.json"
CONSTRAINTS = ROOT / "constraints.txt"
EXTRAS = ["lab", "test", "site", "cluster"]
NO_VENV = "this Python lacks its {} module: install it (Debian: `sudo apt install python3-venv`), then try again"
LAB_SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/docmanager-extension:plugin": {"defaultViewers": {"markdown": "Markdown Preview"}},
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "defer"},
}


class Stop(Exception):
    """Ends the command with one line and exit status 1."""


def check_machine():
    if sys.version_info < (3, 11):
        raise Stop("Python 3.11 or newer is needed, this is %d.%d: install one from python.org or your system, "
                   "then run course.py with it (for example `python3.11 course.py lab`)" % sys.version_info[:2])
    for name in ("pyproject.toml", "constraints.txt", "labsupport"):
        if not (ROOT / name).exists():
            raise Stop(f"{ROOT} is not the course's folder ({name} is missing there): "
                       "get the whole repository and run course.py inside it")


def check_venv_module():
    for name in ("venv", "ensurepip"):
        if importlib.util.find_spec(name) is None:
            raise Stop(NO_VENV.format(name))


def environment(**more):
    """The environment of every child: one thread (faster for nets this small), UTF-8, this .venv's kernel."""
    env = dict(os.environ, PYTHONUTF8="1", PIP_DISABLE_PIP_VERSION_CHECK="1", JUPYTER_PREFER_ENV_PATH="1")
    env.setdefault("OMP_NUM_THREADS", "1")
    env["PATH"] = str(PYTHON.parent) + os.pathsep + env.get("PATH", "")
    env.update(more)
    return env


def set_up(extras, options):
    """Makes .venv and installs the extras, unless the stamp says that both are done."""
    check_machine()
    stamp = read_stamp()
    if stamp.get("digest") == digest() and set(extras) <= set(stamp["extras"]) and works("pass"):
        return
    make_venv()
    extras = [extra for extra in EXTRAS if extra in extras or extra in stamp.get("extras", [])]
    print(f"Installing the course ({', '.join(extras)}) into {VENV}: a few minutes, once.", flush=True)
    STAMP.unlink(missing_ok=True)
    pip(["install", "-c", str(CONSTRAINTS), "-e", f"{ROOT}[{','.join(extras)}]"], options)
    STAMP.write_text(json.dumps({"digest": digest(), "extras": extras}), encoding="utf-8")


def digest():
    """What an installation depends on: both files, the folder (it is an editable install) and the Python."""
    parts = [(ROOT / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")]
    parts.append(f"{ROOT} {sys.version_info[:2]}".encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def read_stamp():
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
        return stamp if isinstance(stamp["digest"], str) and isinstance(stamp["extras"], list) else {}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def works(code):
    try:
        return subprocess.run([str(PYTHON), "-c", code], capture_output=True).returncode == 0
    except OSError:
        return False


def make_venv():
    """Makes .venv, again where an earlier one is broken or belongs to another Python."""
    if works(f"import pip, sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"):
        return
    check_venv_module()
    print(f"Making {VENV} with Python {sys.version.split()[0]}.", flush=True)
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], capture_output=True, text=True)
    if made.returncode:
        refuse_known(made.stdout + made.stderr)
        lines = (made.stdout + made.stderr).strip().splitlines() or [f"exit status {made.returncode}"]
        raise Stop(f"python -m venv failed: {lines[-1]}")


def pip(arguments, options):
    """Runs pip with its progress shown; its complaints are held back until it is known whether one line says it all."""
    command = [str(PYTHON), "-m", "pip", *arguments, *shlex.split(options.get("PIP_ARGS", ""), posix=os.name != "nt")]
    child = subprocess.Popen(command, cwd=str(ROOT), env=environment(), stderr=subprocess.PIPE, text=True,
                             encoding="utf-8", errors="replace")
    complaints = []
    reader = threading.Thread(target=lambda: complaints.extend(child.stderr), daemon=True)
    reader.start()
    code = wait(child)
    reader.join(5)
    if code:
        text = "".join(complaints)
        refuse_known(text)
        sys.stderr.write(text)
        raise Stop("pip could not install the course; its own words are above")


def refuse_known(text):
    """Turns the failures that newcomers meet into one line."""
    full = re.search(r"No space left on device|Errno 28\b|not enough space on the disk|Disk quota exceeded", text)
    if full or shutil.disk_usage(str(ROOT)).free < 2 ** 23:  # python -m venv does not say why it failed
        raise Stop("the disk is full: an installation takes about 2 GB in the course's folder and some in the "
                   f"temporary one ({tempfile.gettempdir()}); free some and run the same command again")
    if re.search(r"No module named ensurepip|ensurepip is not available", text):
        raise Stop(NO_VENV.format("ensurepip"))
    if re.search(r"NewConnectionError|NameResolutionError|name resolution|getaddrinfo failed|ConnectTimeout|"
                 r"Failed to establish a new connection|Network is unreachable|Connection refused|ProxyError|"
                 r"ReadTimeoutError|Connection to \S+ timed out|hatchling\S* \(from versions: none\)", text):
        raise Stop("no network: the first installation downloads the packages; connect (behind a proxy or with a "
                   "mirror: PIP_ARGS=\"--proxy ...\" or \"--index-url ...\") and run the same command again")
    missing = re.search(r"No matching distribution found for (\S+)", text)
    if missing:
        raise Stop("pip finds no %s for Python %d.%d on this system: try another Python (the course is proved with "
                   "3.11)" % (missing.group(1), *sys.version_info[:2]))


def wait(child):
    """Waits for a child; after Ctrl-C, which the child got too, gives it time to save what it has."""
    try:
        return child.wait()
    except KeyboardInterrupt:
        try:
            child.wait(10)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            child.terminate()
        raise


def python(*arguments, **env):
    """Runs .venv's Python in the course's folder and returns the exit status."""
    return wait(subprocess.Popen([str(PYTHON), *arguments], cwd=str(ROOT), env=environment(**env)))


def must(code, what):
    if code:
        raise Stop(f"{what} failed (exit status {code}); the reason is above")


def lab(options):
    set_up(["lab", "cluster"], options)
    fresh = ["--fresh", options["FRESH"]] if "FRESH" in options else []
    must(python("-m", "book", "copy", "my/", *fresh), "copying the pages into my/")
    settings = VENV / "lab-settings"
    settings.mkdir(exist_ok=True)
    (settings / "overrides.json").write_text(json.dumps(LAB_SETTINGS, indent=1), encoding="utf-8")
    command = [str(PYTHON), "-m", "jupyterlab", f"--ServerApp.root_dir={ROOT / 'my'}",
               "--LabApp.default_url=/lab/tree/welcome.md", f"--LabApp.app_settings_dir={settings}",
               "--ServerApp.jpserver_extensions={'jupyterlab_jupytext': False}", "--log-level=WARN"]
    if "PORT" in options:
        command.append(f"--ServerApp.port={options['PORT']}")
    if "NO_BROWSER" in options:
        command.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    print("Opening JupyterLab; end it with Ctrl-C here.", flush=True)
    child = subprocess.Popen(command, cwd=str(ROOT / "my"), env=environment())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is JupyterLab's from here on: it asks whether to stop
    return child.wait()


def test(options):
    if "DEPS" in options:
        return test_elsewhere(options)
    set_up(["lab", "test", "site", "cluster"], options)
    return python("-m", "book.proof", "test", *topic(options))


def test_elsewhere(options):
    """The package's tests with the newest packages that pyproject.toml allows, or the oldest torch; in a .venv-…"""
    global VENV, PYTHON
    if options["DEPS"] not in ("newest", "oldest"):
        raise Stop(f"test: DEPS must be newest or oldest, got {options['DEPS']}")
    check_machine()
    VENV = ROOT / f".venv-{options['DEPS']}"
    PYTHON = VENV / PYTHON.relative_to(ROOT / ".venv")
    make_venv()
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    torch = [f"torch=={re.search(r'torch>=([0-9.]+)', text).group(1)}.*"] if options["DEPS"] == "oldest" else []
    pip(["install", "--upgrade", "--upgrade-strategy=eager", "-e", f"{ROOT}[lab,test,cluster]", *torch], options)
    left_out = ["--ignore=tests/book", "--ignore=tests/benchmarks", "--ignore=tests/test_course.py"]  # not the package
    return python("-m", "pytest", "tests", "-n2", "--dist=loadfile", *left_out)


def topic(options):
    return [options["TOPIC"]] if "TOPIC" in options else []


def site(options):
    set_up(["site"], options)
    must(python("-m", "book.proof", "site"), "building the site")
    print(f"The site: {ROOT / '_site'}/index.html")


def run(options):
    set_up(["lab", "cluster"], options)
    return python("-m", "book", "run", *([options["PAGE"]] if "PAGE" in options else []))


def derive(options):
    set_up(["lab", "cluster"], options)
    return python("-m", "book", "derive")


def table(options):
    set_up(["lab", "cluster"], options)
    more = ["--check"] if options.get("CHECK", "0") != "0" else []
    more += [f"--{name.lower()}={options[name]}" for name in ("JOBS", "CLUSTER") if name in options]
    return python("-m", "labsupport.experiments.tables", options["NAME"], *more)


def bench(options):
    set_up(["lab", "test", "cluster"], options)
    return python("-m", "benchmarks", options["TOPIC"], **{k: v for k, v in options.items() if k == "QUICK"})


def browser(options):
    set_up(["lab", "test", "site", "cluster"], options)
    if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))):
        raise Stop("no Chromium was found: install it (Debian: `sudo apt install chromium`) and run this again")
    return python("-m", "book.proof", "browser", *topic(options))


def lock(options):
    """Resolves every extra at once; torch keeps its exact pin (a newer one would change every stored output)."""
    check_machine()
    make_venv()
    before = read_pins(CONSTRAINTS)
    wanted = [f"torch=={before['torch']}", "-e", f"{ROOT}[{','.join(EXTRAS)}]"]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        keep = ["-c", str(CONSTRAINTS)] if "KEEP" in options else []
        pip(["install", "--dry-run", "--ignore-installed", "--report", str(report), *keep, *wanted], options)
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    pins = {item["metadata"]["name"]: item["metadata"]["version"].split("+")[0] for item in found}
    pins.pop("adaptive-training", None)
    lines = [f"{name}=={pins[name]}" for name in sorted(pins, key=str.lower)]
    CONSTRAINTS.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    for name in sorted(set(pins) | set(before), key=str.lower):
        if pins.get(name) != before.get(name):
            print(f"{name}: {before.get(name, 'new')} -> {pins.get(name, 'gone')}")
    print(f"{CONSTRAINTS.name}: {len(pins)} packages; now `make test`, and run the pages again where outputs moved")


def read_pins(path):
    return dict(line.split("==", 1) for line in path.read_text(encoding="utf-8").split() if "==" in line)


ENVIRONMENT = ["FRESH", "NO_BROWSER", "KEEP", "QUICK", "PIP_ARGS"]  # also read there; NAME and PORT may mean others'
# word: (what does it, the options it takes, the one it needs)
WORDS = {
    "lab": (lab, ["FRESH", "PORT", "NO_BROWSER"], None),
    "test": (test, ["TOPIC", "DEPS"], None),
    "site": (site, [], None),
    "run": (run, ["PAGE"], None),
    "derive": (derive, [], None),
    "table": (table, ["NAME", "JOBS", "CLUSTER", "CHECK"], "NAME"),
    "lock": (lock, ["KEEP"], None),
    "bench": (bench, ["TOPIC", "QUICK"], "TOPIC"),
    "browser": (browser, ["TOPIC"], None),
}


def read_command(arguments):
    """Reads `word NAME=value --flag`; an empty value counts as not given."""
    if not arguments or arguments[0] not in WORDS:
        raise Stop(f"say one of: {' '.join(WORDS)} (`python course.py --help` tells more)")
    word = arguments[0]
    function, known, needed = WORDS[word]
    known = [*known, "PIP_ARGS"]
    options = {name: os.environ[name] for name in known if name in ENVIRONMENT and os.environ.get(name)}
    for argument in arguments[1:]:
        name, equals, value = argument.partition("=")
        if name.startswith("--"):
            name, equals, value = name[2:].upper().replace("-", "_"), "=", value or "1"
        if not equals or name not in known:
            raise Stop(f"{word}: {argument} is not understood; it takes {', '.join(known)}, as NAME=value")
        if value:
            options[name] = value
    if needed and needed not in options:
        raise Stop(f"{word}: say which, for example `python course.py {word} {needed}=landscape`")
    for name in [name for name in ("PORT", "JOBS") if not options.get(name, "1").isdigit()]:
        raise Stop(f"{word}: {name} must be a number, got {options[name]}")
    return function, options


def main(arguments):
    if arguments[:1] in ([], ["help"], ["-h"], ["--help"]):
        print(__doc__)
        return 0
    try:
        function, options = read_command(arguments)
        return function(options) or 0
    except Stop as stop:
        message = str(stop)
    except KeyboardInterrupt:
        message = "stopped; what was finished is kept, and the same command goes on from there"
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        message = "the disk is full: free some space and run the same command again"
    print(f"course.py: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
