"Formats: what a file is, what its bytes say, that damage costs only what is damaged, and that a weapon is refused."
import base64, bz2, csv, gzip, hashlib, io, json, lzma, os, random, re, struct, subprocess, sys, tarfile, threading, time, wave, zipfile, zlib
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lmnb import formats
from lmnb.collect import Document, document_of, language_tag, read, read_documents, write_documents
from lmnb.core import InputError
from lmnb.formats import DOCUMENT, LONGEST, decode, encoding_of, parts, records, rows_of, sniff, text_blocks, unpacked, wiki_text

POEM = "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。"
TRADITIONAL = "語言模型學習文字的規律，並預測下一個字。這是一個簡單的例子。"


def split(found):
    "(good texts, reasons) of an iterator of parts."
    found = list(found)
    return [text for text, meta in found if "fate" not in meta], [meta["reason"] for _, meta in found if "fate" in meta]


# -- makers of files -------------------------------------------------------------------------------------------------

def zipped(*members, method=zipfile.ZIP_DEFLATED):
    box = io.BytesIO()
    with zipfile.ZipFile(box, "w", method) as packed:
        for name, data in members: packed.writestr(name, data)
    return box.getvalue()


def tarred(*members, mode="w"):
    box = io.BytesIO()
    with tarfile.open(fileobj=box, mode=mode) as packed:
        for name, data in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(data)
            packed.addfile(info, io.BytesIO(data))
    return box.getvalue()


def link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zip_link(name, target):
    box = io.BytesIO()
    with zipfile.ZipFile(box, "w") as packed:
        info = zipfile.ZipInfo(name)
        info.create_system, info.external_attr = 3, 0o120777 << 16
        packed.writestr(info, target)
        packed.writestr("good.txt", "good")
    return box.getvalue()


def zst(data):
    import zstandard
    return zstandard.ZstdCompressor().compress(data)


def parquet(rows, group=100, **options):
    import pyarrow as pa, pyarrow.parquet as pq
    box = io.BytesIO()
    pq.write_table(pa.table(rows), box, row_group_size=group, **options)
    return box.getvalue()


