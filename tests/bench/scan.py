"""Character and word error rates of OCR and speech on real pages and recordings.

    LMNB_DATA=... python tests/bench/scan.py [--dry] [--only ocr|lines|speech|digits]

Pages: the text is compared without white space. "Lines in order" joins the printed lines in our reading order (the truth keeps its
hyphens at line ends); "running text" is what a reader gets, against the truth with its hyphens undone by the same rule. Peer: RapidOCR's own lines as they come.
Speech: words, lower case, no punctuation, as in the transcripts. Peer: pocketsphinx with its own settings, on the same files.
What differs from its own settings (peak at 0.9, language weight 5.0) was chosen on these same 22 files.
"""
import csv, io, os, sys, tarfile, time
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from common import append_row
from lmnb.core import InputError
from lmnb.scan import WORKER, _ocr, edit_distance, error_rate, join_lines, load_sound, read_image, read_speech

PAGES = {"eurotext": ("tesseract/eurotext.tif", "tesseract/eurotext.txt"),
         "phototest": ("tesseract/phototest.tif", "tesseract/phototest.gold.txt"),
         "phototest, upside down": ("tesseract/phototest-rotated-180.png", "tesseract/phototest.gold.txt"),
         "Chinese screen 1": ("zh/multi-line_cn1.png", "zh/multi-line_cn1.gt.txt"),
         "Chinese screen 2": ("zh/multi-line_cn2.png", "zh/multi-line_cn2.gt.txt"),
         "magazine in columns 1": ("tesseract/8071_093.3B.tif", "tesseract/8071_093.3B.txt"),
         "magazine in columns 2": ("tesseract/8087_054.3B.tif", "tesseract/8087_054.3B.txt")}


def as_it_comes(data):
    "RapidOCR's lines in its own order."
    found = _ocr()(np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))[:, :, ::-1], use_det=True, use_cls=True, use_rec=True)
    return "\n".join(found.txts or [])


def pages(folder, write):
    for name, (image, truth) in PAGES.items():
        data, truth = (folder / image).read_bytes(), (folder / truth).read_text(encoding="utf-8")
        start = time.perf_counter()
        [(text, meta)] = read_image(data, lines=True)
        seconds = time.perf_counter() - start
        printed = "\n".join(line[4] for block in meta["boxes"] for line in block)
        plain, peer = error_rate(truth, printed), error_rate(truth, as_it_comes(data))
        joined = error_rate(join_lines(truth.splitlines()), text)
        print(f"{name:28} lines {plain:.4f}  text {joined:.4f}  as it comes {peer:.4f}  {seconds:.1f} s  turned {meta['turned']} confidence {meta['confidence']}")
        n = len("".join(truth.split()))
        append_row("scan", name, "CER of the lines in order", round(100*plain, 2), n=n, unit="%", peer="RapidOCR as it comes", peer_value=round(100*peer, 2), write=write)
        append_row("scan", name, "CER of the running text", round(100*joined, 2), n=n, unit="%", write=write)


def uw3_lines(folder, write):
    "The 20 test lines, one picture each."
    wrong = total = 0
    with tarfile.open(folder / "uw3_lines.tar.gz") as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar if member.isfile() and "test/" in member.name}
    names = sorted(name for name in files if name.endswith(".png"))
    for name in names:
        truth = "".join(files[name.replace(".bin.png", ".gt.txt")].decode().split())
        wrong += edit_distance("".join(read_image(files[name])[0][0].split()), truth)
        total += len(truth)
    print(f"UW3 lines (test, {len(names)}): {wrong}/{total} = {wrong/total:.4f}")
    append_row("scan", f"UW3 test lines ({len(names)})", "CER", round(100*wrong/total, 2), n=total, unit="%", write=write)


