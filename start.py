"""Set up lmnb and start it, with nothing but Python and pip.

    python start.py                  environment, pinned packages, `lmnb quickstart`, then the dashboard
    python start.py --no-open        the same, without opening the dashboard
    python start.py test             environment with the test tools, then the fast tests
    python start.py test --slow      the slow ones too

Other options go on to `lmnb quickstart` (as `--only lm,topics`) or to pytest (as `-k laws`).
Everything is installed into `.venv` beside this file: delete that folder, and it is gone.
"""
# Only the standard library; and down to the version check nothing that an old Python cannot read.
import sys

COST = "up to 2.8 GB of disk; 1 to 4 minutes if pip has the packages already, else as long as 450 MB take to download; training everything then takes 7 to 13 minutes on 2 cores, and up to 4 GB of memory"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
FREE_DISK = 4 * 10**9

if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    sys.exit("lmnb needs Python 3.11, 3.12 or 3.13, and this is {}.{}: start it with one of them, as in `python3.12 start.py` "
             "(Windows: `py -3.12 start.py`).".format(*sys.version_info[:2]))

import hashlib, importlib.util, os, platform, shutil, signal, subprocess, venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENV = HERE / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON, LMNB = (BIN / (name + (".exe" if os.name == "nt" else "")) for name in ("python", "lmnb"))


def main(arguments):
    "Set up what is missing, then do the one thing that was asked."
    if {"-h", "--help"} & set(arguments): return print(__doc__)
    testing = arguments[:1] == ["test"]
    rest = [a for a in arguments[testing:] if a not in ("--slow", "--no-open")]
    if rest and not testing and not rest[0].startswith("-"):
        stop(f"`{rest[0]}` is not known here: `python start.py` or `python start.py test` (see --help).", 2)
    set_up("dev" if testing else "")
    if testing:
        tier = ["-m", ""] if "--slow" in arguments else []
        return run(PYTHON, "-m", "pytest", *tier, *rest)
    code = run(LMNB, "quickstart", *rest)
    if code or "--no-open" in arguments: return code
    return run(LMNB, "app")


def set_up(extra):
    "Make `.venv` and install the pinned packages, unless this very set was installed before."
    note, wanted = VENV / "lmnb-installed", fingerprint()
    have = note.read_text().split() if note.exists() else []
    if have[:1] == [wanted] and (not extra or extra in have): return
    if shutil.disk_usage(HERE).free < FREE_DISK and not have:
        stop(f"{HERE} has {shutil.disk_usage(HERE).free / 1e9:.1f} GB free, and {FREE_DISK / 1e9:.0f} GB are needed: make room, or clone lmnb elsewhere.")
    print(f"Setting up {VENV}: {COST}." if not have else f"Bringing {VENV} up to date.", flush=True)
    pip = make_venv()
    pinned = ("-c", HERE / "constraints.txt")
    install(pip, *pinned, "hatchling", "setuptools", "wheel")    # what builds lmnb, and the two packages that come as source: pinned too
    install_torch(pip)
    install(pip, *pinned, "--no-build-isolation", "-e", f"{HERE}[{extra}]" if extra else HERE)
    extras = set(have[1:] if have[:1] == [wanted] else []) | {extra}
    note.write_text(" ".join([wanted, *sorted(extras)]).strip() + "\n")


def fingerprint():
    "A hash of all that decides what gets installed."
    parts = [(HERE / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")] + [sys.version.encode(), str(HERE).encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def make_venv():
    "Create `.venv` if need be; returns the command that runs pip for it."
    bundled = importlib.util.find_spec("ensurepip") is not None      # Debian's python3 leaves it out
    if not PYTHON.exists(): venv.create(VENV, with_pip=bundled)
    if subprocess.run([PYTHON, "-m", "pip", "--version"], capture_output=True).returncode == 0: return [PYTHON, "-m", "pip"]
    if importlib.util.find_spec("pip") is None:
        stop(f"{sys.executable} has neither ensurepip nor pip: install python3-venv (Debian, Ubuntu) or Python from python.org.")
    return [sys.executable, "-m", "pip", "--python", PYTHON]


def install_torch(pip):
    "The CPU build of torch: on Linux the default one brings 5 GB of CUDA, elsewhere the default is what we want."
    version = next(line for line in (HERE / "constraints.txt").read_text().splitlines() if line.startswith("torch=="))
    if platform.system() == "Linux":
        # what pip is configured for may have it (a mirror, a folder of wheels); else PyTorch's own index
        for place in ([f"{version}+cpu"], [version, "--index-url", CPU_INDEX]):
            if install(pip, "--no-deps", "--retries", 1, *place, may_fail=True): return
        print(f"{CPU_INDEX} cannot be reached: taking the default build, which is larger.", flush=True)
    install(pip, "--no-deps", version)


def install(pip, *what, may_fail=False):
    "One `pip install`: with its progress on a terminal, and without its complaints where a failure is an answer too."
    quiet = [] if sys.stdout.isatty() else ["--quiet"]
    command = [*map(str, pip), "install", "--disable-pip-version-check", *quiet, *map(str, what)]
    code = subprocess.run(command, stderr=subprocess.DEVNULL if may_fail else None).returncode
    if code and not may_fail: stop(f"pip could not install {what[-1]} (its own message stands above): mend that and run the same line again.")
    return code == 0


def run(*command):
    "Run a program in the foreground and return its exit code; being stopped is the program's to handle."
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}", "VIRTUAL_ENV": str(VENV)}
    with subprocess.Popen(list(map(str, command)), cwd=HERE, env=environment) as process:
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        while True:
            try: return process.wait()
            except KeyboardInterrupt: pass


def stop(message, code=1):
    "End with one plain line."
    print(message, file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    try: sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt: stop("Stopped: the same line goes on where it can.", 130)