def pdf(pages=("A page of text.",), *, title=None, password=None, blank=0):
    "A PDF, written by hand: a page is a stream that shows its text."
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", None, "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for text in [*pages, *[""]*blank]:
        stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET" if text else ""
        objects += [f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
                    f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >> /Contents {len(objects) + 1} 0 R >>"]
        kids.append(f"{len(objects)} 0 R")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>"
    data = written(objects)
    if not (password or title): return data
    from pypdf import PdfReader, PdfWriter
    writer, box = PdfWriter(clone_from=PdfReader(io.BytesIO(data))), io.BytesIO()
    if title: writer.add_metadata({"/Title": title})
    if password: writer.encrypt(password, algorithm="RC4-128")
    writer.write(box)
    return box.getvalue()


def written(objects):
    data, places = b"%PDF-1.4\n", []
    for number, text in enumerate(objects, 1):
        places.append(len(data))
        data += f"{number} 0 obj\n".encode() + (text if isinstance(text, bytes) else text.encode("latin-1")) + b"\nendobj\n"
    start = len(data)
    data += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode() + b"".join(f"{place:010} 00000 n \n".encode() for place in places)
    return data + f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()


def docx(*paragraphs, table=()):
    from docx import Document
    document, box = Document(), io.BytesIO()
    for text in paragraphs: document.add_paragraph(text)
    if table:
        made = document.add_table(len(table), len(table[0]))
        for i, row in enumerate(table):
            for j, cell in enumerate(row): made.cell(i, j).text = cell
    document.save(box)
    return box.getvalue()


def page(text): return f"<html><head><title>T</title></head><body><nav>Home</nav><article><p>{text}</p></article></body></html>"


def epub(*chapters, rights="CC BY 4.0", missing=()):
    opf = ('<package xmlns="http://www.idpf.org/2007/opf"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>Book</dc:title>'
           f'<dc:language>en</dc:language><dc:rights>{rights}</dc:rights></metadata><manifest>'
           + "".join(f'<item id="c{i}" href="c{i}.xhtml"/>' for i in range(len(chapters))) + "</manifest><spine>"
           + "".join(f'<itemref idref="c{i}"/>' for i in range(len(chapters))) + "</spine></package>")
    return zipped(("mimetype", "application/epub+zip"), ("META-INF/container.xml", '<container><rootfiles><rootfile full-path="OEBPS/book.opf"/></rootfiles></container>'),
                  ("OEBPS/book.opf", opf), *((f"OEBPS/c{i}.xhtml", page(text)) for i, text in enumerate(chapters) if i not in missing), method=zipfile.ZIP_STORED)


LONG = "It rained all day in the old town, and nobody went out to see the river. " * 8


def warc(*bodies, length=None):
    "Responses, each a small page; `length` gives a wrong length for the second."
    out = b""
    for i, body in enumerate(bodies):
        http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + body
        size = length if length is not None and i == 1 else len(http)
        out += f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://example.com/{i}\r\nContent-Type: application/http\r\nContent-Length: {size}\r\n\r\n".encode() + http + b"\r\n\r\n"
    return out


def wiki(*pages, head="", tail="</mediawiki>"):
    one = lambda title, text, extra: f"<page><title>{title}</title><ns>0</ns><id>1</id>{extra}<revision><id>2</id><text>{text}</text></revision></page>\n"
    return (f'{head}<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/"><siteinfo/>\n' + "".join(one(*page) for page in pages) + tail).encode()


def silence(seconds, rate=16000):
    box = io.BytesIO()
    with wave.open(box, "wb") as sound:
        sound.setnchannels(1); sound.setsampwidth(2); sound.setframerate(rate)
        sound.writeframes(bytes(2*int(seconds*rate)))
    return box.getvalue()


def png(width, height, *, rows=None):
    "A grey PNG; with rows=None only as much image data as a bomb needs."
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    packed = zlib.compress(bytes((width//8 + 1)*min(height, rows or 64)), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


PEAK = ("def peak():\n"                                       # kB; ru_maxrss would count what the parent had before the start
        "    try: return next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "    except OSError: return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n")


# -- what it is ------------------------------------------------------------------------------------------------------

KINDS = {
    "pdf": pdf(), "zip": zipped(("a.txt", "a")), "docx": docx("text"), "epub": epub(LONG), "gz": gzip.compress(b"a"), "bz2": bz2.compress(b"a"), "xz": lzma.compress(b"a"),
    "zst": zst(b"a"), "tar": tarred(("a.txt", b"a")), "parquet": parquet({"text": ["a"]}), "warc": warc(b"<p>a"), "wiki": wiki(("A", "b", "")),
    "html": page("a").encode(), "jsonl": b'{"text": "a"}\n{"text": "b"}\n', "json": b'[{"text": "a"}]', "csv": b'id,text\n1,"a, b"\n', "tsv": b"text\tlabel\na\tb\n",
    "subtitles": b"WEBVTT\n\n00:01.000 --> 00:02.000\nHi\n", "image": png(8, 8), "audio": silence(0), "text": "Just prose, in 中文 too.".encode(), "empty": b" \n", "binary": bytes(range(256)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["", "x.txt", "x.bin", "x.pdf"])
def test_the_kind_is_in_the_bytes(kind, name):
    assert sniff(KINDS[kind], name) == kind


@pytest.mark.parametrize("name,kind", [("a.md", "markdown"), ("a.csv", "csv"), ("a.csv.gz", "csv"), ("a.tsv", "tsv"), ("a.jsonl", "jsonl"), ("a.txt", "text"), ("a.png", "text")])
def test_the_name_decides_only_between_texts(name, kind):
    assert sniff(b"# something, with a comma\nand more, of it\n", name) == kind


def test_a_fragment_of_mp3_and_of_webp_are_known():
    assert sniff(b"ID3\3\0\0\0\0\0\0") == "audio" and sniff(b"\xff\xfb\x90\x64" + bytes(40)) == "audio" and sniff(b"RIFF\x10\0\0\0WEBPVP8 ") == "image"
    assert sniff("\ufeffÿ".encode("utf-16")) == "text" and sniff(b"BM is not a picture here") == "text" and sniff(b"ID3 trees were grown by Quinlan") == "text"


# -- encodings -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("text,encoding,found", [
    (POEM, "utf-8", "utf-8"), (POEM, "utf-8-sig", "utf-8"), (POEM, "utf-16", "utf-16"), (POEM, "utf-16-le", "utf-16-le"), (POEM, "utf-16-be", "utf-16-be"), (POEM, "gb2312", "gb18030"),
    (POEM, "gbk", "gb18030"), (POEM + "㐀𠀀", "gb18030", "gb18030"), (TRADITIONAL, "big5", "big5"), (TRADITIONAL, "gb18030", "gb18030"), ("Où est la bibliothèque, s’il vous plaît ?", "cp1252", "cp1252"),
    ("Ein schöner Tag für Größe", "latin-1", "cp1252"), ("Это русский текст, и он не короткий.", "cp1251", "cp1251"), ("A plain text of English words.", "utf-16-le", "utf-16-le")])
def test_encodings_are_found_and_recorded(text, encoding, found):
    assert decode(text.encode(encoding)) == (text, found)
    (said, meta), = parts(text.encode(encoding))
    assert said == text and meta.get("encoding", "utf-8") == found


def test_a_declared_encoding_is_believed_only_if_it_fits():
    data = "naïve".encode("latin-1")
    assert encoding_of(POEM.encode("gbk"), declared="gbk") == "gb18030" and encoding_of(POEM.encode(), declared="latin-1") == "utf-8"
    assert encoding_of("ある日の暮方の事である。".encode("shift_jis"), declared="shift_jis") == "cp932" and encoding_of(data, declared="nonsense") == "cp1252"


@pytest.mark.parametrize("encoding", ["gb18030", "big5hkscs", "utf-16-le", "utf-16-be", "cp1252"])
def test_real_texts_of_any_length_keep_their_encoding(public_data, encoding):
    text = {"big5hkscs": lambda: "\n".join(line for poem in map(json.loads, gzip.open(public_data / "lm_zh_tang_poems/test.jsonl.gz")) for line in poem["paragraphs"]),
            "cp1252": lambda: "Le cœur a ses raisons que la raison ne connaît point. Très bien, déjà vu; Füße und Äpfel. "*200}.get(encoding,
            lambda: gzip.open(public_data / "lm_zh_novels/hongloumeng.txt.gz").read().decode("utf-8", "ignore"))()
    dice, right = random.Random(0), Counter()
    for size in (20, 50, 200, 2000):
        for _ in range(40):
            start = dice.randrange(len(text) - size)
            piece = text[start:start + size].encode(encoding, "ignore")
            if piece.isascii() or encoding == "cp1252" and len(piece) < 50: continue
            try: right[size, decode(piece)[0] == piece.decode(encoding)] += 1
            except ValueError: right[size, False] += 1
    assert sum(n for (_, ok), n in right.items() if not ok) <= .02*sum(right.values()) and not right[2000, False], right


# -- the forms -------------------------------------------------------------------------------------------------------

def test_html_of_an_old_chinese_site():
    data = page("今天下了一整天的雨，河水涨了许多。" * 20).replace("<title>", '<meta charset="gb2312"><title>').encode("gbk")
    (text, meta), = parts(data, "page.pdf")
    assert text.startswith("今天下了一整天的雨") and meta["kind"] == "html" and meta["encoding"] == "gb18030" and meta["engine"]


def test_pdf_gives_a_document_a_page():
    found = list(parts(pdf(["One page.", "Another page."], title="Report")))
    assert [(text.strip(), meta["page"], meta["pages"], meta["title"]) for text, meta in found] == [("One page.", 1, 2, "Report"), ("Another page.", 2, 2, "Report")]
    assert all(re.match(r"pypdf \d", meta["engine"]) for _, meta in found)


def test_docx_with_a_table():
    (text, meta), = parts(docx("第一段。", "Second.", table=[["a", "b"], ["c", "d"]]))
    assert text == "第一段。\nSecond.\na\tb\nc\td" and meta["kind"] == "docx" and meta["engine"].startswith("lmnb")


def test_epub_by_chapter_and_with_licence():
    found = list(parts(epub(LONG, LONG.replace("rained", "snowed"), LONG, missing={2})))
    assert [meta["chapter"] for _, meta in found] == [1, 2, 3] and "snowed" in found[1][0] and found[0][1]["licence"] == "CC BY 4.0" and found[0][1]["language"] == "en"
    assert "chapter 3" in found[2][1]["reason"]


def test_tables_and_their_text_columns():
    assert split(parts(b'[{"content": "one", "n": 1}, "two", {"text": "three"}]')) == (["one", "two", "three"], [])
    assert split(parts('{"text": "a"}\n{"text": "b"}'.encode("utf-16"))) == (["a", "b"], [])
    assert split(parts("text;price\nfein;1,5\ngut;2,5\n".encode(), "a.csv")) == (["fein", "gut"], [])
    (text, meta), = parts(parquet({"text": ["好"], "page": [3], "raw": [b"\0"]}))
    assert text == "好" and meta["row"] == {"page": 3}


def test_subtitles_keep_their_times():
    vtt = "WEBVTT\n\nNOTE a remark\n\n1\n00:01.000 --> 00:02.500 align:start\n<v Ann>Hello\nthere\n\n01:00:00.000 --> 01:00:01.000\n再见\n"
    (text, meta), = parts(vtt.encode())
    assert text == "Hello there\n再见" and meta["times"] == [[1.0, 2.5], [3600.0, 3601.0]] and (meta["start"], meta["end"]) == (1.0, 3601.0)
    (text, meta), = parts("1\r\n00:00:01,000 --> 00:00:02,000\r\n早上好\r\n".encode("gb18030"), "a.srt")
    assert text == "早上好" and meta["encoding"] == "gb18030"


def test_wiki_markup_becomes_prose():
    assert wiki_text("'''Rain''' is [[water|wet]].{{cite|x}}<ref>no</ref>\n[[File:a.png|thumb|no]]\n{| \n| no\n|}\n[[Category:Rain]]雨").split() == ["Rain", "is", "wet.", "雨"]
    good, reasons = split(parts(wiki(("A", "'''Rain''' is wet.", ""), ("B", "#REDIRECT [[A]]", '<redirect title="A"/>'))))
    assert good == ["Rain is wet."] and reasons == ["a redirect"]


def test_a_pipe_is_read_like_a_file():
    class Pipe(io.RawIOBase):
        def __init__(self, data): self.data = io.BytesIO(data)
        def readable(self): return True
        def seekable(self): return False
        def readinto(self, buffer):
            data = self.data.read(min(len(buffer), 100)); buffer[:len(data)] = data
            return len(data)
    for data in (gzip.compress(tarred(("a.txt", POEM.encode("gbk")))), zipped(("a.txt", POEM.encode("gbk")))):
        assert split(parts(Pipe(data), "-")) == ([POEM], [])


# -- real files ------------------------------------------------------------------------------------------------------

def test_every_record_of_a_web_archive_is_accounted_for(public_data):
    "The number of records is warcio's where warcio gets to the end."
    from warcio.archiveiterator import ArchiveIterator
    ended = 0
    for path in sorted((public_data / "web_warc").rglob("*.*")):
        with open(path, "rb") as file: ours = list(parts(file, path.name))
        try:
            with open(path, "rb") as file: theirs = sum(1 for _ in ArchiveIterator(file))
        except Exception: continue
        ended += 1
        if path.name in ("bad.arc", "example-trunc.warc"): assert len(ours) >= theirs
        else: assert len(ours) == theirs, path.name
    assert ended >= 14
    good, reasons = split(parts((public_data / "web_warc/whirlwind.warc.wet.gz").read_bytes()))
    assert len(good) == 1 and good[0].startswith("Escopete") and reasons == ["a record of type warcinfo"]


@pytest.mark.parametrize("name", ["example.warc.gz", "example.warc"])
def test_a_damaged_web_archive_loses_the_damaged_record_only(public_data, name):
    data = (public_data / "web_warc/warcio" / name).read_bytes()
    kinds = lambda data: [meta.get("reason", "page") for _, meta in parts(data)]
    whole = kinds(data)
    spots = range(len(data)//20, len(data), len(data)//8)
    for at in spots:
        hurt = kinds(data[:at] + bytes(b ^ 0x55 for b in data[at:at + 3]) + data[at + 3:])
        assert len(set(enumerate(whole))) - sum((Counter(whole) & Counter(hurt)).values()) <= 2, (at, hurt)


def test_wikipedias_dump_page_by_page(public_data):
    path = public_data / "web_enwiki_dump/enwiki-table-markup.xml.bz2"
    data = bz2.decompress(path.read_bytes())
    whole, _ = split(parts(data))
    assert len(whole) == data.count(b"<page>") == 5 and not any("{{" in text or "[[" in text for text in whole)
    starts = [match.start() for match in re.finditer(rb"<page>", data)]
    hurt = data[:starts[1] + 2000] + b"</oops>\xff" + data[starts[1] + 2000:starts[4] + 5000]          # one page broken, the last cut off
    good, reasons = split(parts(hurt))
    assert good == [whole[0], whole[2], whole[3]] and len(reasons) == 2


@pytest.mark.slow
def test_the_whole_dump(public_data):
    with open(public_data / "web_enwiki_dump/enwiki-pages-articles-shortened.xml.bz2", "rb") as file: good, reasons = split(parts(file))
    assert len(good) == 106 and Counter(reasons) == {"a redirect": 100}


def test_news_pages_of_every_encoding_give_their_article(public_data):
    seen, encodings = 0, Counter()
    with open(public_data / "web_zh_news_pages/pages.tar.gz", "rb") as file:
        for text, meta in parts(file, "pages.tar.gz"):
            if meta["kind"] != "html": continue
            seen += "fate" not in meta
            encodings[meta.get("encoding", "utf-8")] += 1
            assert "fate" in meta or "\ufffd" not in text or "thepaper/" in meta["file"]   # that site published them
    assert seen == 60 and not encodings["gb18030"]           # they were stored as UTF-8, whatever their labels say


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16"])
def test_a_news_page_says_the_same_in_its_old_encoding(public_data, encoding):
    with tarfile.open(public_data / "web_zh_news_pages/pages.tar.gz") as packed:
        for name in ("163/1.html", "163/4.html"):
            page = packed.extractfile(name).read().decode()
            (new, _), = parts(page.encode())
            (old, meta), = parts(page.encode(encoding, "xmlcharrefreplace"))
            assert old == new and meta["encoding"] == encoding and len(old) > 100


def test_sets_of_many_forms_are_read_whole(public_data):
    assert len(split(read_all(public_data / "langid_udhr/udhr2.zip"))[0]) >= 380
    assert len(split(read_all(public_data / "topic_bbc/bbc.jsonl.gz"))[0]) == 2225
    assert split(read_all(public_data / "tok_gpt2_bpe/corpus.en"))[1] == []
    assert len(split(read_all(public_data / "sent_chnsenticorp/dev.tsv.gz"))[0]) in (0, 1200)      # its column is called otherwise: told, not guessed


def read_all(path):
    with open(path, "rb") as file: yield from parts(file, path.name)


# -- damage costs what is damaged ------------------------------------------------------------------------------------

JUNK = random.Random(0).randbytes(3000)
LINES = "".join(f"line {i} of a text, 第{i}行\n" for i in range(2000)).encode()
ROWS = "".join(json.dumps({"text": f"row {i} 第{i}行"}, ensure_ascii=False) + "\n" for i in range(2000)).encode()
TABLE = ("text,label\n" + "".join(f'"row {i}, 第{i}行",{i % 2}\n' for i in range(2000))).encode()
RICH = "".join(json.dumps({"text": f"row {i} " + hashlib.sha256(str(i).encode()).hexdigest()}) + "\n" for i in range(20_000)).encode()
PARQUET = parquet({"text": [f"row {i} " + hashlib.sha256(str(i).encode()).hexdigest() for i in range(1000)]}, compression="snappy", use_dictionary=False, write_page_checksum=True)
PAGE = page(LONG).encode()
insert = lambda data, what, at=None: data[:len(data)//2 if at is None else at] + what + data[len(data)//2 if at is None else at:]

# name: (file name, bytes, least good parts, bad parts (exact number, or None), a reason)
HOSTILE = {
    "one bad byte in a text": ("a.txt", insert(LINES, b"\xff"), 1, 1, "no utf-8"),
    "a hundred bad bytes": ("a.txt", b"".join(line + (b"\xfe" if i % 20 == 0 else b"") for i, line in enumerate(LINES.splitlines(True))), 1, 100, "no utf-8"),
    "bad bytes in GB18030": ("a.txt", insert(LINES.decode().encode("gb18030"), b"\xff\xff\xff"), 1, 1, "gb18030"),
    "half a unit in UTF-16": ("a.txt", "一行文字很好\n".encode("utf-16") + b"\x00", 1, 1, "cut off"),
    "a lone surrogate in UTF-16": ("a.txt", b"\xff\xfe" + "第一行\n".encode("utf-16-le") + b"\x00\xd8a\0\n\0" + "第三行\n".encode("utf-16-le"), 1, 1, "utf-16"),
    "a lone surrogate in UTF-8": ("a.txt", "good line\n".encode() + b"\xed\xa0\x80 bad\n" + b"good again\n", 1, 1, "utf-8"),
    "overlong and impossible UTF-8": ("a.txt", b"good\n\xc0\xafbad\n\xf5\x90\x80\x80bad\ngood too, all the rest of it\n" + LINES[:500], 1, 2, "utf-8"),
    "a NUL in a text": ("a.txt", insert(LINES, b"\0", at=LINES.index(b"line 900")), 1, 1, "NUL"),
    "foreign characters late": ("a.txt", b"plain ascii here\n"*9000 + (POEM + "\n").encode("gbk")*50, 1, 0, ""),
    "mixed line ends": ("a.txt", b"one\r\ntwo\rthree\nfour", 1, 0, ""),
    "only line ends": ("a.txt", b"\n\r\n\n", 0, 1, "empty"),
    "empty": ("a.txt", b"", 0, 1, "empty file"),
    "only NULs": ("a.txt", bytes(5000), 0, 1, "NUL"),
    "random bytes called text": ("a.txt", JUNK, 0, None, ""),
    "a long line": ("a.txt", b"word "*2_000_000, 2, 0, ""),
    "a long line without spaces and a bad byte": ("a.txt", insert(("语"*2_000_000).encode(), b"\xff", at=3_000_000), 1, 1, "utf-8"),
    "a bad line of JSON": ("a.jsonl", insert(ROWS, b'{"text": \n', at=ROWS.index(b'{"text": "row 1000')), 2000, 1, "Expecting value"),
    "JSON that is cut off": ("a.jsonl", ROWS[:-20], 1999, 1, "Unterminated"),
    "JSON of a million brackets": ("a.jsonl", ROWS + b"["*1_000_000, 2000, 1, "line 2001"),
    "JSON with a number of a million digits": ("a.jsonl", ROWS + b'{"text": ' + b"1"*1_000_000 + b"}", 2000, 1, ""),
    "a lone surrogate in JSON": ("a.jsonl", ROWS + b'{"text": "\\ud800"}\n', 2000, 1, "half a character"),
    "JSON without text": ("a.jsonl", ROWS + b'{"words": 3, "n": 4}\n[]\n3\nnull\n', 2000, 4, "no"),
    "bad bytes in a line of JSON": ("a.jsonl", insert(ROWS, b"\xff\xfe", at=ROWS.index("row 1000".encode()) + 2), 1999, 1, "utf-8"),
    "NUL in a line of JSON": ("a.jsonl", insert(ROWS, b"\0", at=ROWS.index("row 1000".encode()) + 2), 1999, 1, "NUL"),
    "a JSON array with a broken item": ("a.json", b'[{"text": "a"}, {"text": b}, {"text": "c"}, {"text": "d"}]', 3, 1, "item 1"),
    "a JSON array that is cut off": ("a.json", b"[" + b", ".join(ROWS.splitlines())[:-30], 1999, 1, "item 1999"),
    "JSON lines called CSV": ("a.csv", ROWS, 2000, 0, ""),
    "a quotation mark that never closes": ("a.csv", insert(TABLE, b'"open,1\n', at=TABLE.index(b'"row 1000')), 2000, 1, "unclosed"),
    "a row with too few fields": ("a.csv", TABLE + b"alone\n", 2000, 1, "1 fields, not 2"),
    "a row with too many fields": ("a.csv", TABLE + b"a,b,c,d\n", 2000, 1, "4 fields, not 2"),
    "bad bytes in a row": ("a.csv", insert(TABLE, b"\xff", at=TABLE.index(b"row 1000")), 1999, 1, "utf-8"),
    "NUL in a row": ("a.csv", insert(TABLE, b"\0", at=TABLE.index(b"row 1000")), 1999, 1, "NUL"),
    "a table without rows": ("a.csv", b"text,label\n", 0, 1, "no text"),
    "gzip that is cut off": ("a.jsonl.gz", gzip.compress(RICH)[:-2000], 19_900, 2, "gz"),
    "gzip without its checksum": ("a.txt.gz", gzip.compress(LINES)[:-8], 1, 1, "ends in the middle"),
    "gzip with a wrong checksum": ("a.txt.gz", gzip.compress(LINES)[:-8] + bytes(8), 1, 1, "damaged gz"),
    "gzip with rubbish after it": ("a.txt.gz", gzip.compress(LINES) + b"rubbish", 1, 1, "gz"),
    "gzip with padding after it": ("a.txt.gz", gzip.compress(LINES) + bytes(512), 1, 0, ""),
    "gzip of many members, one of them damaged": ("a.jsonl.gz", gzip.compress(ROWS) + bytes(b ^ 1 if 300 < i < 320 else b for i, b in enumerate(gzip.compress(ROWS))) + gzip.compress(ROWS), 4000, None, "gz"),
    "only the magic of gzip": ("a.gz", b"\x1f\x8b", 0, 2, "gz"),
    "bzip2 that is cut off": ("a.jsonl.bz2", bz2.compress(RICH)[:-20_000], 10_400, 2, "bz2"),
    "xz that is cut off": ("a.jsonl.xz", lzma.compress(RICH)[:-200], 19_800, 2, "xz"),
    "zstd that is cut off": ("a.jsonl.zst", zst(RICH)[:-5000], 17_000, 2, "zst"),
    "zstd that is damaged": ("a.jsonl.zst", insert(zst(RICH), b"\xff"*900), 5_000, None, "zst"),
    "a zip without its table": ("a.zip", zipped(("a.txt", LINES), ("b.txt", "two"), ("c.txt", LINES))[:-150], 3, 1, "damaged zip"),
    "a zip that is cut in a file": ("a.zip", zipped(("a.txt", LINES), ("b.txt", "two"), ("c.jsonl", ROWS))[:-3000], 500, None, "zip"),
    "a zip with a wrong checksum": ("a.zip", zipped(("a.txt", LINES), method=zipfile.ZIP_STORED).replace(b"line 77 ", b"line 78 "), 0, None, "CRC"),
    "a zip with one damaged member of three": ("a.zip", zipped(("a.txt", "one"), ("b.txt", b"b"*70_000), ("c.txt", LINES), method=zipfile.ZIP_STORED).replace(b"bbbb", b"bxbb", 1), 2, 1, "CRC"),
    "a zip with a short damaged member": ("a.zip", zipped(("a.txt", "one"), ("b.txt", "the second"), ("c.txt", "three"), method=zipfile.ZIP_STORED).replace(b"the second", b"the Second", 1), 2, 1, "CRC"),
    "a zip with a member packed in an unknown way": ("a.zip", zipped(("a.txt", "one"), ("b.txt", "two")).replace(b"PK\1\2\x14\3\x14\0\0\0\x08\0", b"PK\1\2\x14\3\x14\0\0\0\x63\0", 1), 1, 1, "not supported: That compression"),
    "a zip of a later version than is known": ("a.zip", zipped(("a.txt", "one")).replace(b"PK\1\2\x14\3\x14", b"PK\1\2\x14\3\x63", 1), 0, 1, "not supported: zip file version"),
    "a page behind thirty remarks": ("a.txt", b"<!-- a -->"*30 + b"x", 1, 0, ""),
    "a text after a long space": ("a.txt", b" \n"*40_000 + b"the text at last", 1, 0, ""),
    "a table after a long space": ("a.jsonl", b" "*70_000 + b"\n" + ROWS, 2000, 0, ""),
    "nothing but a long space": ("a.txt", b" "*100_000, 0, 1, "no text"),
    "one line of GBK after one of UTF-8": ("a.txt", "这是第一行文字，没有问题。\n".encode() + "这一行是另一种编码。\n".encode("gbk"), 1, 1, "no utf-8"),
    "one line of GBK after three of UTF-8": ("a.txt", "这是第一行文字，没有问题。\n".encode()*3 + "这一行是另一种编码。\n".encode("gbk"), 1, 1, "no utf-8"),
    "an array of open strings": ("a.json", b"[" + b'{"text":"a\n'*50_000, 0, 50_000, "Invalid control character"),
    "a tar that ends at a head": ("a.tar", tarred(("a.txt", b"one"), ("b.txt", b"two"))[:1536], 1, 1, "ends 3 bytes early"),
    "a tar that is cut off": ("a.tar", tarred(("a.txt", LINES), ("b.txt", LINES))[:-30_000], 1, None, "early"),
    "a tar with a damaged head": ("a.tar", insert(tarred(("a.txt", b"one"), ("b.txt", b"two"), ("c.txt", b"three")), b"", at=0).replace(b"b.txt", b"\xffhurt", 1), 2, 1, "no head"),
    "an archive with an empty file": ("a.zip", zipped(("a.txt", ""), ("b.txt", "two")), 1, 1, "empty file"),
    "a zip with a password": ("a.zip", bytes(b | 1 if i in (6,) else b for i, b in enumerate(zipped(("a.txt", "one"))))[:0] or zipped(("a.txt", "one")).replace(b"PK\1\2\x14\3\x14\0\0\0", b"PK\1\2\x14\3\x14\0\1\0"), 0, 1, "password"),
    "two files of one name": ("a.tar", tarred(("a.txt", b"one"), ("a.txt", b"two")), 2, 0, ""),
    "Parquet that is cut off": ("a.parquet", PARQUET[:-20_000], 700, 2, "Parquet"),
    "Parquet with a damaged row group": ("a.parquet", PARQUET[:30_000] + bytes(200) + PARQUET[30_200:], 800, 1, "row group"),
    "only the magic of Parquet": ("a.parquet", b"PAR1PAR1", 0, 2, "Parquet"),
    "a PDF with a password": ("a.pdf", pdf(["Secret."], password="x"), 0, 1, "password"),
    "a PDF that is cut off": ("a.pdf", pdf(["One.", "Two."])[:-300], 0, None, ""),
    "a PDF without its table": ("a.pdf", pdf(["One page."]).replace(b"startxref", b"startxxxx"), 1, 0, ""),
    "a PDF with a blank page": ("a.pdf", pdf(["One."], blank=1), 1, 1, "blank"),
    "a PDF of noise": ("a.pdf", b"%PDF-1.7\n" + JUNK, 0, 1, ""),
    "a Word file that is cut off": ("a.docx", docx("text")[:-500], 0, None, ""),
    "an encrypted Word file": ("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + JUNK, 0, 1, "encrypted"),
    "an e-book without its package": ("a.epub", zipped(("mimetype", "application/epub+zip"), method=zipfile.ZIP_STORED), 0, 1, "container"),
    "a web page called PDF": ("a.pdf", PAGE, 1, 0, ""),
    "a page with bad bytes": ("a.html", PAGE.replace(b"<nav>", b"\n\xff \n<nav>"), 1, 1, "utf-8"),
    "a page of a hundred thousand open tags": ("a.html", b"<html>" + b"<div>"*100_000 + LONG.encode(), 0, None, ""),
    "a page without text": ("a.html", b"<html><body><script>1</script></body></html>", 0, 1, "no article"),
    "a web archive with a wrong length": ("a.warc", warc(PAGE, PAGE, PAGE, length=5000), 2, None, "length"),
    "a web archive with a short length": ("a.warc", warc(PAGE, PAGE, PAGE, length=100), 2, None, ""),
    "a web archive with a negative length": ("a.warc", warc(PAGE, PAGE, PAGE, length=-5), 2, None, "no length"),
    "a web archive that is cut off": ("a.warc.gz", gzip.compress(warc(PAGE, PAGE)) + gzip.compress(warc(PAGE))[:-100], 2, None, ""),
    "a wiki dump that is cut off": ("a.xml", wiki(("A", "one.", ""), ("B", "two.", ""))[:-40], 1, 1, ""),
    "a wiki page that is no XML": ("a.xml", wiki(("A", "one.", ""), ("B", "a < b & c", ""), ("C", "three.", "")), 2, 1, "no XML"),
    "wiki markup that never closes": ("a.xml", wiki(("A", "{{[[&lt;ref&gt;"*20_000, ""), ("C", "three.", "")), 1, None, ""),
    "subtitles with a broken time": ("a.srt", b"1\n00:00:01,000 --> 00:00:02,000\nGood\n\n2\n00:00:03 -> 4\nBad\n\n3\n00:00:05,000 --> 00:00:06,000\nFine\n", 1, 1, "time stamps"),
    "old Office": ("a.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), 0, 1, "save it as"),
    "a program": ("a.txt", b"\x7fELF\2\1\1" + bytes(500), 0, 1, ""),
}


@pytest.mark.parametrize("compression", ["snappy", "zstd", "gzip", "none", "lz4", "brotli"])
@pytest.mark.parametrize("dictionary", [True, False])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_the_texts_of_a_parquet_file_without_its_end_are_saved(compression, dictionary, version):
    texts = [None if i % 7 == 0 else f"row {i} {hashlib.sha256(str(i).encode()).hexdigest()*(1 + i % 5)} 中文" for i in range(3000)]
    data = parquet({"id": list(range(3000)), "url": [f"http://x/{i % 50}" for i in range(3000)], "text": texts, "label": ["a", "b", "c"]*1000}, 1000,
                   compression=compression, use_dictionary=dictionary, data_page_version=version, data_page_size=50_000)
    whole = [text for text in texts if text]
    good, reasons = split(parts(data[:-8]))
    assert good == whole and len(reasons) == 2
    good, reasons = split(parts(data[:len(data)*2//3 + 2000]))
    assert len(good) >= 1714 and good == whole[:len(good)] and len(reasons) == 2


@pytest.mark.parametrize("name", HOSTILE)
def test_damage_costs_only_what_is_damaged(name):
    file, data, good, bad, reason = HOSTILE[name]
    began = time.monotonic()
    found = list(parts(data, file))
    texts, reasons = split(found)
    assert time.monotonic() - began < 30
    assert len(texts) >= good and (bad is None or len(reasons) == bad) and len(found) >= 1, (len(texts), reasons[:5])
    assert not reason or any(reason in said for said in reasons), reasons[:5]
    assert all("\n" not in said for said in reasons) and not any("\0" in text for text in texts)
    for _, meta in found: assert {"kind", "position"} <= set(meta) and json.dumps(meta)
    places = Counter((meta.get("file", file), meta["position"]) for _, meta in found)
    assert max(places.values()) == 1
    for text in texts: text.encode()


def test_nothing_of_a_text_is_lost_but_its_bad_lines():
    for encoding in ("utf-8", "gb18030", "big5", "utf-16-le"):
        text = "".join(f"這是第{i}行文字，沒有問題。\n" for i in range(40_000))
        lines = text.encode(encoding).split("\n".encode(encoding) if encoding != "utf-16-le" else b"\n\0") if encoding != "utf-16-le" else [line.encode(encoding) for line in text.split("\n")]
        broken = {7, 20_000, 39_998}
        end = "\n".encode(encoding)
        data = end.join(line + (b"\xff\xff" if i in broken and encoding != "utf-16-le" else b"\x00\xd8" if i in broken else b"") for i, line in enumerate(lines))
        found = list(formats.text_blocks(formats.Source(data, "x")))
        good, bad = "".join(t for _, t, r in found if not r), [t for _, t, r in found if r]
        assert len(bad) == 3 and good == "".join(line + "\n" for i, line in enumerate(text.split("\n")[:-1]) if i not in broken), encoding
        for offset, raw, reason in found:
            if reason: assert data[offset:offset + len(raw)] == raw


def test_noise_never_raises():
    dice = random.Random(1)
    seeds = [data for _, data, *_ in list(HOSTILE.values()) if len(data) < 50_000]
    for i in range(250):
        data = bytearray(dice.choice(seeds))
        for _ in range(dice.randrange(1, 8)):
            if data: at = dice.randrange(len(data)); data[at:at + dice.randrange(9)] = dice.randbytes(dice.randrange(9))
        if data[:4] == b"%PDF" and i % 5: continue
        if sniff(bytes(data)) in ("image", "audio"): continue
        found = list(parts(bytes(data), dice.choice(["x.txt", "x.jsonl", "x.csv", "x.zip"])))
        assert found and all(isinstance(text, str) and meta["kind"] for text, meta in found)


def test_a_damaged_member_is_named_and_costs_no_other():
    name, data, *_ = HOSTILE["a zip with a short damaged member"]
    assert [(meta["file"], meta.get("fate")) for _, meta in parts(data, name)] == [("a.zip/a.txt", None), ("a.zip/b.txt", "quarantined"), ("a.zip/c.txt", None)]


TABLES = {
    "a column in Chinese": ("a.csv", "标题,正文\n一,春眠不觉晓\n".encode(), ["春眠不觉晓"]),
    "a column in Chinese, in JSON": ("a.jsonl", '{"内容": "处处闻啼鸟", "n": 1}\n'.encode(), ["处处闻啼鸟"]),
    "a Chinese column tells the kind": ("a", "id,文本\n1,夜来风雨声\n".encode(), ["夜来风雨声"]),
    "lines that end with a carriage return": ("a.csv", b"text,n\rone,1\rtwo,2\r", ["one", "two"]),
    "the same in UTF-16": ("a.csv", "text,n\rone,1\rtwo,2\r".encode("utf-16"), ["one", "two"]),
    "the same without a name": ("a", b"text,n\rone,1\rtwo,2\r", ["one", "two"]),
    "rows in an object": ("a.json", b'{"data": [{"text": "one"}, {"text": "two"}], "version": 1}', ["one", "two"]),
    "rows in an object of many lines": ("a.json", b'{\n "rows": [\n  {"text": "one"},\n  {"text": "two"}\n ]\n}\n', ["one", "two"]),
    "an object with a text and a list": ("a.json", b'{"text": "one", "links": [{"text": "no"}]}', ["one"]),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_many_makes(name):
    file, data, texts = TABLES[name]
    assert split(parts(data, file)) == (texts, [])


def test_two_columns_of_one_name_are_both_kept():
    assert [row for _, row, _ in rows_of(b"text,text,x,text_2\na,b,c,d\n", "csv")] == [{"text": "a", "text_2": "b", "x": "c", "text_2_2": "d"}]
    began = time.process_time()
    assert len(next(iter(rows_of(b",".join([b"a"]*100_000) + b"\n" + b",".join([b"1"]*100_000), "csv")))[1]) == 100_000 and time.process_time() - began < 5


def test_an_array_of_broken_items_takes_no_time():
    began = time.process_time()
    assert len(list(parts(b"[" + b'{"text":"a\n'*200_000, "a.json"))) == 200_000 and time.process_time() - began < 15


def test_cues_without_a_blank_line_between():
    (text, meta), = parts(b"WEBVTT\n\n00:01.000 --> 00:02.000\nOne\n00:02.000 --> 00:03.000\nTwo\n00:03.000 --> 00:04.000\n42\n")
    assert text == "One\nTwo\n42" and meta["times"] == [[1, 2], [2, 3], [3, 4]]
    (text, _), = parts(b"1\n00:00:01,000 --> 00:00:02,000\nOne\n2\n00:00:03,000 --> 00:00:04,000\nTwo\n", "a.srt")
    assert text == "One\nTwo"


@pytest.mark.parametrize("raw", ["新闻/第一篇.txt".encode("gbk"), "新闻/第一篇.txt".encode(), "Größe.txt".encode("cp437")])
def test_names_in_a_zip_without_the_flag_of_utf_8(raw):
    wanted = raw.decode("cp437" if raw.startswith(b"G") else "utf-8" if raw.startswith("新".encode()) else "gbk")
    data = zipped(("x"*len(raw), "text")).replace(b"x"*len(raw), raw)
    assert [meta["file"] for _, meta in parts(data, "a.zip")] == [f"a.zip/{wanted}"]


def test_a_title_with_a_colon_is_no_language():
    assert wiki_text("See [[Re:Zero]] and [[de:Regen]][[檔案:a.png]][[Image:b.png]].") == "See Re:Zero and ."


def test_a_pair_of_bytes_may_be_chance():
    for text in ("Price: 100元", "元"): assert decode(text.encode("gbk")) == (text, "gb18030")
    for text in ("café", "α = 0.05", "я", "да и нет", "25 °C", "Ԫ Ԫ Ԫ", "元"): assert decode(text.encode()) == (text, "utf-8")


def test_pages_and_files_have_one_detector():
    from lmnb import web
    assert formats.encoding_of is web.encoding_of
    late = b"<script>" + b"x = 1;\n"*20_000 + b"</script><p>"
    for text, encoding, found in ((POEM, "gbk", "gb18030"), (TRADITIONAL, "big5", "big5"), ("Größe, schön und für alle", "latin-1", "cp1252"), (POEM, "utf-8", "utf-8")):
        assert web.page_text(late + text.encode(encoding)) == (late.decode() + text, found)
    assert encoding_of(POEM.encode("gbk"), declared="ISO-8859-1") == "gb18030"               # a server that says so of everything


@pytest.mark.parametrize("raw", [b"plain \xff", b"a \\xff that was written, and \xff that was not", b"\\xff alone"])
def test_quarantined_bytes_can_be_had_back(raw):
    text, meta = formats.bad(raw, "why")
    back = base64.b64decode(meta["raw"]) if "raw" in meta else re.sub(rb"\\x([0-9a-f]{2})", lambda byte: bytes.fromhex(byte[1].decode()), text.encode())
    assert back == raw and meta["bytes"] == len(raw) and ("raw" in meta) == (b"\\" in raw)


# -- weapons ---------------------------------------------------------------------------------------------------------

ZEROS = b"0"*50_000_000

def nested(levels, content, *, copies=1):
    for i in range(levels): content = zipped(*((f"{i}-{j}.zip", content) for j in range(copies)))
    return content


def deep_gzip(levels, data):
    for _ in range(levels): data = gzip.compress(data)
    return data


LAUGHS = '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "lol">' + "".join(f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};"*10}">' for i in range(9)) + "]>"
CYCLE = written(["<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [2 0 R] /Count 1 /Parent 2 0 R >>"])
FLATE = written(["<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [4 0 R] /Count 1 >>",
                 (lambda z: f"<< /Length {len(z)} /Filter [/FlateDecode /FlateDecode] >>\nstream\n".encode() + z + b"\nendstream")(zlib.compress(zlib.compress(bytes(200_000_000), 9), 9)),
                 "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 3 0 R >>"])


def lying_zip():
    "All entries share one large body, as in Fifield's bomb, with sizes that their table tells honestly."
    body, names = zlib.compressobj(9, zlib.DEFLATED, -15), [f"{i}.txt".encode() for i in [0]*500]
    content = b"a"*1_000_000
    packed = body.compress(content) + body.flush()
    crc = zlib.crc32(content)
    head = struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, 0, 8, 0, 33, crc, len(packed), len(content), 5, 0) + b"0.txt" + packed
    table = b"".join(struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", 20, 20, 0, 8, 0, 33, crc, len(packed), len(content), len(name), 0, 0, 0, 0, 0, 0) + name for name in names)
    return head + table + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, len(names), len(names), len(table), len(head), 0)


BOMBS = {
    "gzip": ("a.gz", gzip.compress(ZEROS), "refused"), "gzip of NULs": ("a.gz", gzip.compress(bytes(50_000_000)), "refused"), "bzip2": ("a.bz2", bz2.compress(ZEROS), "refused"),
    "xz": ("a.xz", lzma.compress(ZEROS), "refused"), "zstd": ("a.zst", zst(ZEROS), "refused"), "zip": ("a.zip", zipped(("a.txt", ZEROS)), "refused"),
    "gzip in gzip": ("a.gz", deep_gzip(2, bytes(500_000_000)), "refused"), "a zip of zips": ("a.zip", nested(3, zipped(("a.txt", ZEROS[:10_000_000])), copies=8), "refused"),
    "ten levels": ("a.zip", nested(10, zipped(("a.txt", b"deep"))), "packed more than"), "overlapping files": ("a.zip", lying_zip(), ""),
    "tar.gz": ("a.tar.gz", gzip.compress(tarred(("a.txt", ZEROS))), "refused"),
    "a path that leads out": ("a.zip", zipped(("../../evil.txt", "x"), ("good.txt", "good")), "path"), "an absolute path": ("a.tar", tarred(("/etc/evil.txt", b"x"), ("good.txt", b"good")), "path"),
    "a path of Windows": ("a.zip", zipped(("..\\..\\evil.txt", "x"), ("C:/evil.txt", "x"), ("good.txt", "good")), "path"),
    "a symbolic link in tar": ("a.tar", tarred((link("passwd", "/etc/passwd"), b""), ("good.txt", b"good")), "not followed"), "a hard link": ("a.tar", tarred((link("x", "/etc/passwd", tarfile.LNKTYPE), b""), ("good.txt", b"good")), "not followed"),
    "a symbolic link in zip": ("a.zip", zip_link("passwd", "/etc/passwd"), "not followed"), "a device": ("a.tar", tarred((link("null", "", tarfile.CHRTYPE), b"")), "not followed"),
    "XML entities": ("a.xml", (LAUGHS + "<lolz>&j;</lolz>").encode(), "refused"), "entities in a wiki dump": ("a.xml", wiki(("A", "&j;", ""), head=LAUGHS), "refused"),
    "entities in a Word file": ("a.docx", zipped(*((name, LAUGHS + "<w>&j;</w>") for name in ("[Content_Types].xml", "word/document.xml"))), ""),
    "entities in an e-book": ("a.epub", epub(LONG, rights="&j;").replace(b"<package", b"<package")[:0] or zipped(("mimetype", "application/epub+zip"), ("META-INF/container.xml", LAUGHS + "<c>&j;</c>"), method=zipfile.ZIP_STORED), "refused"),
    "a PDF that is its own page": ("a.pdf", CYCLE, ""), "a PDF packed twice": ("a.pdf", FLATE, ""), "a picture of 65,000 squared": ("a.png", png(65_000, 65_000), ""),
}


def read_apart(folder, cases):
    "Files read in one process of its own: seconds, parts, peak memory so far; the peak of its children; whether the folder is as it was."
    for i, (file, data, *_) in enumerate(cases.values()):
        (folder / f"{i:03}").mkdir()
        (folder / f"{i:03}" / file).write_bytes(data)
    code = ("import glob, json, resource, sys, time\nfrom lmnb.formats import parts\n" + PEAK +
            "for path in sorted(glob.glob('[0-9]*/*')):\n"
            "    began = time.monotonic()\n"
            "    found = [(len(text), meta.get('reason'), meta.get('fate')) for text, meta in parts(open(path, 'rb'), path)]\n"
            "    print(json.dumps([path, time.monotonic() - began, peak(), found[:50], len(found), sum(size for size, *_ in found)]), flush=True)\n"
            "from lmnb import formats\n"
            "if formats.WORKER.process: formats.WORKER.stop()\n"
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n")
    before = sorted(path.relative_to(folder) for path in folder.rglob("*"))
    run = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-2000:]
    *rows, children = run.stdout.splitlines()
    return {name: json.loads(row) for name, row in zip(cases, rows)}, int(children), before == sorted(path.relative_to(folder) for path in folder.rglob("*"))


@pytest.fixture(scope="module")
def exploded(tmp_path_factory):
    return read_apart(tmp_path_factory.mktemp("bombs"), BOMBS)


@pytest.mark.skipif(sys.platform == "win32", reason="the peak of memory is read from the resource module")
def test_damaged_files_need_little_time_and_memory(tmp_path):
    rows, children, untouched = read_apart(tmp_path, HOSTILE)
    assert len(rows) == len(HOSTILE) >= 60 and untouched and children < 2**20
    for name, (_, seconds, peak, *_) in rows.items(): assert seconds < 30 and peak < 2**20, (name, seconds, peak)


@pytest.mark.skipif(sys.platform == "win32", reason="the peak of memory is read from the resource module")
@pytest.mark.parametrize("name", BOMBS)
def test_a_weapon_is_refused_in_seconds_and_little_memory(exploded, name):
    (_, seconds, peak, found, count, size), children, untouched = exploded[0][name], *exploded[1:]
    reasons = [reason for _, reason, fate in found if fate]
    assert seconds < 10 and peak < 512*1024, (seconds, peak)
    assert reasons and any(BOMBS[name][2] in reason for reason in reasons), reasons
    assert size < 20_000_000
    assert untouched and children < 512*1024 and not Path("/etc/evil.txt").exists()
    if "good.txt" in str(BOMBS[name][1]): assert any(not fate and length == 4 for length, _, fate in found)


def test_a_link_in_a_folder_is_not_followed(tmp_path):
    (tmp_path / "in").mkdir(); (tmp_path / "secret.txt").write_text("secret text"); (tmp_path / "in/good.txt").write_text("good text")
    try: (tmp_path / "in/link.txt").symlink_to(tmp_path / "secret.txt")
    except OSError: pytest.skip("no symbolic links here")
    assert [doc.text for doc in read(tmp_path / "in")] == ["good text"]


# -- collect ---------------------------------------------------------------------------------------------------------

def test_a_folder_of_everything(tmp_path):
    for name, data in {"a.pdf": pdf(["On paper."]), "b.docx": docx("In Word."), "c.zip": zipped(("in/one.txt", "Zipped."), ("two.csv", "text\nIn a table.\n")),
                       "d.tar.gz": gzip.compress(tarred(("x.md", b"# In a tar"))), "e.txt": POEM.encode("gbk"), "f.html": PAGE, "g.bin": bytes(range(256)), "h.parquet": parquet({"text": ["columns"]}),
                       "i.tar.gz": gzip.compress(tarred(("x.docx", docx("Word in a tar.")), ("y.zip", zipped(("z.parquet", parquet({"text": ["deep"]})))), ("p.pdf", pdf(["PDF in a tar."]))))}.items():
        (tmp_path / name).write_bytes(data)
    docs = list(read(tmp_path))
    said = {doc.source.removeprefix(tmp_path.as_posix() + "/"): (doc.text.strip()[:20], doc.kind) for doc in docs if "fate" not in doc.meta}
    assert said["c.zip/in/one.txt"] == ("Zipped.", "text") and said["c.zip/two.csv"] == ("In a table.", "csv") and said["d.tar.gz/x.md"] == ("# In a tar", "markdown")
    assert said["i.tar.gz/x.docx"][0] == "Word in a tar." and said["i.tar.gz/y.zip/z.parquet"][0] == "deep" and said["i.tar.gz/p.pdf"][0] == "PDF in a tar."
    assert len(said) == 11 and len(docs) == 12 and len({doc.id for doc in docs}) == 12 and [doc.meta["reason"] for doc in docs if doc.meta.get("fate")]
    assert write_documents(tmp_path / "out.jsonl", iter(docs)) == 12 and list(read_documents(tmp_path / "out.jsonl")) == docs


def test_names_standard_input_and_the_hub(tmp_path, monkeypatch):
    assert next(read("topics")).source.startswith("topics/")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(b'{"text": "piped"}\n'))))
    assert [(doc.text, doc.source) for doc in read("-")] == [("piped", "stdin")]
    with pytest.raises(InputError, match="network") as error: list(read("hf:nobody/nothing"))
    assert "\n" not in str(error.value)


HUB = {"default/train/0000.parquet": {"text": ["first row of the set", "第二行"], "label": ["a", "b"]}, "default/test/0000.parquet": {"text": ["a row to test with"]}}


class Hub(BaseHTTPRequestHandler):
    "The hub, as far as it is asked: what a data set is, which files it has, ranges of their bytes; any other name is unknown."
    protocol_version = "HTTP/1.1"
    files = {name: parquet(rows) for name, rows in HUB.items()}
    def log_message(self, *arguments): pass

    def answer(self, data, code=200, **headers):
        data = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.send_response(code)
        for name, value in {"Content-Length": str(len(data)), "Content-Type": "application/json", **headers}.items(): self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD": self.wfile.write(data)

    def do_GET(self):
        asked = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode().replace("%2F", "/")
        place, _, file = self.path.partition("?")[0].partition("/refs%2Fconvert%2Fparquet")
        tree = [dict(type="file", path=name, oid="2"*40, size=len(data)) for name, data in self.files.items()]
        if place in ("/api/datasets/owner/name", "/api/datasets/owner/name/revision"): self.answer(dict(id="owner/name", sha="1"*40, private=False, gated=False, disabled=False, downloads=0, likes=0, tags=[], siblings=[], cardData=dict(license="cc-by-4.0")))
        elif place == "/api/datasets/owner/name/tree": self.answer(tree)
        elif place == "/api/datasets/owner/name/paths-info": self.answer([row for row in tree if row["path"] in asked])
        elif place == "/datasets/owner/name/resolve":
            data, part = self.files[file[1:]], re.match(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            a, b = map(int, part.groups()) if part else (0, len(data) - 1)
            self.answer(data[a:b + 1], 206 if part else 200, Content_Range=f"bytes {a}-{b}/{len(data)}", ETag='"x"')
        else: self.answer({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
    do_HEAD = do_POST = do_GET


def test_a_data_set_of_the_hub(tmp_path):
    "Through the command, in a process of its own: the hub's library reads its address when it is imported."
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(.02,), daemon=True).start()
    code = ("import json, sys\nfrom lmnb.collect import read\nfrom lmnb.core import InputError\nfor doc in read('hf:owner/name'): print(json.dumps([doc.text, doc.source, doc.kind, doc.meta]))\n"
            "try: list(read('hf:owner/other'))\nexcept InputError as error: print(json.dumps(str(error)))")
    env = {**os.environ, "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HOME": str(tmp_path)}
    try: run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)
    finally: server.shutdown(); server.server_close()
    assert run.returncode == 0, run.stderr[-2000:]
    *rows, refused = map(json.loads, run.stdout.splitlines())
    assert [text for text, *_ in rows] == ["a row to test with", "first row of the set", "第二行"] and all(kind == "parquet" and meta["licence"] == "cc-by-4.0" for *_, kind, meta in rows)
    assert rows[1][1].startswith("hf:datasets/owner/name") and rows[1][1].endswith("default/train/0000.parquet") and rows[1][3]["label"] == "a"
    assert "hf:owner/other cannot be read" in refused and "\n" not in refused


@pytest.mark.skipif(sys.platform == "win32", reason="SIGSTOP")
def test_the_worker_of_pdfs_may_hang_crash_be_left_or_be_asked_twice(monkeypatch):
    import signal, threading
    from lmnb.scan import Late, Worker
    worker, data = Worker("lmnb.formats:serve_pdf", memory=400 << 20, patience=20), pdf([f"Page {i}." for i in range(30)])
    monkeypatch.setattr(formats, "WORKER", worker)
    texts = lambda: [text for text, meta in parts(data, "a.pdf") if "fate" not in meta]
    whole, first = texts(), worker.process.pid
    assert len(whole) == 30 == len(texts()) and worker.process.pid == first                     # one process for many files
    one, other = parts(data, "a.pdf"), parts(data, "b.pdf")                                      # read in turn: the second has a worker of its own
    assert [next(one)[0], next(other)[0], next(one)[0]] == [whole[0], whole[0], whole[1]]
    one.close(); other.close()                                                                   # left in the middle: what is left must not be the next one's
    assert worker.process is None and texts() == whole
    os.kill(worker.process.pid, signal.SIGSTOP)
    threading.Timer(.5, worker.process.kill).start()
    assert [meta["reason"].partition(":")[0] for text, meta in parts(data, "a.pdf")] == ["the reader crashed on it (SIGKILL)"] and texts() == whole
    worker.patience = .4
    os.kill(worker.process.pid, signal.SIGSTOP)
    with pytest.raises(Late, match="given up"): worker.ask("pdf", data, first=0)
    worker.patience = 20
    assert texts() == whole
    worker.stop()


def test_an_address_goes_through_web(monkeypatch):
    import lmnb.web
    monkeypatch.setattr(lmnb.web, "fetch", lambda url, **options: (PAGE, {"url": url, "modified": "yesterday", "charset": "utf-8", "options": options}))
    doc, = read("https://example.com/a.pdf", allow_private=True)
    assert doc.text.startswith("It rained") and doc.source == "https://example.com/a.pdf" and doc.kind == "html" and doc.meta["modified"] == "yesterday"


def test_an_interrupted_writing_leaves_nothing(tmp_path):
    def broken():
        yield from read("topics")
        raise KeyboardInterrupt
    (tmp_path / "out.jsonl").write_text("old")
    with pytest.raises(KeyboardInterrupt): write_documents(tmp_path / "out.jsonl", broken())
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"] and (tmp_path / "out.jsonl").read_text() == "old"


def documents(rows, tmp_path):
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return list(read(tmp_path / "in.jsonl"))


def test_a_row_cannot_say_what_lmnb_says(tmp_path):
    doc, = documents([dict(text="fine", line="x", engine="y", fate="dropped", step="z", twin="a", similarity=1, cut=2, found={"a": 1}, label="good")], tmp_path)
    assert doc.meta == {"line": 1, "engine": "y", "label": "good"}
    doc = document_of("fine", {"kind": "html", "position": 0, "url": "http://real", "engine": "real", "row": {"url": "http://false", "engine": "false", "n": 1}}, "a")
    assert doc.meta == {"url": "http://real", "engine": "real", "n": 1}


@pytest.mark.parametrize("change", [{"id": 7}, {"source": None}, {"kind": ["text"]}, {"meta": []}, {"meta": {"fate": "lost"}}, {"meta": {"fate": "dropped", "reason": 3}}, {"meta": {"fate": None}}])
def test_a_row_that_only_looks_like_a_document_is_quarantined(tmp_path, change):
    good = vars(Document.of("fine", source="a"))
    mine, other = documents([good, {**good, **change}], tmp_path)
    assert mine == Document(**good) and other.meta["fate"] == "quarantined" and other.meta["line"] == 2 and other.source.endswith("in.jsonl")


def test_languages_are_written_one_way(tmp_path):
    wanted = {"zh-CN": "zh", "zh-Hans": "zh", "zho": "zh", "chi": "zh", "cmn": "zh", "Chinese": "zh", "en-US": "en", "eng": "en", "English": "en", "DE-at": "de", "fra": "fr", "zho,eng": "zh", "yue": "yue"}
    assert {said: language_tag(said) for said in wanted} == wanted
    docs = documents([{"text": "some words", "language": said} for said in ("ZH-cn", ["en"], None, 3, "")], tmp_path)
    assert [doc.language for doc in docs] == ["zh", "en", "en", "en", "en"] and Document.of("some words", language=["en"]).language == "en"


def test_half_a_character_can_be_written_and_read(tmp_path):
    docs = documents([{"text": "fine", "title": "half \ud83d"}], tmp_path)
    assert write_documents(tmp_path / "out.jsonl", docs) == 1 and list(read_documents(tmp_path / "out.jsonl")) == docs
    (tmp_path / "out.jsonl").read_text(encoding="utf-8")
    from lmnb.dedup import write_clusters
    twins = [Document.of("half \ud83d", source="a"), Document.of("half \ud83d", source="b", fate="dropped", reason="same")]
    twins[1].meta["twin"] = twins[0].id
    assert write_clusters(tmp_path / "twins.jsonl", twins) == 1 and "\\ud83d" in (tmp_path / "twins.jsonl").read_text(encoding="utf-8")


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names here are text, not bytes")
def test_a_file_whose_name_is_no_utf_8(tmp_path):
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.txt")).write_text("its text")
    doc, = read(tmp_path)
    assert doc.text == "its text" and doc.source.endswith("/\\xff.txt")
    run = subprocess.run([sys.executable, "-c", "from lmnb.cli import main; main()", "collect", str(tmp_path), "--out", str(tmp_path.parent / "out")], capture_output=True, text=True,
                         env={**os.environ, "LMNB_HOME": str(tmp_path.parent / "home")})
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("source", ["", "  ", "x"*5000, "a\0b", "HTTP://127.0.0.1:1/", "HTTPS://127.0.0.1:1/"])
def test_what_is_no_source_is_one_short_line(source):
    from lmnb.core import LmnbError
    with pytest.raises(LmnbError) as error: list(read(source))
    assert "\n" not in str(error.value) and len(str(error.value)) < 400 and ("127.0.0.1" not in source or "public" in str(error.value))


# -- pictures and sound ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name,data,reason", [("blank.png", png(200, 200, rows=200), "no text"), ("zero.wav", silence(0), ""), ("half.png", png(400, 400, rows=400)[:60], ""), ("page.jpg", png(64, 64, rows=64), "no text")])
def test_pictures_and_sound_without_words(name, data, reason):
    pytest.importorskip("rapidocr"); pytest.importorskip("pocketsphinx")
    good, reasons = split(parts(data, name))
    assert not good and len(reasons) == 1 and reason in reasons[0]


# -- a gigabyte ------------------------------------------------------------------------------------------------------

GIGABYTE = {
    "text": ("a.txt", LINES*8), "one line": ("a.txt", b"word "*(2**18)), "one line without spaces": ("b.txt", "语".encode()*400_000),
    "jsonl": ("a.jsonl", "".join(json.dumps({"text": f"row {i} says " + "some words and more "*15}) + "\n" for i in range(3000)).encode()), "one line of JSON": ("b.jsonl", b'x'*2**20), "csv": ("a.csv", b"some text of a row which is as long as a row in a table of reviews may well be and no longer,1\n"*20_000),
    "wiki": ("a.xml", wiki(*[("A", "some prose of the page. "*500, "")]*80, tail="").partition(b"\n")[2]), "warc": ("a.warc", warc(*[page("words " * 300).encode()]*400)),
    "gzip": ("a.txt.gz", None),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", GIGABYTE)
def test_a_gigabyte_needs_little_memory(tmp_path, name):
    file, piece = GIGABYTE[name]
    path, dice = tmp_path / file, random.Random(0)
    if piece is None:
        noise = b"\n".join(dice.randbytes(30).hex().encode() for _ in range(16_000))
        with gzip.open(path, "wb", 1) as out:
            for _ in range(1000): out.write(noise)
    else:
        with open(path, "wb") as out:
            if name == "one line of JSON": out.write(b'{"text": "')
            out.write({"csv": b"text,label\n", "wiki": b"<mediawiki>\n"}.get(name, b""))
            while out.tell() < 10**9 // (20 if name in ("wiki", "warc") else 1): out.write(piece)
            if name == "one line of JSON": out.write(b'"}\n{"text": "after"}\n')
    code = ("import resource, sys\nfrom lmnb.formats import parts\n" + PEAK +
            "n = size = bad = 0\n"
            "for text, meta in parts(open(sys.argv[1], 'rb'), sys.argv[1]): n += 1; bad += 'fate' in meta; size += len(text)\n"
            "print(n, bad, size, peak())")
    began = time.monotonic()
    run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr[-2000:]
    count, bad, size, peak = map(int, run.stdout.split())
    print(f"{name}: {path.stat().st_size/1e6:.0f} MB in {time.monotonic() - began:.1f} s, {count} parts, {bad} bad, peak {peak//1024} MB")
    assert peak < 200*1024 and size and count and bad == (name == "one line of JSON")


# -- tables as programs write them -----------------------------------------------------------------------------------

CASES = Path(__file__).parent / "cases"


def rows_in(data, name="a.csv"):
    "([(text, row)], [reason]) of a table."
    found = list(parts(data.encode() if isinstance(data, str) else data, name))
    return [(text, meta["row"]) for text, meta in found if "fate" not in meta], [meta["reason"] for _, meta in found if "fate" in meta]


def test_the_cases_of_tables():
    folder = CASES / "04-csv-unclosed-quote"
    read = lambda name: rows_in((folder / name).read_bytes(), name)
    assert read("excel_sep.csv") == ([("Die Suppe war gut.", {"label": "gut"}), ("Der Stuhl brach.", {"label": "schlecht"})], [])
    assert read("quoted.tsv") == ([('He said "fine" and left.', {"label": "good"}), ("Two lines\nin one cell", {"label": "good"}), ("Plain.", {"label": "bad"})], [])
    assert read("backslash.csv") == ([('He said "fine" and left.', {"label": "good"}), ("Plain.", {"label": "bad"})], [])
    good, lost = read("mid.csv")
    assert [text for text, _ in good][-3:] == ['He said "fine" and left.', "Two lines\nin one cell", "Plain."] and len(good) + len(lost) == 5 and len(lost) <= 1


UNCLOSED = {   # name -> rows, and how many of them are lost
    "at the start": ('"One,good\nTwo.,bad\n"Three.",good\nFour.,bad\n', 1), "at the end": ('One.,bad\n"Two.",good\n"Three.,bad\n', 1), "in the last column": ('One,"good\nTwo.,bad\n', 1),
    "a stray mark later": ('"One,good\nTwo.,bad\nThe 5" screen.,good\nFour.,bad\n', 1), "a mark at the end of a cell later": ('"One,good\nTwo.,bad\nHe said 5",good\nFour.,bad\n', 1),
    "the same with labels first seen later": ('One.,good\n"Two,bad\nHe said 5",good\nFour.,bad\n', 1), "three": ('"One,good\nTwo.,bad\n"Three.,good\n"Four.,bad\nFive.,good\n', 3),
    "before a cell of two lines": ('"One,good\nTwo.,bad\n"Three\nlines",good\n', 1), "a mark inside marks": ('"The 5" screen" is small.,bad\nTwo.,bad\n', 1), "Chinese": ('"今天下雨,好\n明天下雨。,坏\n"后天""下雨""。",好\n', 1)}


@pytest.mark.parametrize("name", UNCLOSED)
def test_an_unclosed_mark_costs_its_row_only(name):
    rows, lost = UNCLOSED[name]
    count = rows.count("\n") - rows.count("Three\nlines")
    good, reasons = rows_in("text,label\n" + rows)
    assert (len(good), len(reasons)) == (count - lost, lost)


def test_an_unclosed_mark_in_a_table_with_the_label_first():
    good, reasons = rows_in('label,text\ngood,One.\nbad,"Two\ngood,Three.\nbad,He said 5"\ngood,Five.\n')
    assert [text for text, _ in good] == ["One.", "Three.", 'He said 5"', "Five."] and len(reasons) == 1


def test_cells_of_several_lines_stay_whole():
    poem = '"Roses are red, violets\nblue, good\nand so on",good\n'
    assert rows_in("text,label\nOne.,good\n" + poem)[0][1] == ("Roses are red, violets\nblue, good\nand so on", {"label": "good"})
    assert rows_in('label\ttext\ngood\t"Two lines\nin one cell"\nbad\tPlain.\n', "a.tsv")[0] == [("Two lines\nin one cell", {"label": "good"}), ("Plain.", {"label": "bad"})]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [",", ";", "|"])
@pytest.mark.parametrize("cells", ["Zwei\nZeilen", "很好\n下次再来", "Bad.\nNever again.", "eins\n\nzwei", "一，二\n三,四\n五", "Roses are red\nviolets,blue\nand so on"])
def test_a_last_cell_of_several_lines_stays_whole(cells, mark, end):
    cells = cells.replace("\n", end)
    for table in ([["id", "text"], ["1", cells], ["2", "Plain."], ["3", cells]], [["label", "text"], ["1", "Good"], ["0", cells], ["1", cells]], [["id", "label", "text"], ["1", "0", cells], ["2", "0", cells]]):
        for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL):
            box = io.StringIO(newline="")
            csv.writer(box, delimiter=mark, lineterminator=end, quoting=quoting).writerows(table)
            good, reasons = rows_in(box.getvalue())
            assert [text for text, _ in good] == [row[-1] for row in table[1:]] and not reasons


@pytest.mark.parametrize("data", ["sep=;\ntext;label\nEins, zwei.;gut\n", "SEP=;\r\ntext;label\r\nEins, zwei.;gut\r\n", '"sep=;"\ntext;label\nEins, zwei.;gut\n', "\ufeffsep=|\ntext|label\nEins, zwei.|gut\n", "sep=\t\ntext\tlabel\nEins, zwei.\tgut\n",
                                  "text|label\nEins, zwei.|gut\n", "text\tlabel\nEins, zwei.\tgut\n", 'text, label\n"Eins, zwei.", gut\n', '"text" ,"label"\n"Eins, zwei." ,"gut"\n', " text ,\u00a0label\u200b\n\"Eins, zwei.\",gut\n"])
def test_dialects(data):
    assert rows_in(data) == ([("Eins, zwei.", {"label": "gut"})], [])
    assert [row for _, row, reason in rows_of(data.encode("utf-16"), "csv") if not reason] == [{"text": "Eins, zwei.", "label": "gut"}]


def test_marks_in_a_tsv():
    raw = ['"Quoted" word first', 'The 5" screen', '"open only', '"All quoted, a line of dialogue."', '"Fine," he said.']
    assert rows_in("text\tlabel\n" + "".join(f"{line}\tgood\n" for line in raw), "a.tsv") == ([(line, {"label": "good"}) for line in raw], [])
    assert [text for text, _ in rows_in('"text"\t"label"\n"One"\t"good"\n"a\tb"\t"bad"\n', "a.tsv")[0]] == ["One", "a\tb"]
    assert [text for text, _ in rows_in('text\tlabel\n"a\tb"\tgood\n"say ""no"""\tbad\n', "a.tsv")[0]] == ["a\tb", 'say "no"']


def test_names_are_trimmed_and_zero_is_a_value():
    for data, name in (("text, label\nOne., 0\n", "a.csv"), ('{" text": "One.", "label ": "0"}\n', "a.jsonl"), ('[{"Text": "One.", " label": "0"}]', "a.json"), (parquet({"text ": ["One."], " label": ["0"]}), "a.parquet")):
        assert rows_in(data, name) == ([("One.", {"label": "0"})], []), name
    values = [0, 0.0, False, "", None, []]
    lines = "".join(json.dumps({"text": "One.", "label": value}) + "\n" for value in values)
    assert [row["label"] for _, row, _ in rows_of(lines.encode(), "jsonl")] == values and [row["label"] for _, row in rows_in(lines, "a.jsonl")[0]] == values
    assert [row["label"] for _, row in rows_in(json.dumps([{"text": "One.", "label": value} for value in values]), "a.json")[0]] == values
    assert [row["label"] for _, row in rows_in(parquet({"text": ["a", "b"], "label": [0, 1]}), "a.parquet")[0]] == [0, 1]


# -- packed bodies in web archives -----------------------------------------------------------------------------------

def response(body, coding):
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: " + coding.encode() + b"\r\n\r\n" + body
    return b"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://a.example/\r\nContent-Type: application/http\r\nContent-Length: %d\r\n\r\n%s\r\n\r\n" % (len(http), http)


def test_packed_bodies_in_web_archives():
    import brotli
    path = CASES / "25-warc-brotli/pages.warc"
    found = list(parts(path.read_bytes(), "pages.warc"))
    assert len(found) == 5 and len({text for text, meta in found if "fate" not in meta}) == 1 and found[2][1]["url"].endswith("/br")
    body = page(LONG).encode()
    good = response(gzip.compress(body), "gzip") + response(brotli.compress(body), "br") + response(zst(body), "zstd") + response(brotli.compress(body), " BR ") + response(body, "br")
    assert split(parts(good)) == ([LONG.strip()] * 5, [])
    bad = response(b"not packed", "br") + response(brotli.compress(body)[:-60], "br") + response(zst(body)[:20], "zstd") + response(b"\x1f\x9d\x90", "compress") + response(b"x", "gzip, br")
    texts, reasons = split(parts(bad + response(body, "")))
    assert texts == [LONG.strip()] and [" ".join(reason.split()[:4]) for reason in reasons[:2]] == ["ValueError: damaged brotli", "ValueError: brotli ends in"] and "'compress'" in reasons[-2] and "'gzip, br'" in reasons[-1] and len(reasons) == 5
    texts, reasons = split(parts(response(brotli.compress(bytes(2**27)), "br")))
    assert not texts and len(reasons) == 1 and ("33,554,432" in reasons[0] or "more than 100 times" in reasons[0])