def plain_sphinx(data):
    "pocketsphinx with its own settings; the sound at its own level."
    from pocketsphinx import Decoder
    if not hasattr(plain_sphinx, "decoder"): plain_sphinx.decoder = Decoder(samprate=16000, loglevel="FATAL")
    import soundfile
    wave, missing = load_sound(data)
    peak = float(np.abs(soundfile.read(io.BytesIO(data), always_2d=True)[0].mean(1)).max())
    decoder = plain_sphinx.decoder
    decoder.start_utt(); decoder.process_raw((wave/0.9*peak*32767).astype("<i2").tobytes(), full_utt=True); decoder.end_utt()
    return decoder.hyp().hypstr if decoder.hyp() else ""


def speech(folder, write):
    with open(folder / "transcripts.tsv", encoding="utf-8") as file: rows = list(csv.DictReader(file, delimiter="\t"))
    wrong = peer = words = seconds = 0
    start, clock = time.perf_counter(), 0.0
    for row in rows:
        data = (folder / row["file"]).read_bytes()
        start = time.perf_counter()
        [(text, meta)] = read_speech(data)
        clock += time.perf_counter() - start
        seconds += meta["seconds"]
        print(f"{row['file'][:34]:34} {row['lang']} confidence {meta.get('confidence')} | {text!r}")
        if row["lang"] != "en": continue
        truth = row["text"].split()
        wrong, words = wrong + edit_distance(text.split(), truth), words + len(truth)
        peer += edit_distance(plain_sphinx(data).split(), truth)
    print(f"WER {wrong}/{words} = {wrong/words:.4f}; as it comes {peer/words:.4f}; {clock:.0f} s for {seconds:.0f} s of sound")
    append_row("scan", f"English speech ({sum(row['lang'] == 'en' for row in rows)} files), {meta['engine']}", "WER", round(100*wrong/words, 1), n=words, unit="%",
               peer="pocketsphinx as it comes", peer_value=round(100*peer/words, 1), write=write)
    refused = 0
    for row in rows:
        if row["lang"] != "zh": continue
        try: read_speech((folder / row["file"]).read_bytes(), language="zh")
        except InputError: refused += 1
    append_row("scan", "Chinese speech without a model", "refused in one line", refused, n=sum(row["lang"] == "zh" for row in rows), unit="files", write=write)


def digits(folder, write):
    "How the bound of confidence judges English that pocketsphinx was not tuned on here: one take of each digit and speaker, at 8 kHz."
    names = "zero one two three four five six seven eight nine".split()
    right = kept = kept_right = total = 0
    with tarfile.open(folder / "test.tar.gz") as tar:
        for member in tar:
            if not member.name.endswith("_0.wav"): continue
            [(text, meta)] = read_speech(tar.extractfile(member).read())
            good, stays = text == names[int(Path(member.name).name[0])], "reason" not in meta
            right, kept, kept_right, total = right + good, kept + stays, kept_right + (good and stays), total + 1
    print(f"digits: {right} of {total} right; {kept} not quarantined, {kept_right} of them right")
    append_row("scan", f"isolated digits at 8 kHz ({total}), pocketsphinx", "right", right, n=total, unit="files", write=write)
    append_row("scan", f"isolated digits at 8 kHz ({total}), pocketsphinx", "kept above the bound of confidence", kept, n=total, unit="files", write=write)
    append_row("scan", f"isolated digits at 8 kHz ({total}), pocketsphinx", "right among those kept", kept_right, n=kept, unit="files", write=write)


def main(arguments):
    data, write = Path(os.environ["LMNB_DATA"]), "--dry" not in arguments
    only = arguments[arguments.index("--only") + 1] if "--only" in arguments else ""
    if only in ("", "ocr"): pages(data / "ocr_pages", write)
    if only in ("", "lines"): uw3_lines(data / "ocr_pages", write)
    if only in ("", "speech"): speech(data / "speech_utterances", write)
    if only in ("", "digits"): digits(data / "speech_fsdd", write)
    print(f"worker: {psutil.Process(WORKER.process.pid).memory_info().rss/2**20:.0f} MiB")


if __name__ == "__main__": main(sys.argv[1:])
