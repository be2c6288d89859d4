"""Memory and time of `lmnb train` on a text of hundreds of megabytes: the first start, which prepares it, and the second, which finds it prepared.

    python tests/bench/large.py [--megabytes 200] [--minutes 1] [--write no]

The text is made of the public sets in LMNB_DATA: their lines, drawn at random, each with a number, until it is large enough. Memory is that of the
command and all its processes together; the time of the start is that of the first word on training, which comes at most ten seconds late.
"""
import argparse, gzip, os, random, subprocess, sys, tempfile, time
from pathlib import Path

sys.path.insert(0, os.path.dirname(__file__))

SETS = "lm_wikitext2/train.txt.gz", "topic_agnews/test.csv.gz", "lm_zh_novels/hongloumeng.txt.gz", "lm_zh_novels/sanguoyanyi.txt.gz", "lm_tinystories_sample/tiny_stories.txt.gz"


def write_text(path, size):
    "A text of so many bytes."
    lines = []
    for name in SETS:
        with gzip.open(Path(os.environ["LMNB_DATA"])/name, "rt", encoding="utf-8") as file:
            lines += [line.strip() for line in file if 40 < len(line) < 3000]
    dice, written = random.Random(1), 0
    with open(path, "wb") as file:
        while written < size:
            written += file.write("".join(f"{dice.choice(lines)} {dice.randrange(10**6)}\n" for _ in range(2000)).encode() + b"\n")


def trained(path, minutes, name, home):
    "-> seconds until training began, seconds in all, largest memory in bytes."
    import psutil
    command = [sys.executable, "-c", "from lmnb.cli import main; main()", "train", "--data", path, "--minutes", str(minutes), "--name", name]
    began, start, peak = time.monotonic(), None, 0
    with open(home/f"{name}.txt", "wb") as log:
        run = subprocess.Popen(command, stderr=log, stdout=log, env={**os.environ, "LMNB_HOME": str(home)})
    process = psutil.Process(run.pid)
    while run.poll() is None:
        try:
            peak = max(peak, sum(one.memory_info().rss for one in [process, *process.children(recursive=True)]))
        except psutil.Error:
            pass                                       # one of them has just ended
        if start is None and b"targets/s" in (home/f"{name}.txt").read_bytes():
            start = time.monotonic() - began
        time.sleep(.2)
    if run.returncode:
        sys.exit((home/f"{name}.txt").read_text())
    return start, time.monotonic() - began, peak


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--write", default="yes", choices=["yes", "no"])
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        write_text(home/"text.txt", a.megabytes*10**6)
        for name in ("first", "second"):
            start, seconds, peak = trained(home/"text.txt", a.minutes, name, home)
            print(f"{a.megabytes} MB, {name} start: training after {start:.0f} s, {seconds:.0f} s in all, {peak/1e9:.2f} GB")
            if a.write == "yes":
                from common import append_row
                for metric, value, unit in (("time to training", start, "s"), ("time in all", seconds, "s"), ("memory", peak/1e9, "GB")):
                    append_row("Training on a large text", f"{a.megabytes} MB, {name} start", metric, value, unit=unit)


if __name__ == "__main__":
    main()
