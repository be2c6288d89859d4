"""What the benchmark scripts share: one measured row is appended to results.jsonl, with all that is needed to repeat it."""
import datetime, functools, json, os, platform, re, subprocess, sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RESULTS = HERE / "results.jsonl"
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")       # what decides the speed of matrix products


def cpu():
    "The processor, how many cores this process may use, and its matrix instructions."
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try: text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError: return f"{platform.processor() or platform.machine()}, {cores} cores"
    name = re.search(r"model name\s*:\s*(.*)", text)
    flags = set((re.search(r"flags\s*:\s*(.*)", text) or ["", ""])[1].split())
    return ", ".join([name[1] if name else platform.machine(), f"{cores} cores", *(flag for flag in FLAGS if flag in flags)])


@functools.cache
def commit():
    "The commit that was measured: that of the first call; with a plus where the working tree differs from it."
    git = lambda *arguments: subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    changed = git("status", "--porcelain", "--untracked-files=no", "--", "lmnb", "nbs", "tests", ":!tests/bench/results.jsonl")
    return (git("rev-parse", "--short", "HEAD") or "none") + ("+" if changed else "")


def command():
    "The command line, without the folders of this machine."
    shown = [Path(a).name if os.path.isabs(a) else a for a in sys.argv[1:]]
    return " ".join(["python", Path(sys.argv[0]).resolve().relative_to(ROOT).as_posix(), *shown])


def append_row(bench, row, metric, value, *, low=None, high=None, n=None, unit="", peer="", peer_value=None, ratio=None, seed=0, write=True):
    "Append one figure to results.jsonl, and return it; with `write=False` only return it."
    record = dict(bench=bench, row=row, metric=metric, value=value, low=low, high=high, n=n, unit=unit, peer=peer, peer_value=peer_value,
                  ratio=ratio, seed=seed, commit=commit(), command=command(), cpu=cpu(), date=datetime.date.today().isoformat())
    if write:
        with open(RESULTS, "a", encoding="utf-8", newline="\n") as file: file.write(json.dumps(record, ensure_ascii=False) + "\n")
    return record
