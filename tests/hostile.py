"Files that ask for too much: small ones that would cost hours, gigabytes or millions of documents. Each is made here, from a few lines."
import bz2, gzip, io, json, lzma, random, struct, tarfile, wave, zipfile, zlib

GOOD = "It rained all day in the old town, and nobody went out to see the river. " * 8


def zipped(*members, method=zipfile.ZIP_DEFLATED):
    box = io.BytesIO()
    with zipfile.ZipFile(box, "w", method) as packed:
        for name, data in members:
            packed.writestr(name, data)
    return box.getvalue()


def tarred(*members):
    box = io.BytesIO()
    with tarfile.open(fileobj=box, mode="w") as packed:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            packed.addfile(info, io.BytesIO(data))
    return box.getvalue()


def docx(body):
    w = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    types = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
    return zipped(
        ("[Content_Types].xml", f'<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType='
                                f'"application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/>'
                                f'<Override PartName="/word/document.xml" ContentType="{types}"/></Types>'),
        ("_rels/.rels", f'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" Type="{relation}" Target="word/document.xml"/></Relationships>'),
        ("word/document.xml", f'<w:document xmlns:w="{w}"><w:body>{body}</w:body></w:document>'))


def paragraph(text):
    return f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"


def cell(text, notes=""):
    return f"<w:tc><w:tcPr>{notes}</w:tcPr>{paragraph(text)}</w:tc>"


def table(*rows):
    return "<w:tbl>" + "".join(f"<w:tr>{row}</w:tr>" for row in rows) + "</w:tbl>"


def epub(spine, chapters, *, head=""):
    items = "".join(f'<item id="c{i}" href="c{i}.xhtml" media-type="application/xhtml+xml"/>' for i in range(len(chapters)))
    return zipped(("mimetype", "application/epub+zip"),
                  ("META-INF/container.xml", '<container><rootfiles><rootfile full-path="book.opf"/></rootfiles></container>'),
                  ("book.opf", f'<package xmlns="http://www.idpf.org/2007/opf">{head}<manifest>{items}</manifest><spine>' + "".join(f'<itemref idref="c{i}"/>' for i in spine) + "</spine></package>"),
                  *((f"c{i}.xhtml", f"<html><body>{text}</body></html>") for i, text in enumerate(chapters)))


def wiki(*texts):
    pages = "".join(f"<page><title>T</title><ns>0</ns><id>1</id><revision><id>2</id><text>{text}</text></revision></page>\n" for text in texts)
    return f"<mediawiki>\n{pages}</mediawiki>".encode()


def warc(*bodies):
    out = b""
    for body in bodies:
        http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + body
        out += b"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://example.com/\r\nContent-Type: application/http\r\nContent-Length: %d\r\n\r\n" % len(http) + http + b"\r\n\r\n"
    return out


def pdf(streams, extra=()):
    "Pages, each with a stream of its own; `extra` are further objects."
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", None, "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for stream in streams:
        packed = zlib.compress(stream)
        objects += [b"<< /Length %d /Filter /FlateDecode >>\nstream\n" % len(packed) + packed + b"\nendstream",
                    f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >> /Contents {len(objects) + 1} 0 R >>"]
        kids.append(f"{len(objects)} 0 R")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>"
    data, places = b"%PDF-1.4\n", []
    for number, text in enumerate([*objects, *extra], 1):
        places.append(len(data))
        data += f"{number} 0 obj\n".encode() + (text if isinstance(text, bytes) else text.encode("latin-1")) + b"\nendobj\n"
    start = len(data)
    data += f"xref\n0 {len(places) + 1}\n0000000000 65535 f \n".encode() + b"".join(f"{place:010} 00000 n \n".encode() for place in places)
    return data + f"trailer\n<< /Size {len(places) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()


def parquet(columns, **options):
    import pyarrow, pyarrow.parquet
    box = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), box, **options)
    return box.getvalue()


def dictionary(text, rows):
    "A column of one string, which stands in the file once."
    import pyarrow
    return pyarrow.DictionaryArray.from_arrays(pyarrow.array([0]*rows, pyarrow.int32()), pyarrow.array([text]))


def png(width, height, rows=b""):
    def chunk(kind, data): return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def blank(width, height):
    return png(width, height, (b"\0" + b"\xff"*width)*height)


