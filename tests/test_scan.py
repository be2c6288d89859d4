"""OCR and speech: reading order, ways up, limits, damage, and a worker that may die without its caller."""
import inspect, io, json, os, random, struct, subprocess, sys, threading, time, wave, zlib

import numpy as np
import pytest

PIL = pytest.importorskip("PIL.Image", reason="the extra lmnb[ocr] is not installed")
pytest.importorskip("rapidocr", reason="the extra lmnb[ocr] is not installed")
pytest.importorskip("pocketsphinx", reason="the extra lmnb[speech] is not installed")

from PIL import Image, ImageDraw, ImageFont

from lmnb.core import CorruptError, InputError
from lmnb.scan import (MAX_PAGES, WORKER, Line, Worker, blocks_of, edit_distance, error_rate, join_lines, load_sound, pages_of, paragraphs,
                       read_image, read_speech, reading_order, speech_spans, whisper_folder)

WORDS = "Language models are trained on text that somebody collected and cleaned with care"


def written(text=WORDS, size=(900, 600), mode="RGB"):
    "A picture with one line of text; not a strip, which the detector would enlarge until its short side has 736 pixels."
    page = Image.new("RGB", size, "white")
    ImageDraw.Draw(page).text((30, 40), text, fill="black", font=ImageFont.load_default(22))
    return page.convert(mode)


def encoded(image, form="PNG", **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def wav(samples, rate=16_000, channels=1):
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels); out.setsampwidth(2); out.setframerate(rate)
        out.writeframes(np.asarray(samples, "<i2").tobytes())
    return file.getvalue()


def png_header(width, height):
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(bytes(999))) + chunk(b"IEND", b"")


def one_line(error):
    assert "\n" not in str(error.value) and 10 < len(str(error.value)) < 400, str(error.value)
    return str(error.value)


# -- the measure -----------------------------------------------------------------------------------------------------

def plain_distance(a, b):
    "The textbook's table, cell by cell."
    table = [[i + j if 0 in (i, j) else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (a[i - 1] != b[j - 1]))
    return table[-1][-1]


def test_edit_distance_is_the_table():
    chance = random.Random(0)
    for _ in range(200):
        a, b = ("".join(chance.choices("ab语", k=chance.randint(0, 12))) for _ in range(2))
        assert edit_distance(a, b) == plain_distance(a, b) == edit_distance(b, a)


def test_error_rates_by_hand():
    assert error_rate("a b c d", "ab cd") == 0 and error_rate("a b", "a x b y", unit="word") == 1
    with pytest.raises(InputError): error_rate("  ", "x")


# -- geometry --------------------------------------------------------------------------------------------------------

def column(x, y, count, name, width=300):
    return [Line(x, y + 40*i, x + width, y + 40*i + 32, f"{name}{i}") for i in range(count)]


def read(lines):
    return [line.text for block in reading_order(blocks_of(lines)) for line in block]


@pytest.mark.parametrize("columns", [1, 2, 3])
def test_columns_under_a_title_are_read_one_by_one(columns):
    lines = [line for c in range(columns) for line in column(100 + 340*c, 200, 9, "abc"[c])]
    lines.append(Line(100, 100, 100 + 340*columns - 40, 150, "title"))
    shuffled = random.Random(1).sample(lines, len(lines))
    assert read(shuffled) == ["title"] + [f"{'abc'[c]}{i}" for c in range(columns) for i in range(9)]


def test_every_line_is_read_exactly_once():
    chance = random.Random(2)
    for _ in range(50):
        lines = [Line(x, y, x + chance.randint(5, 400), y + chance.randint(5, 60), str(i))
                 for i in range(chance.randint(0, 40)) for x, y in [(chance.randint(0, 1000), chance.randint(0, 1000))]]
        assert sorted(read(lines)) == sorted(line.text for line in lines)


def test_identical_boxes_are_all_kept():
    assert read([Line(0, 0, 10, 10, "a")]*3) == ["a"]*3


@pytest.mark.parametrize("texts, whole", [(["self-", "made"], "selfmade"), (["A-", "Team"], "A- Team"), (["1914-", "18"], "1914- 18"),
                                          (["中文", "换行"], "中文换行"), (["中文", "and"], "中文 and"), (["结束。", "“开始"], "结束。 “开始"), ([], "")])
def test_joined_lines(texts, whole):
    assert join_lines(texts) == whole


def test_paragraphs_begin_at_an_indent():
    block = [Line(0, 0, 300, 30, "One"), Line(0, 34, 300, 64, "one"), Line(30, 68, 300, 98, "Two"), Line(0, 102, 300, 132, "two")]
    assert paragraphs(block) == ["One one", "Two two"]


# -- pictures --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("form, mode", [("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "P"), ("PNG", "LA"), ("PNG", "I;16"), ("JPEG", "L"), ("JPEG", "CMYK"),
                                        ("TIFF", "1"), ("TIFF", "F"), ("WEBP", "RGB")])
