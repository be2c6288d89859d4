"Word documents and e-books: every word that a reader of them sees comes out, once, in order."
import io, re, zipfile
from pathlib import Path

import pytest

from lmnb.formats import parts
from lmnb.reader import bounded

CASES = Path(__file__).parent / "cases"
SPACES = " ".join(f'xmlns:{short}="http://schemas.openxmlformats.org/{name}"' for short, name in {
    "w": "wordprocessingml/2006/main", "r": "officeDocument/2006/relationships", "mc": "markup-compatibility/2006", "m": "officeDocument/2006/math",
    "wps": "drawing/wps", "a": "drawingml/2006/main", "dgm": "drawingml/2006/diagram"}.items()) + ' xmlns:v="urn:schemas-microsoft-com:vml"'
STRICT = SPACES.replace("schemas.openxmlformats.org/wordprocessingml/2006", "purl.oclc.org/ooxml/wordprocessingml")
TYPE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"


def zipped(files):
    box = io.BytesIO()
    with zipfile.ZipFile(box, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, text in files.items(): packed.writestr(name, text)
    return box.getvalue()


def linked(links):
    "A file of relationships: (kind, target) each."
    return "<Relationships>" + "".join(f'<Relationship Id="r{i}" Type="{TYPE}{kind}" Target="{target}"/>' for i, (kind, target) in enumerate(links)) + "</Relationships>"


def word(body, *, spaces=SPACES, document="word/document.xml", more=(), **parts_of_it):
    "A Word file with this body; each other part is its kind, and its content."
    files = {"[Content_Types].xml": "<Types/>", "_rels/.rels": linked([("officeDocument", document), *more]), document: f"<w:document {spaces}><w:body>{body}</w:body></w:document>"}
    if parts_of_it:
        folder, _, name = document.rpartition("/")
        files[f"{folder}/_rels/{name}.rels"] = linked([(kind.rstrip("0123456789"), f"{kind}.xml") for kind in parts_of_it])
        for kind, content in parts_of_it.items():
            root = {"header": "hdr", "footer": "ftr"}.get(kind.rstrip("0123456789"), kind.rstrip("0123456789"))
            files[f"{folder}/{kind}.xml"] = f"<w:{root} {spaces}>{content}</w:{root}>"
    return zipped(files)


def t(text): return f'<w:r><w:t xml:space="preserve">{text}</w:t></w:r>'
def p(*inside): return f"<w:p>{''.join(piece if piece.startswith('<') else t(piece) for piece in inside)}</w:p>"
def cell(*inside, about=""): return f"<w:tc><w:tcPr>{about}</w:tcPr>{''.join(inside)}</w:tc>"
def row(*cells, about=""): return f"<w:tr><w:trPr>{about}</w:trPr>{''.join(cells)}</w:tr>"
def table(*rows): return f"<w:tbl><w:tblPr/><w:tblGrid/>{''.join(rows)}</w:tbl>"
def control(inside): return f"<w:sdt><w:sdtPr><w:alias w:val='no text'/></w:sdtPr><w:sdtContent>{inside}</w:sdtContent></w:sdt>"
def box(inside): return f"<w:r><w:pict><v:shape><v:textbox><w:txbxContent>{inside}</w:txbxContent></v:textbox></v:shape></w:pict></w:r>"


def new_box(inside): return f"<w:drawing><wps:wsp><wps:txbx><w:txbxContent>{inside}</w:txbxContent></wps:txbx></wps:wsp></w:drawing>"
def both(new, old): return f"<w:r><mc:AlternateContent><mc:Choice>{new}</mc:Choice><mc:Fallback>{old}</mc:Fallback></mc:AlternateContent></w:r>"


GONE = '<w:rPr><w:del w:id="9"/></w:rPr>'
BODIES = {   # name -> (body, lines)
    "a control around a paragraph, in one, and around a row and a cell": (control(p("one")) + p("two ", control(t("three"))) + table(control(row(cell(p("a")), control(cell(p("b"))))), row(cell(p("c")), cell(control(p("d"))))), ["one", "two three", "a\tb", "c\td"]),
    "controls in controls": (control(control(control(p("deep", control(control(t("er"))))))), ["deeper"]),
    "inserted and deleted": (p("The price is ", f"<w:del>{t('ten')}</w:del>", f"<w:ins>{t('twelve')}</w:ins>", " euros"), ["The price is twelve euros"]),
    "deleted within inserted": (p(f"<w:ins>{t('kept')}<w:del>{t('gone')}</w:del></w:ins>"), ["kept"]),
    "moved": (p("one") + p(f"<w:moveFrom>{t('two')}</w:moveFrom>") + p("three") + p(f"<w:moveTo>{t('two')}</w:moveTo>"), ["one", "", "three", "two"]),
    "a deleted end of a paragraph": (f"<w:p><w:pPr>{GONE}</w:pPr>{t('one ')}</w:p>" + p("line"), ["one line"]),
    "a deleted row and cell": (table(row(cell(p("a")), cell(p("b"), about="<w:cellDel/>")), row(cell(p("gone")), about="<w:del/>"), row(cell(p("c")))), ["a", "c"]),
    "links, fields, tags and old controls": (p(f"<w:hyperlink>{t('link ')}</w:hyperlink>", f"<w:fldSimple w:instr='DATE'>{t('1 May ')}</w:fldSimple>", f"<w:smartTag>{t('tag ')}</w:smartTag>", f"<w:customXml>{t('own ')}</w:customXml>", "<w:r><w:instrText>PAGE</w:instrText></w:r>", f"<w:bdo>{t('end')}</w:bdo>"), ["link 1 May tag own end"]),
    "marks": (p("a", "<w:r><w:tab/></w:r>", "b", "<w:r><w:br/></w:r>", "c", "<w:r><w:noBreakHyphen/></w:r>", "d", "<w:r><w:softHyphen/></w:r>", "e"), ["a\tb", "c-de"]),
    "tab stops are no tabs": (f"<w:p><w:pPr><w:tabs><w:tab w:val='left'/></w:tabs></w:pPr>{t('a')}</w:p>", ["a"]),
    "a box for old programs": (p("before", box(p("in the box") + p("and more"))) + p("after"), ["before", "in the box", "and more", "after"]),
    "a box that is there twice": (p("before", both(new_box(p("boxed")), box(p("boxed")))) + p("after"), ["before", "boxed", "after"]),
    "a box of which only the old form has text": (p("before", both("<w:drawing/>", box(p("boxed")))), ["before", "boxed"]),
    "a box in a box": (p(both(new_box(p("outer", both(new_box(p("inner")), box(p("inner"))))), box(p("outer")))), ["", "outer", "inner"]),
    "versions of a paragraph": (f"<mc:AlternateContent><mc:Choice>{p('new')}</mc:Choice><mc:Fallback>{p('old')}</mc:Fallback></mc:AlternateContent>" + p("end"), ["new", "end"]),
    "a table in a table": (table(row(cell(p("a")), cell(p("b"), table(row(cell(p("inner one")), cell(p("inner two")))), p("c")))), ["a", "b", "inner one\tinner two", "c"]),
    "merged across": (table(row(cell(p("wide"), about='<w:gridSpan w:val="3"/>')), row(cell(p("a")), cell(p("b")), cell(p("c")))), ["wide", "a\tb\tc"]),
    "merged down": (table(row(cell(p("tall"), about='<w:vMerge w:val="restart"/>'), cell(p("a"))), row(cell(p(), about="<w:vMerge/>"), cell(p("b")))), ["tall\ta", "\tb"]),
    "a page laid out by a table": (table(row(cell(p("2001"), p("2002")), cell(p("School"), p("Work")))), ["2001", "2002", "School", "Work"]),
    "half a billion columns": (table(row(cell(p("wide"), about='<w:gridSpan w:val="500000000"/>'))), ["wide"]),
    "how a character is read": (p("<w:r><w:ruby><w:rubyPr/><w:rt><w:r><w:t>hàn</w:t></w:r></w:rt><w:rubyBase><w:r><w:t>汉</w:t></w:r></w:rubyBase></w:ruby></w:r>", "字"), ["汉(hàn)字"]),
    "a formula": (p("<m:oMath><m:f><m:num><m:r><m:t>a</m:t></m:r></m:num><m:den><m:r><m:t>b</m:t></m:r></m:den></m:f><m:sSup><m:e><m:r><m:t>x</m:t></m:r></m:e><m:sup><m:r><m:t>2</m:t></m:r></m:sup></m:sSup></m:oMath>"), ["a/bx^2"]),
    "a formula of its own": (p("one") + "<m:oMathPara><m:oMath><m:r><m:t>e=mc</m:t></m:r></m:oMath></m:oMathPara>", ["one", "e=mc"]),
    "words in a drawing": (p("one", "<w:r><w:drawing><a:graphic><a:sp><a:txBody><a:p><a:r><a:t>drawn</a:t></a:r></a:p></a:txBody></a:sp></a:graphic></w:drawing></w:r>"), ["one", "drawn"])}


@pytest.mark.parametrize("name", BODIES)
def test_every_word_of_the_body_once(name):
    body, lines = BODIES[name]
    for spaces in (SPACES, STRICT):
        (text, meta), = parts(word(body, spaces=spaces))
        assert text.split("\n") == lines and meta["kind"] == "docx" and "title" not in meta


def test_notes_heads_and_feet():
    mark = lambda kind, number: f'<w:r><w:{kind}Reference w:id="{number}"/></w:r>'
    separator = '<w:footnote w:type="separator" w:id="-1">' + p("----") + "</w:footnote>"
    note = lambda kind, number, text: f'<w:{kind} w:id="{number}">{p(text)}</w:{kind}>'
    data = word(p("A claim", mark("footnote", 2), ".") + p("Another", f"<w:del>{mark('footnote', 3)}</w:del>", mark("endnote", 2), mark("comment", 0)),
                footnotes=separator + note("footnote", 2, "First source.") + note("footnote", 3, "Deleted source."), endnotes=note("endnote", 2, "Last source."),
                comments=note("comment", 0, "Is this so?"), header1=p("Annual report"), header2=p("Annual report"), header3=p(), footer1=p("Page ", "<w:fldSimple>" + t("1") + "</w:fldSimple>"))
    (text, _), = parts(data)
    assert text.split("\n") == ["Annual report", "A claim.", "Another", "First source.", "Last source.", "Is this so?", "Page 1"]


def test_words_in_a_diagram_and_an_embedded_file():
    diagram = "<dgm:pt><dgm:t><a:p><a:r><a:t>Step one</a:t></a:r></a:p></dgm:t></dgm:pt>"
    assert [text for text, _ in parts(word(p("Text"), diagramData1=diagram))] == ["Text\nStep one"]
    (text, _), (_, meta) = parts(word(p("Text"), aFChunk1="<html/>"))
    assert text == "Text" and meta["fate"] == "quarantined" and "word/aFChunk1.xml" in meta["reason"]


def test_what_the_file_says_of_itself_and_nothing_else():
    core = ('<cp:coreProperties xmlns:cp="x" xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>Rain</dc:title><dc:creator>Ann Lee</dc:creator><dc:language>en-GB</dc:language></cp:coreProperties>')
    with zipfile.ZipFile(box_ := io.BytesIO(word(p("Text"), more=[("metadata/core-properties", "docProps/core.xml")])), "a") as packed: packed.writestr("docProps/core.xml", core)
    (_, meta), = parts(box_.getvalue())
    assert (meta["title"], meta["author"], meta["language"]) == ("Rain", "Ann Lee", "en-GB")
    assert not {"title", "author", "language"} & set(next(parts(word(p("Text"))))[1])


@pytest.mark.parametrize("name", ["word/document.xml", "word/document2.xml", "Word/Main Document.xml", "content/doc.xml"])
def test_the_document_stands_where_the_file_says(name):
    assert [text for text, _ in parts(word(p("Here."), document=name), "a.docx")] == ["Here."]


def test_names_with_backslashes():
    files = {"[Content_Types].xml": "<Types/>", "_rels\\.rels": linked([("officeDocument", "/word/document.xml")]), "word\\document.xml": f"<w:document {SPACES}><w:body>{p('Here.')}</w:body></w:document>"}
    assert [text for text, _ in parts(zipped(files), "a.docx")] == ["Here."]


@pytest.mark.parametrize("body", [table(*[row(*[cell(p("x"), about='<w:gridSpan w:val="9999"/>')] * 5)] * 3000), control("") * 20000, "<w:sdt><w:sdtContent>" * 100 + p("x") + "</w:sdtContent></w:sdt>" * 100,
                                  "<w:p><w:r><mc:AlternateContent><mc:Choice>" * 40 + "</mc:Choice><mc:Fallback/></mc:AlternateContent></w:r></w:p>" * 40, "<w:tbl><w:tr><w:tc>" * 300 + p("x") + "</w:tc></w:tr></w:tbl>" * 300])
def test_odd_bodies_cost_little(body):
    (text, meta), = bounded(word(body), "a.docx")
    assert len(text) <= len(body) and meta.get("fate", "kept") in ("kept", "quarantined")


def texts(folder, name):
    path = CASES / folder / name
    return [(text, meta) for text, meta in bounded(path, str(path))]


def test_the_cases_of_word():
    (text, meta), = texts("01-docx-content-controls", "form.docx")
    assert text.split("\n") == ["OUTSIDE first paragraph of the report.", "BLOCKCONTROL: the title page was written inside a content control.",
                                "Applicant: INLINECONTROL Ada Example of the first department.", "The price is INSERTED twelve euros.", "OUTSIDE last paragraph of the report."]
    assert "title" not in meta
    (text, _), = texts("02-docx-tables-notes", "table.docx")
    assert text.count("MERGED") == text.count("VERTICAL") == text.count("NESTED inner table text") == 1 and text.startswith("Before") and text.endswith("After the table.")
    (text, _), = texts("02-docx-tables-notes", "notes.docx")
    assert text.split("\n") == ["A claim that needs a source.", "A box follows. ", "TEXTBOX words in a box", "Last paragraph.", "FOOTNOTE Example, Handbook of Tables, 2001, page 7."]


# -- e-books ---------------------------------------------------------------------------------------------------------

def book(pages, *, spine=None, folder="OEBPS", manifest=None, more=()):
    "An e-book: `pages` is name in the zip -> content; `manifest` the address of each page, `spine` the numbers of those that are read."
    manifest = manifest or [name.removeprefix(folder + "/") for name in pages]
    items = "".join(f'<item id="i{i}" href="{href}" media-type="application/xhtml+xml"/>' for i, href in enumerate(manifest))
    refs = "".join(f'<itemref idref="i{i}"/>' for i in (range(len(manifest)) if spine is None else spine))
    place = f"{folder}/book.opf".lstrip("/")
    return zipped({"mimetype": "application/epub+zip", "META-INF/container.xml": f'<container><rootfiles><rootfile full-path="{place}"/></rootfiles></container>',
                   place: f'<package xmlns="http://www.idpf.org/2007/opf"><metadata/><manifest>{items}{"".join(more)}</manifest><spine>{refs}</spine></package>', **pages})


def page(body): return f'<?xml version="1.0" encoding="utf-8"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title/><style>p {{}}</style></head><body>{body}</body></html>'


HREFS = {   # name in the zip -> address in the manifest of OEBPS/book.opf
    "OEBPS/chapter 1.xhtml": "chapter%201.xhtml", "OEBPS/第2章.xhtml": "%E7%AC%AC2%E7%AB%A0.xhtml", "Text/ch3.xhtml": "../Text/ch3.xhtml", "OEBPS/ch4.xhtml": "./ch4.xhtml",
    "OEBPS/a/b/ch5.xhtml": "a/../a/b/ch5.xhtml#start", "OEBPS/第6章.xhtml": "第6章.xhtml#第1节", "OEBPS/Ch7.XHTML": "ch7.xhtml", "OEBPS/100%25.xhtml": "100%25.xhtml",
    "OEBPS/e\u0301.xhtml": "\u00e9.xhtml", "ch10.xhtml": "/ch10.xhtml", "OEBPS/a&amp;b.xhtml".replace("&amp;", "&"): "a&amp;b.xhtml", "OEBPS/x+y.xhtml": "x+y.xhtml"}


def test_addresses_of_every_kind():
    found = list(parts(book({name: page(f"<p>This is {i}.</p>") for i, name in enumerate(HREFS)}, manifest=list(HREFS.values()))))
    assert [text for text, _ in found] == [f"This is {i}." for i in range(len(HREFS))] and [meta["chapter"] for _, meta in found] == list(range(1, len(HREFS) + 1))


def test_a_package_at_the_top():
    assert [text for text, _ in parts(book({"Text/a b.xhtml": page("<p>Top.</p>")}, folder="", manifest=["Text/a%20b.xhtml"]))] == ["Top."]


def test_a_chapter_is_read_whole():
    body = ("<section><header><h1>The storm</h1><p>in which it rains</p></header><p>It rained<sup><a href='#n1'>1</a></sup>.</p><h2>Later</h2><ul><li>a boat</li><li>a rope</li></ul><table><tr><td>Day</td><td>Rain</td></tr><tr><td>1</td><td>9 mm</td></tr></table>"
            "<p>汉<ruby>字<rt>zì</rt></ruby></p><div class='comments'>said the crew</div><footer>The end</footer></section><aside id='n1' style='display:none'>1. In 1905.</aside><nav><a href='a'>See also</a></nav><pre>a\n  b</pre>")
    (text, _), = parts(book({"OEBPS/a.xhtml": page(body)}))
    assert text.split("\n") == ["The storm", "in which it rains", "It rained1.", "Later", "a boat", "a rope", "Day\tRain", "1\t9 mm", "汉字(zì)", "said the crew", "The end", "1. In 1905.", "See also", "a", "  b"]


def test_a_page_is_read_once_and_none_is_left_out():
    pages = {"OEBPS/a.xhtml": page("<p>One.</p>"), "OEBPS/b.xhtml": page("<p>Two.</p>"), "OEBPS/notes.xhtml": page("<p>A note.</p>"), "OEBPS/cover.xhtml": page("<img src='a.png'/>"), "OEBPS/toc.xhtml": page("<nav>Contents</nav>")}
    data = book(pages, manifest=["a.xhtml#x", "a.xhtml#y", "b.xhtml", "notes.xhtml", "cover.xhtml"], spine=[0, 2, 1] + [0]*4000, more=['<item id="nav" properties="nav" href="toc.xhtml" media-type="application/xhtml+xml"/>'])
    assert [text for text, _ in parts(data)] == ["One.", "Two.", "A note."]


def test_what_is_missing_empty_or_locked_is_said():
    pages = {"OEBPS/a.xhtml": page("<p>One.</p>"), "OEBPS/empty.xhtml": page(""), "OEBPS/locked.xhtml": b"\x8f\x02\xaa" * 99}
    pages["META-INF/encryption.xml"] = '<encryption><EncryptedData><CipherData><CipherReference URI="OEBPS/locked.xhtml"/></CipherData></EncryptedData></encryption>'
    found = list(parts(book(pages, manifest=["a.xhtml", "gone.xhtml", "empty.xhtml", "locked.xhtml"])))
    assert [meta.get("reason") for _, meta in found] == [None, "chapter 2: gone.xhtml is not in the file", "chapter 3: no text", "chapter 4: encrypted: only the reader of its shop opens it"]
    assert "is not there" in next(parts(zipped({"mimetype": "application/epub+zip", "META-INF/container.xml": "<c><rootfile full-path='x.opf'/></c>"}), "a.epub"))[1]["reason"]


def test_the_cases_of_books():
    found = texts("03-epub-hrefs", "book.epub")
    assert [text.split("\n")[-1].split(":")[0] for text, meta in found if "fate" not in meta] == ["SPACED", "CHINESE", "PARENT", "DOT", "PLAIN"]
    text = "\n".join(text for text, _ in texts("03-epub-hrefs", "headings.epub"))
    with zipfile.ZipFile(CASES / "03-epub-hrefs/headings.epub") as packed:
        wanted = [re.sub("<.*?>", "", heading) for name in packed.namelist() if name.endswith(".xhtml") for heading in re.findall("<h[12][^>]*>.*?</h[12]>", packed.read(name).decode())]
    assert wanted and all(heading in text.split("\n") for heading in wanted)