def dots(width, height, step):
    "A picture full of small marks, each of which may be a letter."
    line = b"\0" + (b"\0"*(step//2) + b"\xff"*(step - step//2))*(width//step) + b"\xff"*(width % step)
    empty = b"\0" + b"\xff"*width
    return png(width, height, (line*(step//2) + empty*(step - step//2))*(height//step) + empty*(height % step))


def tiff(width, height, pages):
    from PIL import Image
    box = io.BytesIO()
    page = Image.new("1", (width, height), 1)
    page.save(box, "TIFF", compression="group4", save_all=True, append_images=[page]*(pages - 1))
    return box.getvalue()


def noise(seconds, rate, width=2):
    box = io.BytesIO()
    with wave.open(box, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(width)
        sound.setframerate(rate)
        sound.writeframes(random.Random(1).randbytes(int(width*seconds*rate)))
    return box.getvalue()


def flac(seconds, rate):
    import numpy, soundfile
    box = io.BytesIO()
    soundfile.write(box, numpy.zeros(int(seconds*rate), "int16"), rate, format="FLAC")
    return box.getvalue()


def zst(data):
    import zstandard
    return zstandard.ZstdCompressor().compress(data)


def heads(count, gap, first=b"damaged"):
    "A broken gzip, and in it many heads of members that begin well."
    body = zlib.compressobj(9, zlib.DEFLATED, -15)
    run = body.compress(bytes(10_000_000)) + body.flush()
    return gzip.compress(first*50)[:-8] + b"\xff"*20 + (b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + run[:gap])*count


K, M = 1000, 1_000_000
CUE = "1\n00:00:01,000 --> 00:00:02,000\n"

# name -> (file name, function that makes it)
READ = {
    # text and tables
    "text of bad bytes": ("a.txt", lambda: b"good line\n" + b"\xff\n"*300*K),
    "text of one bad line": ("a.txt", lambda: b"good text " + b"\xff\x80"*200*K),
    "text of spaces": ("a.txt", lambda: b" "*4*M + b"x"),
    "text of line ends": ("a.txt", lambda: b"x" + b"\n"*4*M + b"y"),
    "text of combining marks": ("a.txt", lambda: ("a" + "\u0301\u0316"*400*K).encode()),
    "text of UTF-16 halves": ("a.txt", lambda: b"\xff\xfe" + b"\x00\xd8"*300*K),
    "text of page breaks": ("a.txt", lambda: b"x\f"*M),
    "text of carriage returns": ("a.txt", lambda: b"x\r"*M),
    "CSV of commas": ("a.csv", lambda: b"text,a\n" + b","*3*M + b"\nfine,1\n"),
    "CSV with a million columns": ("a.csv", lambda: b"text" + b","*2*M + b"\nfine\n"),
    "CSV of quotation marks": ("a.csv", lambda: b"text,a\n" + b'"'*2*M + b"\nfine,1\n"),
    "CSV of open marks": ("a.csv", lambda: b"text,a\n" + b'a,"b\n'*200*K),
    "CSV whose mark never closes": ("a.csv", lambda: b'text,a\na,"b\n' + b"\n"*2*M),
    "CSV of two marks a line": ("a.csv", lambda: b"text,a\n" + b'"a","b\n""\n'*100*K),
    "TSV of tabs": ("a.tsv", lambda: b"text\tlabel\n" + b"\t"*3*M + b"\nfine\t1\n"),
    "JSON lines of empty lists": ("a.jsonl", lambda: b'{"text": "fine"}\n{"text": "x", "a": [' + b"[],"*1500*K + b"[]]}\n"),
    "JSON lines of open brackets": ("a.jsonl", lambda: (b"["*500*K + b"\n")*4),
    "JSON lines of one digit": ("a.jsonl", lambda: b'{"text": "fine"}\n{"text": "x", "n": ' + b"9"*2*M + b"}\n"),
    "JSON lines of empty objects": ("a.jsonl", lambda: b'{"text": "fine"}\n' + b"{}\n"*M),
    "JSON lines of one key": ("a.jsonl", lambda: b'{"text": "fine"}\n{' + b",".join(b'"%d": 1' % i for i in range(200*K)) + b"}\n"),
    # JSON in one piece
    "JSON, damage over line ends": ("a.json", lambda: b'[{"text": "fine"},\n{"text": ?' + b"\n"*400*K + b"]"),
    "JSON, damage over spaces": ("a.json", lambda: b'[{"text": "fine"},{"text": ?]' + b"]   "*100*K),
    "JSON, damage over brackets": ("a.json", lambda: b'[{"text": ?' + b"]"*400*K),
    "JSON of open strings": ("a.json", lambda: b'[{"text": "fine"}' + b',\n"open\n'*60*K),
    "JSON of open objects": ("a.json", lambda: b'[{"text": "fine"},\n' + b'{"a":\n'*60*K),
    "JSON of open lists": ("a.json", lambda: b"["*400*K),
    "JSON of bad words": ("a.json", lambda: b"[" + b"nul,\n"*100*K + b"]"),
    "JSON of escapes": ("a.json", lambda: b'["' + b"\\u0041"*400*K + b'"]'),
    "JSON of bad escapes": ("a.json", lambda: b"[" + b'"\\x",\n'*60*K + b"]"),
    "JSON of empty lists": ("a.json", lambda: b'{"data": [' + b"{},"*M + b'{"text": "a"}]}'),
    # subtitles
    "subtitles of digits": ("a.srt", lambda: (CUE + "9"*400*K + "\n").encode()),
    "subtitles of digits and colons": ("a.srt", lambda: (CUE + "1:"*200*K + "\n").encode()),
    "subtitles of open tags": ("a.srt", lambda: (CUE + "<"*400*K + "\n").encode()),
    "subtitles of open tags in words": ("a.srt", lambda: (CUE + "<a "*130*K + "\n").encode()),
    "subtitles of open braces": ("a.srt", lambda: (CUE + "{\\"*200*K + "\n").encode()),
    "subtitles without blank lines": ("a.srt", lambda: (CUE + "a\n").encode()*20*K),
    "subtitles of blank lines": ("a.srt", lambda: CUE.encode() + b"a\n \n"*200*K),
    "subtitles of spaces": ("a.srt", lambda: CUE.encode() + b"\n" + b" \t"*200*K + b"x"),
    "subtitles of arrows": ("a.srt", lambda: CUE.encode() + b"00:00:01,000 -->"*30*K),
    "subtitles of numbers at the end": ("a.srt", lambda: CUE.encode() + (b"\n" + b"7"*100)*4*K + b"x\n" + CUE.encode() + b"b"),
    "subtitles packed": ("a.srt.gz", lambda: gzip.compress((CUE + "a word\n\n").encode()*100*K)),
    # web archives
    "WARC of lost lines": ("a.warc", lambda: warc(b"<p>fine</p>") + b"lost\n"*80*K + warc(GOOD.encode())),
    "WARC of blank lines": ("a.warc", lambda: warc(b"<p>fine</p>") + b"\n"*400*K),
    "WARC of heads": ("a.warc", lambda: b"WARC/1.0\r\n"*40*K),
    "WARC of wrong lengths": ("a.warc", lambda: warc(GOOD.encode()) + (b"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: 900000\r\n\r\n" + b"x"*20 + b"\r\n\r\n")*4*K),
    "WARC of one long head": ("a.warc", lambda: b"WARC/1.0\r\nWARC-Type: response\r\n" + b"A: b\r\n"*200*K + b"\r\n"),
    "WARC of empty records": ("a.warc", lambda: b"WARC/1.0\r\nWARC-Type: conversion\r\nContent-Length: 0\r\n\r\n\r\n\r\n"*8*K),
    "WARC of packed pages": ("a.warc", lambda: b"".join(warc(b"")[:-4].replace(b"Content-Type: text/html", b"Content-Encoding: gzip").replace(b"Content-Length: 46", b"Content-Length: %d" % (44 + len(z))) + z + b"\r\n\r\n" for z in [gzip.compress(b"<p>a"*2*M)]*20)),
    "ARC of odd addresses": ("a.arc", lambda: b"filedesc://a 0.0.0.0 20000101000000 text/plain 0\n\n" + b"http://a" + b" 1"*200*K + b"\n"),
    # wiki dumps
    "wiki of nested links": ("a.xml", lambda: wiki("[[a|"*20*K + "]]"*20*K)),
    "wiki of nested templates": ("a.xml", lambda: wiki("{{a|"*20*K + "}}"*20*K)),
    "wiki of nested tables": ("a.xml", lambda: wiki("{|\n|\n"*10*K + "|}\n"*10*K)),
    "wiki of open links in closed ones": ("a.xml", lambda: wiki("[[a [[b]] "*20*K)),
    "wiki of quotes": ("a.xml", lambda: wiki("'''''a''b'''"*20*K)),
    "wiki of equals": ("a.xml", lambda: wiki("="*100*K)),
    "wiki of tags": ("a.xml", lambda: wiki("&lt;b&gt;"*900 + "a" + "&lt;/b&gt;"*900)),
    "wiki of brackets": ("a.xml", lambda: wiki("["*100*K + "]"*100*K)),
    "wiki of braces": ("a.xml", lambda: wiki("{"*100*K + "}"*100*K)),
    "wiki of addresses": ("a.xml", lambda: wiki("http://a"*30*K)),
    "wiki of empty pages": ("a.xml", lambda: b"<mediawiki>\n" + b"<page></page>"*30*K + b"</mediawiki>"),
    "wiki of ends": ("a.xml", lambda: b"<mediawiki>\n" + b"</page>"*60*K),
    "wiki of beginnings": ("a.xml", lambda: b"<mediawiki>\n" + b"<page>"*2*M),
    "wiki of attributes": ("a.xml", lambda: b"<mediawiki>\n<page " + b" ".join(b'a%d=""' % i for i in range(50*K)) + b"></page></mediawiki>"),
    "wiki of deep elements": ("a.xml", lambda: b"<mediawiki>\n<page>" + b"<a>"*100*K + b"</a>"*100*K + b"</page></mediawiki>"),
    # packed
    "gzip of overlapping heads": ("a.gz", lambda: heads(3000, 200)),
    "gzip of nothing but heads": ("a.gz", lambda: gzip.compress(b"x")[:-4] + b"\x1f\x8b\x08"*100*K),
    "gzip of empty members": ("a.gz", lambda: gzip.compress(b"fine. ") + gzip.compress(b"")*60*K),
    "gzip of short rows": ("a.jsonl.gz", lambda: gzip.compress(b'{"text":"a"}\n'*3*M)),
    "gzip of bad lines": ("a.txt.gz", lambda: gzip.compress(b"\xff\n"*4*M)),
    "bzip2 of empty streams": ("a.bz2", lambda: bz2.compress(b"fine ")*8*K),
    "xz of empty streams": ("a.xz", lambda: lzma.compress(b"fine ")*4*K),
    "zstd of short frames": ("a.zst", lambda: zst(b"fine ")*20*K),
    "zip of many members": ("a.zip", lambda: zipped(*((f"{i}.txt", b"a") for i in range(20*K)))),
    "zip of one member named often": ("a.zip", lambda: zipped(*((f"{i}.html", f"<p>{GOOD*20}".encode()) for i in range(500)))),
    "zip without its table": ("a.zip", lambda: zipped(("a.txt", bytes(3*M)))[:-60] + b"PK\3\4"*100*K),
    "zip of overlapping members": ("a.zip", lambda: overlapping(2000, 20_000)),
    "tar of empty members": ("a.tar", lambda: tarred(*((f"{i}", b"") for i in range(4*K)))),
    "tar of long names": ("a.tar", lambda: tarred(*(("n"*5000, b"a") for _ in range(500)))),
    "tar of no heads": ("a.tar", lambda: tarred(("a.txt", b"fine")) + random.Random(1).randbytes(4*M)),
    # documents
    "Word, a wide cell": ("a.docx", lambda: docx(table(cell("a", '<w:gridSpan w:val="300000000"/>')))),
    "Word, a wide cell in each row": ("a.docx", lambda: docx(table(*[cell("a", '<w:gridSpan w:val="40000"/>')]*400))),
    "Word, merged rows": ("a.docx", lambda: docx(table(cell("a", '<w:vMerge w:val="restart"/>'), *[cell("", "<w:vMerge/>")]*5000))),
    "Word, deep tables": ("a.docx", lambda: docx("<w:tbl><w:tr><w:tc>"*3000 + paragraph("a") + (paragraph("") + "</w:tc></w:tr></w:tbl>")*3000)),
    "Word, a million paragraphs": ("a.docx", lambda: docx(paragraph("") * 300*K)),
    "Word, many cells": ("a.docx", lambda: docx(table(*[cell("a")*300]*300))),
    "Word, before its grid": ("a.docx", lambda: docx("<w:tbl><w:tr><w:trPr><w:gridBefore w:val=\"200000000\"/></w:trPr>" + cell("a") + "</w:tr></w:tbl>")),
    "e-book, one chapter often": ("a.epub", lambda: epub([0]*20*K, [f"<article><p>{GOOD*30}</p></article>"])),
    "e-book, deep elements": ("a.epub", lambda: epub([0], ["<div>"*100*K + GOOD])),
    "e-book, many titles": ("a.epub", lambda: epub([0]*3000, [f"<p>{GOOD}</p>"], head="<metadata>" + f"<title>{'t'*20*K}</title>" + "</metadata>")),
    "e-book, many items": ("a.epub", lambda: epub(range(0), ["<p>a</p>"]*5000)),
    "page of open tags": ("a.html", lambda: b"<html><body>" + b"<div>"*200*K + b"text"),
    "page of links": ("a.html", lambda: b"<html><body>" + b"<a href=x>link</a> "*60*K),
    "page of tables": ("a.html", lambda: b"<html><body>" + b"<table><tr><td>"*20*K + GOOD.encode()),
    "page of entities": ("a.html", lambda: b"<html><body><p>" + b"&lt;"*500*K),
    "page of attributes": ("a.html", lambda: b"<html><body><p " + b" ".join(b"a%d=1" % i for i in range(60*K)) + b">" + GOOD.encode()),
    "page of spaces": ("a.html", lambda: b"<html><body><p>a" + b" "*2*M + b"b</p>"),
    "page of comments": ("a.html", lambda: b"<html><body>" + b"<!--"*300*K),
    "page of dates": ("a.html", lambda: b"<html><head><title>x</title></head><body><p>" + b"2001-01-01 "*100*K),
    "page of scripts": ("a.html", lambda: b'<html><head><script type="application/ld+json">' + b'"author": [{'*60*K + b"</script></head><body><p>" + GOOD.encode()),
    "XML of one element": ("a.xml", lambda: b"<?xml version='1.0'?><r>" + b"<a/>"*400*K + b"</r>"),
    # Parquet
    "Parquet, one string often": ("a.parquet", lambda: parquet({"text": dictionary("It rained. "*90*K, 3000)})),
    "Parquet, one string often beside the text": ("a.parquet", lambda: parquet({"text": ["fine"]*3000, "other": dictionary("x"*M, 3000)})),
    "Parquet, many columns": ("a.parquet", lambda: parquet({f"c{i}": [1] for i in range(5000)} | {"text": ["fine"]})),
    "Parquet, many rows": ("a.parquet", lambda: parquet({"text": dictionary("a", 20*M)})),
    "Parquet without its end": ("a.parquet", lambda: parquet({"text": dictionary("It rained. "*90*K, 3000)})[:-2000]),
    # PDF
    "PDF of slow pages": ("a.pdf", lambda: pdf([b"BT /F1 12 Tf 72 720 Td " + b"(a) Tj 1 0 Td "*40*K + b" ET"]*60)),
    "PDF of one slow page": ("a.pdf", lambda: pdf([b"BT /F1 12 Tf 72 720 Td " + b"(a) Tj 1 0 Td "*2*M + b" ET"])),
    "PDF of states": ("a.pdf", lambda: pdf([b"q "*M + b"BT /F1 12 Tf (a) Tj ET"])),
    "PDF of names": ("a.pdf", lambda: pdf([b"/" + b"#41"*300*K + b" gs BT (a) Tj ET"])),
    "PDF of open strings": ("a.pdf", lambda: pdf([b"BT /F1 12 Tf " + b"("*300*K + b" Tj ET"])),
    "PDF of open lists": ("a.pdf", lambda: pdf([b"BT " + b"["*100*K + b" TJ ET"])),
    "PDF of many pages": ("a.pdf", lambda: pdf([b"BT /F1 12 Tf (a) Tj ET"]*5000)),
    "PDF of many objects": ("a.pdf", lambda: pdf([b"BT /F1 12 Tf (a) Tj ET"], ["<< >>"]*100*K)[:-200]),
    # pictures and sound
    "picture of one column": ("a.png", lambda: png(1, 50*M, bytes(100))),
    "picture of one column, whole": ("a.png", lambda: blank(1, 20*M)),
    "picture of one row": ("a.png", lambda: blank(40*M, 1)),
    "picture of 55 million points": ("a.png", lambda: blank(7400, 7400)),
    "picture of dots": ("a.png", lambda: dots(5000, 5000, 24)),
    "picture of 900 pages": ("a.tif", lambda: tiff(1200, 1600, 900)),
    "noise at an odd rate": ("a.wav", lambda: noise(30, 16001)),
    "noise at a low rate": ("a.wav", lambda: noise(120, 4001, 1)),
    "noise at a high rate": ("a.wav", lambda: noise(5, 383_999)),
    "silence of hours": ("a.flac", lambda: flac(3*3600, 8000)),
}


def overlapping(count, size):
    "A zip whose table names one member many times."
    body = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = body.compress(GOOD.encode()*(size//len(GOOD))) + body.flush()
    content = GOOD.encode()*(size//len(GOOD))
    facts = struct.pack("<IIIHH", zlib.crc32(content), len(packed), len(content), 5, 0)
    head = b"PK\3\4" + struct.pack("<HHHHH", 20, 0, 8, 0, 0) + facts + b"a.txt" + packed
    entry = b"PK\1\2" + struct.pack("<HHHHHH", 20, 20, 0, 8, 0, 0) + facts + struct.pack("<HHHII", 0, 0, 0, 0, 0) + b"a.txt"
    return head + entry*count + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, count, count, len(entry)*count, len(head), 0)