def test_every_form_and_mode(form, mode):
    picture = written(mode="RGB")
    if mode == "I;16": picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16)*257)
    else: picture = picture.convert(mode)
    [(text, meta)] = read_image(encoded(picture, form))
    assert error_rate(WORDS, text) < 0.05 and meta["engine"].startswith("rapidocr 3") and meta["confidence"] > 0.9


def test_a_transparent_page_is_white():
    [(_, count, page)] = pages_of(encoded(Image.new("RGBA", (20, 20), (0, 0, 0, 0))))
    assert count == 1 and page.min() == 255


def test_pages_of_a_tiff_and_its_damage():
    pages = [written(f"Page number {name}", size=(500, 400)) for name in ("one", "two", "three")]
    data = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    found = read_image(data)
    assert [text for text, _ in found] == ["Page number one", "Page number two", "Page number three"]
    assert [meta["page"] for _, meta in found] == [1, 2, 3]
    cut = read_image(data[:len(data)*2//5])
    assert cut[0][0] == "Page number one" and cut[-1][1]["fate"] == "quarantined" and cut[-1][1]["reason"]


def test_blank_page_is_empty_with_a_reason():
    assert [(text, meta["reason"]) for text, meta in read_image(encoded(Image.new("L", (300, 300), 255)))] == [("", "no text found on the page")]
    assert read_image(encoded(Image.new("1", (1, 1))))[0][0] == ""


@pytest.mark.parametrize("data, kind", [(b"", InputError), (b"not a picture", InputError), (b"RIFF\x10\0\0\0WAVEfmt ", InputError), (b"GIF89a" + bytes(50), InputError),
                                        (encoded(written())[:700], CorruptError), (encoded(written(), "JPEG")[:900], CorruptError),
                                        (encoded(written(), "WEBP")[:300], (InputError, CorruptError)), (b"II*\0" + bytes(40), (InputError, CorruptError)),
                                        (encoded(written())[:60] + bytes(3000), CorruptError)])
def test_what_is_no_picture_is_one_line(data, kind):
    with pytest.raises(kind) as error: read_image(data)
    one_line(error)


def test_a_picture_too_large_is_refused_by_its_header():
    "65,000 x 65,000 pixels, within 10 s in an address space of 512 MB, by a worker of its own."
    worker, start = Worker(memory=256 << 20), time.monotonic()
    with pytest.raises(CorruptError) as error: worker.ask("image", png_header(65_000, 65_000), languages=["en"], lines=False)
    worker.stop()
    assert "65,000 x 65,000" in one_line(error) and time.monotonic() - start < 10


def test_too_many_pages_are_refused():
    dot = Image.new("1", (1, 1))
    data = encoded(dot, "TIFF", save_all=True, append_images=[dot]*MAX_PAGES)
    with pytest.raises(CorruptError, match="pages"): read_image(data)


def test_a_tiff_whose_pages_go_in_a_circle_ends():
    data = bytearray(encoded(written(size=(100, 60), text="circle")  , "TIFF"))
    first = struct.unpack_from("<I", data, 4)[0]
    entries = struct.unpack_from("<H", data, first)[0]
    struct.pack_into("<I", data, first + 2 + 12*entries, first)       # the next page is the first
    start = time.monotonic()
    try: assert len(read_image(bytes(data))) == 1
    except CorruptError as error: assert "\n" not in str(error)
    assert time.monotonic() - start < 30


def test_an_unknown_language_is_refused():
    with pytest.raises(InputError, match="'ar'"): read_image(b"", languages=("en", "ar"))


# -- speech ----------------------------------------------------------------------------------------------------------

def test_spans_keep_every_voiced_frame():
    chance = random.Random(3)
    for _ in range(50):
        voiced = [chance.random() < 0.3 for _ in range(chance.randint(0, 400))]
        spans = speech_spans(voiced, longest=3)
        assert all(a[1] <= b[0] + 1e-9 for a, b in zip(spans, spans[1:])) and all(0 < end - start <= 3.05 for start, end in spans)
        for i, is_speech in enumerate(voiced):
            if is_speech: assert any(start - 0.006 <= i*0.03 and (i + 1)*0.03 <= end + 0.006 for start, end in spans)


@pytest.mark.parametrize("rate, channels", [(8000, 1), (16000, 1), (22050, 2), (44100, 2), (48000, 1)])
def test_sound_is_brought_to_16_kilohertz(rate, channels):
    tone = 8000*np.sin(2*np.pi*440*np.arange(rate)/rate)
    found, missing = load_sound(wav(np.repeat(tone, channels), rate, channels))
    assert abs(len(found) - 16_000) <= 1 and not missing and abs(np.abs(found).max() - 0.9) < 0.01
    assert np.argmax(np.abs(np.fft.rfft(found))) == pytest.approx(440, abs=1)


@pytest.mark.parametrize("form", ["WAV", "FLAC", "MP3"])
def test_forms_of_sound(form):
    import soundfile
    file = io.BytesIO()
    soundfile.write(file, 0.3*np.sin(np.arange(16_000)/9), 16_000, format=form)
    assert abs(len(load_sound(file.getvalue())[0]) - 16_000) < 2500


@pytest.mark.parametrize("data", [b"", b"no sound", wav([]), b"RIFF", b"ID3\4" + bytes(100), png_header(9, 9), b"fLaC" + bytes(60)])
def test_what_is_no_sound_is_one_line(data):
    with pytest.raises((InputError, CorruptError)) as error: read_speech(data, language="en")
    one_line(error)


def test_silence_and_a_cut_recording():
    assert read_speech(wav(np.zeros(16_000)))[0][1]["reason"] == "no speech found in the recording"
    *_, (text, meta) = read_speech(wav(np.zeros(32_000))[:20_000])
    assert text == "" and meta["fate"] == "quarantined" and "cut off" in meta["reason"]


def test_chinese_without_a_model_is_one_line(fresh_home):
    with pytest.raises(InputError, match="model of your own") as error: read_speech(wav(np.zeros(100)), language="zh")
    one_line(error)


def test_a_folder_that_is_no_model(tmp_path, fresh_home):
    assert whisper_folder() is None
    with pytest.raises(InputError, match="no faster-whisper model"): whisper_folder(tmp_path)
    for name in ("model.bin", "config.json", "tokenizer.json"): (tmp_path/name).write_text("{}")
    pytest.importorskip("faster_whisper", reason="the extra lmnb[whisper] is not installed")
    with pytest.raises(InputError, match="cannot be loaded") as error: read_speech(wav(np.zeros(16_000)), language="zh", model=tmp_path)
    one_line(error)


def test_faster_whisper_has_the_options_that_are_used():
    whisper = pytest.importorskip("faster_whisper", reason="the extra lmnb[whisper] is not installed")
    assert {"device", "compute_type", "local_files_only", "cpu_threads"} <= set(inspect.signature(whisper.WhisperModel.__init__).parameters)
    assert {"audio", "language", "vad_filter"} <= set(inspect.signature(whisper.WhisperModel.transcribe).parameters)


# -- the worker ------------------------------------------------------------------------------------------------------

def test_one_worker_is_reused_and_a_crash_is_one_line():
    read_image(encoded(written()))
    first = WORKER.process.pid
    read_image(encoded(written()))
    assert WORKER.process.pid == first
    threading.Timer(0.1, WORKER.process.kill).start()
    with pytest.raises(CorruptError, match="crashed") as error:
        for _ in range(100): read_image(encoded(written(size=(1600, 1200))))
    one_line(error)
    assert error_rate(WORDS, read_image(encoded(written()))[0][0]) < 0.05 and WORKER.process.pid != first


def test_time_and_memory_have_limits():
    slow = Worker(patience=0.2)
    with pytest.raises(CorruptError, match="given up") as error: slow.ask("image", encoded(written()), languages=["en"], lines=False)
    one_line(error)
    small = Worker(memory=300 << 20)
    with pytest.raises(CorruptError) as error: small.ask("image", encoded(written(size=(4000, 4000))), languages=["en"], lines=False)
    one_line(error)
    small.stop()
    assert slow.process is None


def test_a_plain_script_may_call_it(tmp_path):
    "No `__main__` guard, no word on the standard streams but its own, and nothing left running."
    (tmp_path/"page.png").write_bytes(encoded(written()))
    (tmp_path/"script.py").write_text("from lmnb.scan import WORKER, read_image\nfound = read_image(open('page.png', 'rb').read())\nprint(WORKER.process.pid, found[0][0])\n")
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=100,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)})
    pid, text = done.stdout.strip().split(" ", 1)
    assert done.returncode == 0 and not done.stderr and error_rate(WORDS, text) < 0.05
    import psutil
    assert not psutil.pid_exists(int(pid))


def test_importing_it_loads_no_engine():
    code = "import sys, json, lmnb.scan; print(json.dumps([m for m in ('rapidocr', 'onnxruntime', 'cv2', 'pocketsphinx', 'torch', 'scipy', 'PIL') if m in sys.modules]))"
    assert json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout) == []


# -- real pages (where LMNB_DATA is) ---------------------------------------------------------------------------------

def test_large_pages_one_after_another_stay_within_their_budget(public_data):
    "Pages of A4 at 300 dots an inch: memory that one page needed does not count against the next."
    import psutil
    for page in ("8071_093.3B.tif", "8087_054.3B.tif"):
        (text, meta), = read_image((public_data/"ocr_pages/tesseract"/page).read_bytes())
        assert len(text) > 3000 and meta["confidence"] > 0.9
    assert psutil.Process(WORKER.process.pid).memory_info().rss < 400 << 20


@pytest.mark.parametrize("image, truth, bound", [("tesseract/eurotext.tif", "tesseract/eurotext.txt", 0.03), ("tesseract/phototest.tif", "tesseract/phototest.gold.txt", 0.03),
                                                 ("tesseract/phototest-rotated-180.png", "tesseract/phototest.gold.txt", 0.03),
                                                 ("zh/multi-line_cn1.png", "zh/multi-line_cn1.gt.txt", 0.03), ("zh/multi-line_cn2.png", "zh/multi-line_cn2.gt.txt", 0.03)])
def test_real_pages(public_data, image, truth, bound):
    folder = public_data/"ocr_pages"
    [(text, meta)] = read_image((folder/image).read_bytes())
    assert error_rate((folder/truth).read_text(encoding="utf-8"), text) <= bound


@pytest.mark.slow
@pytest.mark.parametrize("name", ["8071_093.3B", "8087_054.3B"])
def test_real_pages_in_columns(public_data, name):
    folder = public_data/"ocr_pages/tesseract"
    [(text, meta)] = read_image((folder/f"{name}.tif").read_bytes())
    assert error_rate(join_lines((folder/f"{name}.txt").read_text(encoding="utf-8").splitlines()), text) <= 0.10


def test_real_speech(public_data):
    folder = public_data/"speech_utterances"
    [(text, meta)] = read_speech((folder/"cards_005.wav").read_bytes(), language="en")
    assert error_rate("eight of spades four of clubs seven of hearts", text, unit="word") <= 0.25 and meta["engine"].startswith("pocketsphinx")
    assert "language_from" not in meta and all(0 <= start < end <= meta["seconds"] + 0.01 for start, end, *_ in meta["segments"])
    [(text, meta)] = read_speech((folder/"aishell-BAC009S0724W0121.wav").read_bytes())
    assert meta["fate"] == "quarantined" and "another language" in meta["reason"] and meta["language_from"].startswith("assumed")


@pytest.mark.parametrize("width, height", [(1, 50_000_000), (50_000_000, 1), (7, 7_000_000), (900, 60_000), (60_000, 900), (7_746, 7_746)])
def test_a_strip_is_refused_before_it_is_decoded(width, height, monkeypatch):
    from PIL import Image
    monkeypatch.setattr(Image.Image, "load", lambda image: pytest.fail("decoded"))
    rows = zlib.compressobj(1)
    chunk = lambda name, body: struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)) + chunk(b"IDAT", rows.compress(b"\0" * 999) + rows.flush()) + chunk(b"IEND", b"")
    (_, _, page), = pages_of(png)
    assert isinstance(page, CorruptError) and ("strip" in str(page) or "60,000,000" in str(page))


def test_a_line_of_text_is_no_strip():
    from PIL import Image
    for size in ((2000, 48), (3000, 20), (48, 2000), (900, 20_000)):
        box = io.BytesIO()
        Image.new("L", size, 255).save(box, "PNG")
        assert next(pages_of(box.getvalue()))[2].shape == (size[1], size[0], 3)
