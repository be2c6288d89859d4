"""Pages: what comes out of them; and fetching, against servers in this process (nothing leaves the machine)."""
import email.utils, gzip, json, re, shutil, socket, ssl, subprocess, tarfile, threading, time, zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lmnb import web
from lmnb.core import CorruptError, InputError, data_dir
from lmnb.web import Fetcher, article, is_public, page_text, retry_after, shingle_scores, body_of, web_address
from test_pipeline import lmnb

PARAGRAPH = "The committee met on Tuesday, as it does every month, and spoke about the roof of the school. "


# -- pages -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("page", ["", " \n", "<!-- nothing -->", "<html></html>", "\0\0", "plain words", "<p>", "<html><body><script>x = 1</script></body></html>", "\ud800"])
def test_a_page_without_article_gives_no_error(page):
    text, meta = article(page)
    assert len(text) <= len(page) and meta["engine"]


def test_nul_bytes_do_not_end_the_page():
    text, _ = article(b"<p>" + PARAGRAPH.encode() + b"\0</p><p>" + PARAGRAPH.replace("school", "church").encode() * 3 + b"</p>")
    assert "church" in text


def test_deep_nesting_and_size():
    start = time.monotonic()
    article("<div>" * 100_000 + PARAGRAPH * 3)
    article("<b>" * 20_000 + PARAGRAPH * 3)
    assert time.monotonic() - start < 20
    with pytest.raises(InputError, match="more than"): article(b" " * 20_000_001)


@pytest.mark.parametrize("encoding, label", [("gb18030", "gb2312"), ("gbk", "gbk"), ("big5", "big5"), ("utf-8", "utf-8"), ("utf-8", "iso-8859-1"), ("utf-8", "gbk")])
@pytest.mark.parametrize("header", [None, "ISO-8859-1", "nonsense"])
def test_encodings(encoding, label, header):
    page = f'<html><head><meta http-equiv="Content-Type" content="text/html; charset={label}"></head><body><p>' + "今天的會議在市政廳舉行,大家都來了。" * 5
    text, found = page_text(page.encode(encoding), charset=header)
    assert text == page and found in (encoding, "gb18030", "big5hkscs")


def test_one_bad_byte_costs_one_character():
    data = ('<meta charset="gb2312"><p>' + "今天下雨,明天也下雨。" * 200).encode("gbk")
    text, found = page_text(data[:600] + b"\xff" + data[600:])
    assert found == "gb18030" and text.count("\ufffd") <= 4 and text.count("今天下雨") >= 198


def test_western_pages():
    assert page_text("<p>déjà vu – naïve".encode("cp1252"), charset="iso-8859-1") == ("<p>déjà vu – naïve", "cp1252")
    assert page_text(b'<meta charset="idna"><p>words') [0].endswith("words")           # a codec of Python, but of no page


@pytest.mark.parametrize("head, name", [
    ('<a rel="license" href="https://creativecommons.org/licenses/by-sa/3.0/de/">x</a>', "CC BY-SA 3.0"),
    ('<a rel="nofollow license" href="https://example.org/terms">x</a>', "https://example.org/terms"),
    ('<script type="application/ld+json">{"license": "https:\\/\\/creativecommons.org\\/licenses\\/by-nc\\/4.0\\/"}</script>', "CC BY-NC 4.0"),
    ('<meta name="DCTERMS.license" content="https://creativecommons.org/publicdomain/zero/1.0/">', "CC0 1.0"),
    ('<footer><a href="http://creativecommons.org/licenses/by/4.0/">x</a></footer>', "CC BY 4.0"),
    ('<a href="http://creativecommons.org/licenses/by/4.0/">x</a><a href="http://creativecommons.org/licenses/by-nd/4.0/">x</a>', None),
    ('<a href="/licence">x</a>', None)])
def test_licence(head, name):
    assert article(f"<html><body>{head}<p>{PARAGRAPH}</p></body></html>")[1].get("licence") == name


def test_language_needs_the_script():
    assert article(f'<html lang="zh-CN"><p>{PARAGRAPH * 5}</p>')[1].get("language") is None
    assert article(f'<html lang="en-GB"><p>{PARAGRAPH * 5}</p>')[1]["language"] == "en"
    assert article('<html lang="en"><p>今天的会议在市政厅举行,大家都来了,还谈到了学校的屋顶。</p>')[1]["language"] == "zh"


def test_shingles():
    assert shingle_scores("a b c d e", "a b c d e") == (1, 1)
    assert shingle_scores("a b c d e", "x a b c d") == (.5, .5)
    assert shingle_scores("a b", "") == (None, 0)
    assert shingle_scores("今天下雨了", "今天下雨", characters=True) == (1, .5)


CASES = Path(__file__).parent / "cases/22-web-glue"


def test_words_are_not_glued_and_a_heading_stays():
    text, _ = article((CASES / "br.html").read_bytes())
    lines = text.splitlines()
    for line in ("Poem", "LINETWO", "LINETHREE", "def f(x):", "    return x + 1", "TERM", "DEFINITION of it.", "ITEMA", "ITEMB", "ITEMC", "More"): assert line in lines, line
    assert "NOBR-fund and x2, SPANA SPANB." in text and "CELLACELLB" not in text and "LINEONELINETWO" not in text and text.endswith("LASTP")
    lines = article((CASES / "squish.html").read_bytes())[0].splitlines()
    assert [lines.index(line) for line in ("LOOSE ONE", "HEADING TWO", "LOOSE TWO", "HEADING THREE")] == [1, 2, 4, 5]


def test_a_layout_table_becomes_paragraphs():
    lines = article((CASES / "layout.html").read_bytes())[0].splitlines()
    assert lines[0] == "Gears" and len(lines) == 4 and lines[2].endswith("ENDMARK.") and not any("Archive" in line for line in lines)


STORY = ["The river rose by two metres on Thursday, the town council said, and the lower bridge was closed.",
         "Schools stay open. Buses to the north, however, take the old road, which is longer by half an hour.",
         "The fire brigade, which has forty members, pumped cellars dry all night, and will go on today.",
         "In the evening the rain stopped, and people came out to look at what was left of the market."]
BODY = "<h1>River is high</h1><p>{}</p><h2>Schools and buses</h2><p>{}</p><h3>The fire brigade</h3><p>{}</p><h2>After the rain</h2><p>{}</p>".format(*STORY)
WANTED = ["River is high", STORY[0], "Schools and buses", STORY[1], "The fire brigade", STORY[2], "After the rain", STORY[3]]
TOP = BODY.removeprefix("<h1>River is high</h1>")
MENU = '<a href="/">Home</a> <a href="/sport">Sport</a>'
PAGES = {   # name -> body of the page
    "nothing around it": BODY, "an article": f"<nav>{MENU}</nav><article>{BODY}</article>", "main": f"<nav>{MENU}</nav><main>{BODY}</main>",
    "boxes": f'<div id="menu">{MENU}</div><div class="page"><div>{BODY}</div></div><footer>All rights reserved, 2020.</footer>',
    "a head of the page": f"<header><nav>{MENU}</nav><h1>River is high</h1></header><div>{TOP}</div>",
    "a head of the article": f"<article><header><h1>River is high</h1><p>By Ann Lee</p></header>{TOP}</article>",
    "boxes around headings": "<main>" + BODY.replace("<h", '<div class="head"><h').replace("</h1>", "</h1></div>").replace("</h2>", "</h2></div>").replace("</h3>", "</h3></div>") + "</main>",
    "headings with links": f"<article>{BODY.replace('<h2>', '<h2><a href=#1>').replace('</h2>', '</a></h2>')}</article>",
    "a table for the menu": f"<table><tr><td>{MENU}</td><td>{BODY}</td></tr></table>",
    "tables in a table": f"<table><tr><td><table><tr><td>{MENU}</td></tr></table></td></tr><tr><td><table><tr><td>{BODY}</td></tr></table></td></tr></table>",
    "a list for the menu in a table": f'<center><table><tr><td><ul><li><a href="/">Home</a></li><li><a href="/sport">Sport</a></li></ul></td><td>{BODY}</td></tr></table></center>',
    "read also": f'<div>{BODY}<div><h3>Read also</h3><ul><li><a href="/1">Ten bridges that you must see</a></li></ul></div></div>'}


@pytest.mark.parametrize("name", PAGES)
def test_headings_stay_and_the_menu_goes(name):
    assert article(f"<!doctype html><html lang=en><title>River is high - Valley News</title><body>{PAGES[name]}</body>")[0].splitlines() == WANTED


def test_chinese_headings_and_tables():
    said = ["本报讯,今天山城下了一整天的大雨,河水上涨了两米,下桥已经封闭。", "不过,往北的公共汽车改走老路,要多花半个小时。"]
    menu = '<a href="/">首页</a><br><a href="/ty">体育</a>'
    page = "<title>今日大雨_山城新闻网</title>{}"
    for body in (f'<div id="menu">{menu}</div><header><h1>今日大雨</h1></header><div><p>{said[0]}</p><h2>学校照常</h2><p>{said[1]}</p></div>',
                 f"<table><tr><td>{menu}</td><td><h1>今日大雨</h1>{said[0]}<br><br><h2>学校照常</h2>{said[1]}</td></tr></table>"):
        assert article(page.format(body))[0].splitlines() == ["今日大雨", said[0], "学校照常", said[1]]


def test_cells_and_what_stands_between_paragraphs():
    body = f"<article><h1>River is high</h1><p>{STORY[0]}</p><table><tr><td>Day</td><td>Level</td></tr><tr><td>Mon</td><td>2 m</td></tr></table><div>{STORY[1]}</div><p>{STORY[2]}<button>Share</button>more</p></article>"
    assert article(body)[0].splitlines() == ["River is high", STORY[0], "Day\tLevel", "Mon\t2 m", STORY[1], STORY[2], "more"]


SAID = {"English": STORY, "Russian": [
    "Река поднялась в четверг на два метра, сообщил городской совет, и поэтому нижний мост закрыли для машин и для пешеходов.",
    "Школы остаются открытыми. Автобусы на север, однако, идут по старой дороге через холмы, а она длиннее на полчаса, поэтому выезжают они раньше.",
    "Пожарная команда, в которой сорок человек, всю ночь откачивала воду из подвалов и сегодня продолжит, потому что к вечеру снова ждут дождя.",
    "Вечером дождь перестал, и люди вышли посмотреть, что осталось от рынка, от лавок у реки и от старой пристани."],
    "Chinese": ["本报讯,今天山城下了一整天的大雨,河水上涨了两米,下桥已经封闭。", "学校照常上课。不过,往北的公共汽车改走老路,要多花半个小时。",
                "消防队有四十名队员,整夜抽水,今天还要继续,因为下午还会下雨。", "傍晚雨停了,人们走出家门,去看河边的市场还剩下什么。"]}
SHORT = {"English": ["Two eggs", "Built in six years of work", "Quay", "A place where boats are loaded, and unloaded."], "Russian": ["Два яйца", "Построен за шесть лет", "Пристань", "Место, где грузят лодки, и не только лодки."],
         "Chinese": ["两个鸡蛋", "六年建成", "码头", "装货卸货的地方。"]}
FORMS = {   # between two paragraphs: markup of the short texts a, b, c and d -> lines
    "a list": ("<ul><li>{}</li><li>{}</li></ul>", "{}\n{}"), "a numbered list": ("<ol><li>{}</li><li>{}</li></ol>", "{}\n{}"), "a list in a list": ("<ul><li>{}<ul><li>{}</li></ul></li></ul>", "{}\n{}"),
    "a list with one link": ("<ul><li>{}</li><li><a href=/q>{}</a></li><li>{}, {}</li></ul>", "{}\n{}\n{}, {}"), "a boxed list": ("<div><ul><li>{}</li><li><p>{}</p></li></ul></div>", "{}\n{}"),
    "definitions": ("<dl><dt>{}</dt><dd>{}</dd><dt>{}</dt><dd>{}</dd></dl>", "{}\n{}\n{}\n{}"), "a quote": ("<blockquote>{}</blockquote><blockquote><p>{}</p></blockquote>", "{}\n{}"),
    "preformatted": ("<pre>{}\n    {}</pre>", "{}\n    {}"), "a table": ("<table><tr><th>{}</th><th>{}</th></tr><tr><td>{}</td><td>{}</td></tr></table>", "{}\t{}\n{}\t{}"),
    "a heading over a list": ("<h2>{}</h2><ul><li>{}</li><li>{}</li></ul>", "{}\n{}\n{}")}
ASIDE = {"links": '<ul><li><a href="/1">{}</a></li><li><a href="/2">{}</a></li></ul>', "a share bar": '<ul class="share-bar"><li>{}</li><li>{}</li></ul>', "boxed links": '<div><h3>{}</h3><ul><li><a href="/1">{}</a></li></ul></div>',
         "the owner": "<ul><li>© 2020 {}</li><li>{}</li></ul>", "a menu": "<nav><ul><li>{}</li><li>{}</li></ul></nav>", "a menu by name": '<div class="menu"><ul><li>{}</li><li>{}</li></ul></div>'}


@pytest.mark.parametrize("language", SAID)
@pytest.mark.parametrize("form", FORMS)
def test_short_forms_among_paragraphs_stay(form, language):
    said, (markup, lines) = SAID[language], (text.format(*SHORT[language]) for text in FORMS[form])
    for page in (f"<div><h1>{SHORT[language][2]}</h1><p>{said[0]}</p>{markup}<p>{said[1]}</p></div>", f"<div><h1>{SHORT[language][2]}</h1><div>{said[0]}</div>{markup}<div>{said[1]}</div></div>"):
        assert article(f"<html><body>{page}</body></html>")[0] == "\n".join([SHORT[language][2], said[0], lines, said[1]])


@pytest.mark.parametrize("language", SAID)
@pytest.mark.parametrize("form", ["a list", "a numbered list", "definitions", "a quote", "a table", "a heading over a list"])
def test_a_short_form_at_the_end_stays(form, language):
    said, (markup, lines) = SAID[language], (text.format(*SHORT[language]) for text in FORMS[form])
    assert article(f"<html><body><div><p>{said[0]}</p><p>{said[1]}</p>{markup}</div></body></html>")[0] == "\n".join([said[0], said[1], lines])


@pytest.mark.parametrize("language", ["English", "Russian"])
@pytest.mark.parametrize("form", ASIDE)
def test_menus_and_share_bars_stay_out(form, language):
    said, aside = SAID[language], ASIDE[form].format(*SHORT[language][1:])
    for page in (f"<p>{said[0]}</p>{aside}<p>{said[1]}</p>", f"<p>{said[0]}</p><p>{said[1]}</p>{aside}"):
        assert article(f"<html><body><div>{page}</div></body></html>")[0].splitlines() == said[:2]


@pytest.mark.parametrize("language", SAID)
def test_sections_with_a_list_alone_stay(language):
    said, (a, b, c, d) = SAID[language], SHORT[language]
    page = f"<section><h2>{a}</h2><p>{said[0]}</p></section><section><h2>{b}</h2><ul><li>{c}</li><li>{d}</li></ul></section><section><h2>{c}</h2><p>{said[1]}</p></section>"
    assert article(f"<html><body><div>{page}</div></body></html>")[0].splitlines() == [a, said[0], b, c, d, c, said[1]]


@pytest.mark.parametrize("language", SAID)
@pytest.mark.parametrize("first", ["{}<br><br>{}", "<p>{}</p><p>{}</p>"])
def test_every_row_of_a_layout_table_stays(first, language):
    said, (a, b, c, _) = SAID[language], SHORT[language]
    menu, lines = '<a href="/">Home</a><br><a href="/s">Sport</a>', [b, said[0], said[1], c, said[2]]
    first = f"<h2>{b}</h2>{first.format(*said)}"
    for table in (f"<tr><td>{first}</td></tr><tr><td><h3>{c}</h3><p>{said[2]}</p></td></tr>", f"<tr><td>{first}</td></tr><tr><td><h3>{c}</h3>{said[2]}</td></tr>",
                  f"<tr><td>{first}</td></tr><tr><td> </td></tr><tr><td><h3>{c}</h3></td></tr><tr><td>{said[2]}</td></tr>",
                  f"<tbody><tr><td>{menu}</td><td>{first}</td></tr><tr><td></td><td><h3>{c}</h3><p>{said[2]}</p></td></tr></tbody>"):
        assert article(f"<html><body><table>{table}</table></body></html>")[0].splitlines() == lines, table
    listed = f"<tr><td>{first}</td></tr><tr><td><ul><li>{a}</li><li>{c}</li></ul></td></tr><tr><td>{said[2]}<br><br>{said[3]}</td></tr><tr><td>© 2020, {said[3]}</td></tr>"
    assert article(f"<html><body><table>{listed}</table></body></html>")[0].splitlines() == [b, said[0], said[1], a, c, said[2], said[3]]


def test_a_list_about_copyright_stays():
    listed = "<ul><li>The copyright of a song</li><li>The copyright of a book</li></ul>"
    assert article(f"<html><body><div><p>{STORY[0]}</p>{listed}<p>{STORY[1]}</p></div></body></html>")[0].splitlines() == [STORY[0], "The copyright of a song", "The copyright of a book", STORY[1]]


def test_notes_in_a_table_keep_their_order():
    rows = "".join(f'<tr><td><a href="#{n}">[{n}]</a></td><td>{text} {text} {text} {text}</td></tr>' for n, text in enumerate(STORY))
    assert [line[:3] for line in web.whole_text(f"<table>{rows}</table>").splitlines()] == [part for n, text in enumerate(STORY) for part in (f"[{n}]", text[:3])]


LONG = {"list items": "<ul>" + "<li>egg</li>" * 30_000 + "</ul>", "open list items": "<ul>" + "<li>egg" * 30_000, "lists": "<ul><li>egg</ul>" * 15_000, "definitions": "<dl>" + "<dt>a<dd>egg" * 15_000 + "</dl>",
        "boxed lists": "<div><ul><li>egg</ul></div>" * 10_000, "nested lists": "<ul><li>egg" * 20_000, "nested boxes": "<div>" * 20_000 + "<ul><li>egg</ul>" + "</div>" * 20_000,
        "rows": f"<table><tr><td><h2>a</h2>{PARAGRAPH}" + "<tr><td>egg" * 15_000 + f"<tr><td>{PARAGRAPH}</table>"}


@pytest.mark.parametrize("kind", LONG)
def test_long_lists_take_no_square_of_time(kind):
    start = time.process_time()
    text, _ = article(f"<html><body><div><p>{PARAGRAPH * 2}</p>{LONG[kind]}<p>{PARAGRAPH * 2}</p></div></body></html>")
    assert time.process_time() - start < 40 and PARAGRAPH.strip() in text


def pages_of(path):
    with tarfile.open(path) as tar:
        for member in tar:
            if member.isfile(): yield member.name.removeprefix("./"), tar.extractfile(member).read()


@pytest.mark.skipif(not data_dir() or not (data_dir() / "web_zh_news_pages").exists(), reason="LMNB_DATA has no web_zh_news_pages")
def test_every_chinese_page_gives_its_article():
    folder = data_dir() / "web_zh_news_pages"
    silver = {row["page"]: row for row in map(json.loads, gzip.open(folder / "gne_output_silver.jsonl.gz", "rt", encoding="utf-8"))}
    pages, scores = dict(pages_of(folder / "pages.tar.gz")), {}
    assert len(pages) == 60
    for name, data in pages.items():
        text, meta = article(data)
        assert len(text) >= 80 and meta["language"] == "zh" and meta.get("title"), name
        key = next((key for key in silver if name.endswith(key)), None)
        if key: scores[key] = shingle_scores(silver[key]["content"], text, characters=True)
    assert len(scores) == 20
    for key, (precision, recall) in scores.items(): assert precision > .7 and recall > .8, (key, precision, recall)


# -- addresses -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("address", """127.0.0.1 127.8.8.8 10.1.2.3 172.16.0.1 172.31.255.255 192.168.0.1 169.254.169.254 100.64.0.1 100.100.100.200 0.0.0.0 192.0.0.192
    168.63.129.16 198.18.0.1 224.0.0.251 239.255.255.250 240.0.0.1 255.255.255.255 ::1 :: fe80::1 fe80::1%eth0 fc00::1 fd00:ec2::254 ff02::1 fec0::1 ::ffff:10.0.0.1
    ::ffff:169.254.169.254 ::127.0.0.1 64:ff9b::a9fe:a9fe 64:ff9b:1::1 2002:a00:1:: 2001:db8::1 ::ffff:0:7f00:1 3fff::1 3fff:fff::1 5f00::1""".split())
def test_private_addresses(address): assert not is_public(address)


@pytest.mark.parametrize("address", "8.8.8.8 1.1.1.1 172.32.0.1 2606:4700:4700::1111 ::ffff:8.8.8.8 64:ff9b::808:808".split())
def test_public_addresses(address): assert is_public(address)


@pytest.mark.parametrize("address", ["ftp://example.org/x", "file:///etc/passwd", "example.org", "", "http://", "http://user:secret@example.org/", "http://exa mple.org/", "gopher://x", "http://a:99999/", "javascript:alert(1)"])
def test_only_the_web(address):
    with pytest.raises(InputError) as caught: Fetcher(allow_private=True, seconds=5).fetch(address)
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)


def test_chinese_addresses():
    assert str(web_address("https://例子.中国/路径?q=词#部分")) == "https://xn--fsqu00a.xn--fiqs8s/%E8%B7%AF%E5%BE%84?q=%E8%AF%8D"


def test_retry_after():
    assert retry_after("120") == 120 and retry_after("soon") is None and retry_after(None) is None and retry_after("-5") is None
    assert 28 < retry_after(email.utils.formatdate(time.time() + 30, usegmt=True)) <= 30
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0


# -- bodies ----------------------------------------------------------------------------------------------------------

def test_unpacked():
    data = PARAGRAPH.encode() * 100
    raw = zlib.compressobj(wbits=-15)
    raw = raw.compress(data) + raw.flush()
    for packed, coding in ((data, ""), (gzip.compress(data), "gzip"), (zlib.compress(data), "deflate"), (raw, "deflate"), (gzip.compress(data[:50]) + gzip.compress(data[50:]), "gzip")):
        for size in (1, 7, 10**6):
            assert body_of((packed[i:i + size] for i in range(0, len(packed), size)), coding, most=10**6) == data, (coding, size)
    assert body_of([data], "identity", most=len(data)) == data
    with pytest.raises(InputError, match="larger"): body_of([data], "", most=len(data) - 1)
    with pytest.raises(CorruptError, match="middle"): body_of([gzip.compress(data)[:-9]], "gzip", most=10**6)
    with pytest.raises(CorruptError, match="damaged"): body_of([b"no gzip at all"], "gzip", most=10**6)
    with pytest.raises(CorruptError, match="nobody"): body_of([data], "gzip, gzip", most=10**6)


# -- a server --------------------------------------------------------------------------------------------------------

class Site(BaseHTTPRequestHandler):
    "Each test fills `answers`: path -> (status, headers, body), a list of these to be given in turn, or a function of the handler."
    def do_GET(self):
        server = self.server
        server.log.append((self.path, dict(self.headers), time.monotonic()))
        answer = server.answers.get(self.path, (404, {}, b"nothing here"))
        if isinstance(answer, list): answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if callable(answer): return answer(self)
        status, headers, body = answer
        self.send_response(status)
        for name, value in {"Content-Type": "text/html", "Content-Length": str(len(body)), **headers}.items(): self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments): pass


@pytest.fixture
def site():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.daemon_threads, server.log, server.answers = True, [], {}
    server.url = f"http://127.0.0.1:{server.server_port}"
    server.paths = lambda: [path for path, _, _ in server.log]
    threading.Thread(target=server.serve_forever, args=(.02,), daemon=True).start()
    yield server
    server.shutdown(); server.server_close()


@pytest.fixture
def named(site, monkeypatch):
    "A name, site.test, whose address 127.0.0.2 passes for a public one; everything else is judged as ever."
    site.lookups, original, public = [], socket.getaddrinfo, web.is_public
    site.points_to = ["127.0.0.2"]
    def resolve(host, port, *rest, **more):
        host = host.decode() if isinstance(host, bytes) else host
        site.lookups.append(host)
        if host != "site.test": return original(host, port, *rest, **more)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (site.points_to.pop(0) if len(site.points_to) > 1 else site.points_to[0], port))]
    wide = ThreadingHTTPServer(("127.0.0.2", site.server_port), Site)
    wide.daemon_threads, wide.log, wide.answers = True, site.log, site.answers
    threading.Thread(target=wide.serve_forever, args=(.02,), daemon=True).start()
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(web, "is_public", lambda address: address == "127.0.0.2" or public(address))
    site.name = f"http://site.test:{site.server_port}"
    yield site
    wide.shutdown(); wide.server_close()


def quick(**options): return Fetcher(**{"allow_private": True, "pause": 0, "backoff": .01, "seconds": 10, **options})


def test_a_page_comes_with_notes(site):
    site.answers["/a"] = 200, {"Content-Type": "text/html; charset=GBK", "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}, "<p>今天下雨".encode("gbk")
    body, meta = quick(contact="mailto:me@example.org").fetch(site.url + "/a#part")
    assert page_text(body, charset=meta["charset"]) == ("<p>今天下雨", "gb18030")
    assert meta["url"] == site.url + "/a" and meta["type"] == "text/html" and meta["modified"] and meta["fetched"] and "asked" not in meta
    assert all(re.fullmatch(r"lmnb/[\d.]+ \(\+mailto:me@example\.org\)", headers["User-Agent"]) for _, headers, _ in site.log)
    assert site.paths() == ["/robots.txt", "/a"]


def test_wrong_charset_header(site):
    site.answers["/a"] = 200, {"Content-Type": "text/html; charset=ISO-8859-1"}, f"<html><meta charset='utf-8'><p>{'今天下雨,明天也下雨,后天还下雨。' * 9}".encode()
    body, meta = quick().fetch(site.url + "/a")
    text, notes = article(body, url=meta["url"], charset=meta["charset"])
    assert meta["charset"] == "iso-8859-1" and text.startswith("今天下雨") and "encoding" not in notes


@pytest.mark.parametrize("header, charset", [
    ("text/html; charset*=utf-8''gb2312", "gb2312"), ("text/html; charset*=us-ascii'en'GBK", "gbk"), ("text/html; charset*=nonsense''%zz", "nonsense"), ("text/html; charset*0=gb; charset*1=2312", None),
    ("text/html; charset=\"gb2312\"", "gb2312"), ("text/html;charset = 'gb2312'", "gb2312"), ("text/html; charset=", None), ("text/html; charset=;", None), (";;;charset=gb2312", "gb2312"),
    ("text/html; charset=\xff\xfe", None), ("text/html; charset=" + "x" * 5000, "x" * 40), ("charset*=''", None), ("text/html; charset*=\"utf-8''%E4\"", "utf-8"), ("text/html; charset=none; charset=gb2312", "none")])
def test_a_header_of_any_make_is_no_error(site, header, charset):
    site.answers["/a"] = 200, {"Content-Type": header}, f"<p>{'今天下雨,明天也下雨。' * 9}".encode("gbk")
    body, meta = quick().fetch(site.url + "/a")
    assert meta.get("charset") == charset
    text, notes = article(body, url=meta["url"], charset=meta.get("charset"))
    assert text.startswith("今天下雨") and notes["encoding"] == "gb18030"


def test_robots_are_read_once_and_obeyed(site):
    site.answers.update({"/robots.txt": (200, {}, b"User-agent: *\nDisallow: /\n\nUser-agent: lmnb\nDisallow: /closed\nAllow: /closed/open\n"), "/a": (200, {}, b"a"), "/closed/open": (200, {}, b"o")})
    reader = quick()
    assert reader.fetch(site.url + "/a")[0] == b"a" and reader.fetch(site.url + "/closed/open")[0] == b"o"
    with pytest.raises(InputError, match="robots.txt"): reader.fetch(site.url + "/closed/x")
    site.answers["/r"] = 302, {"Location": "/closed/y"}, b""
    with pytest.raises(InputError, match="robots.txt"): reader.fetch(site.url + "/r")
    assert site.paths() == ["/robots.txt", "/a", "/closed/open", "/r"]


def test_robots_of_a_troubled_server(site):
    site.answers.update({"/robots.txt": (503, {}, b""), "/a": (200, {}, b"a")})
    with pytest.raises(InputError, match="robots.txt answers 503"): quick(tries=2).fetch(site.url + "/a")
    assert "/a" not in site.paths()
    site.answers["/robots.txt"] = 403, {}, b"User-agent: *\nDisallow: /"
    assert quick().fetch(site.url + "/a")[0] == b"a"


@pytest.mark.parametrize("status", [429, 500, 501, 507, 520, 599])
def test_robots_that_cannot_be_said_allow_nothing(site, status):
    site.answers.update({"/robots.txt": (status, {}, b"User-agent: *\nAllow: /\n"), "/a": (200, {}, b"a")})
    with pytest.raises(InputError, match=f"robots.txt answers {status}"): quick(tries=1).fetch(site.url + "/a")
    assert site.paths() == ["/robots.txt"]


def test_pause_and_crawl_delay(site):
    site.answers.update({"/robots.txt": (200, {}, b"User-agent: *\nCrawl-delay: 0.4\n"), "/a": (200, {}, b"a")})
    reader = quick(pause=.1)
    for _ in range(3): reader.fetch(site.url + "/a")
    times = [when for _, _, when in site.log]
    gaps = [b - a for a, b in zip(times, times[1:])]
    assert gaps[0] >= .095 and min(gaps[1:]) >= .39


@pytest.mark.parametrize("value", ["1", "date"])
def test_429_waits_as_long_as_it_is_told(site, value):
    value = email.utils.formatdate(time.time() + 2, usegmt=True) if value == "date" else value
    site.answers["/a"] = [(429, {"Retry-After": value}, b""), (200, {}, b"now")]
    assert quick().fetch(site.url + "/a")[0] == b"now"
    times = [when for path, _, when in site.log if path == "/a"]
    assert .9 <= times[1] - times[0] < 3


def test_a_wait_past_the_limit_is_not_begun(site):
    site.answers["/a"] = 429, {"Retry-After": "3600"}, b""
    start = time.monotonic()
    with pytest.raises(InputError, match="3600 s"): quick().fetch(site.url + "/a")
    assert time.monotonic() - start < 2 and site.paths().count("/a") == 1


def test_503_then_200(site):
    site.answers["/a"] = [(503, {}, b""), (502, {}, b""), (200, {}, b"here")]
    assert quick().fetch(site.url + "/a")[0] == b"here"
    site.answers["/b"] = 503, {}, b""
    with pytest.raises(InputError, match="answers 503"): quick(tries=3).fetch(site.url + "/b")
    assert site.paths().count("/b") == 3
    with pytest.raises(InputError, match="answers 404"): quick().fetch(site.url + "/c")
    assert site.paths().count("/c") == 1


def test_back_off_grows_with_jitter(site, monkeypatch):
    waits = []
    monkeypatch.setattr(web, "sleep", waits.append)
    monkeypatch.setattr(web.random, "random", lambda: .5)
    site.answers["/a"] = 503, {}, b""
    with pytest.raises(InputError): quick(backoff=1).fetch(site.url + "/a")
    assert len(waits) == 3 and all(abs(wait - due) < .1 for wait, due in zip(waits, (.5, 1, 2)))


def test_connection_that_breaks(site):
    def breaks(handler): handler.connection.shutdown(socket.SHUT_RDWR)
    def short(handler):
        handler.send_response(200); handler.send_header("Content-Length", "1000"); handler.end_headers(); handler.wfile.write(b"half"); handler.wfile.flush()
        handler.connection.shutdown(socket.SHUT_RDWR)
    site.answers["/a"] = [breaks, short, (200, {}, b"whole")]
    assert quick().fetch(site.url + "/a")[0] == b"whole"
    site.answers["/b"] = short
    with pytest.raises(InputError, match="cannot be reached"): quick(tries=2).fetch(site.url + "/b")


def test_nobody_at_home():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(InputError, match="cannot be reached") as caught: quick(tries=2).fetch(f"http://127.0.0.1:{port}/")
    assert "\n" not in str(caught.value)


# -- redirects -------------------------------------------------------------------------------------------------------

def test_redirects(site):
    site.answers.update({"/a": (301, {"Location": "b"}, b""), "/b": (307, {"Location": site.url + "/c?q=%E8%AF%8D"}, b""), "/c?q=%E8%AF%8D": (200, {}, b"end")})
    body, meta = quick().fetch(site.url + "/a")
    assert body == b"end" and meta["url"].endswith("/c?q=%E8%AF%8D") and meta["asked"].endswith("/a")


def test_redirect_loop(site):
    site.answers["/a"] = 302, {"Location": "/a"}, b""
    with pytest.raises(InputError, match="redirects more than 5 times"): quick().fetch(site.url + "/a")
    assert site.paths().count("/a") == 6


@pytest.mark.parametrize("target", ["http://127.0.0.1:{port}/secret", "http://169.254.169.254/latest/meta-data/", "http://[::1]:{port}/secret", "http://[::ffff:127.0.0.1]:{port}/secret",
                                    "http://2130706433:{port}/secret", "http://0x7f.1:{port}/secret", "//localhost:{port}/secret", "http://10.0.0.1/"])
def test_redirects_inside_are_refused(named, target):
    named.answers.update({"/a": (302, {"Location": target.format(port=named.server_port)}, b""), "/secret": (200, {}, b"secret")})
    start = time.monotonic()
    with pytest.raises(CorruptError, match="not a public address"): quick(allow_private=False).fetch(named.name + "/a")
    assert "/secret" not in named.paths() and named.paths() == ["/robots.txt", "/a"] and time.monotonic() - start < 5


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://example.org/", "javascript:x"])
def test_redirects_leave_the_web_nowhere(named, target):
    named.answers["/a"] = 302, {"Location": target}, b""
    with pytest.raises(InputError, match="not an address of the web"): quick(allow_private=False).fetch(named.name + "/a")


def test_redirected_robots_are_checked_too(named):
    named.answers.update({"/robots.txt": (302, {"Location": f"http://127.0.0.1:{named.server_port}/secret"}, b""), "/secret": (200, {}, b"")})
    with pytest.raises(CorruptError, match="not a public address"): quick(allow_private=False).fetch(named.name + "/a")
    assert named.paths() == ["/robots.txt"]


def test_a_private_address_is_refused_at_once(site):
    with pytest.raises(CorruptError, match="allow_private"): quick(allow_private=False).fetch(site.url + "/a")
    assert not site.log


def test_the_checked_address_is_the_one_connected_to(named):
    "DNS rebinding: each connection resolves once; a name that moves inside is refused when it is next used."
    named.answers["/a"] = 200, {}, b"outside"
    body, _ = quick(allow_private=False).fetch(named.name + "/a")
    assert body == b"outside" and named.lookups.count("site.test") == 2 and all(headers["Host"].startswith("site.test") for _, headers, _ in named.log)
    named.points_to = ["127.0.0.2", "127.0.0.1"]
    with pytest.raises(CorruptError, match="127.0.0.1 is not a public"): quick(allow_private=False).fetch(named.name + "/a")
    assert named.paths()[2:] == ["/robots.txt"]


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes the certificate")
def test_https_asks_for_the_name_and_checks_it(named, tmp_path, monkeypatch):
    "The connection goes to the checked address; name indication and certificate are those of the host."
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=site.test",
                    "-addext", "subjectAltName=DNS:site.test"], check=True, capture_output=True)
    context, names = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), []
    context.load_cert_chain(certificate, key)
    context.sni_callback = lambda connection, name, _: names.append(name)
    safe = ThreadingHTTPServer(("127.0.0.2", 0), Site)
    safe.daemon_threads, safe.log, safe.answers = True, named.log, {"/a": (200, {}, b"over TLS")}
    safe.socket = context.wrap_socket(safe.socket, server_side=True)
    threading.Thread(target=safe.serve_forever, args=(.02,), daemon=True).start()
    try:
        with pytest.raises(InputError, match="CERTIFICATE_VERIFY_FAILED"): quick(allow_private=False, tries=1).fetch(f"https://site.test:{safe.server_port}/a")
        monkeypatch.setattr(web, "_tls", lambda: ssl.create_default_context(cafile=certificate))
        assert quick(allow_private=False).fetch(f"https://site.test:{safe.server_port}/a")[0] == b"over TLS"
        with pytest.raises(InputError, match="CERTIFICATE_VERIFY_FAILED"): quick(tries=1).fetch(f"https://127.0.0.2:{safe.server_port}/a")
    finally: safe.shutdown(); safe.server_close()
    assert set(names) == {"site.test", None} and named.log[-1][1]["Host"].startswith("site.test")


def test_proxies_of_the_environment_are_not_asked(site, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"): monkeypatch.setenv(name, "http://127.0.0.1:9/")
    site.answers["/a"] = 200, {}, b"direct"
    assert quick().fetch(site.url + "/a")[0] == b"direct"


# -- limits ----------------------------------------------------------------------------------------------------------

def drip(handler, first=b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", then=b"x"):
    handler.wfile.write(first)
    for _ in range(100):
        try: handler.wfile.write(then); handler.wfile.flush()
        except OSError: return
        time.sleep(.1)


@pytest.mark.parametrize("answer", [drip, lambda handler: drip(handler, b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"), lambda handler: time.sleep(8)], ids=["body", "headers", "silence"])
def test_a_slow_server_hits_the_time_limit(site, answer):
    site.answers["/a"] = answer
    start = time.monotonic()
    with pytest.raises(InputError, match="longer than 1 s"): quick(seconds=1).fetch(site.url + "/a")
    assert time.monotonic() - start < 2


def test_size_limit(site):
    site.answers["/a"] = 200, {}, b"x" * 100_000
    assert len(quick(most_bytes=100_000).fetch(site.url + "/a")[0]) == 100_000
    with pytest.raises(InputError, match="larger than 99,999 bytes"): quick(most_bytes=99_999).fetch(site.url + "/a")


def test_endless_body(site):
    def endless(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True: handler.wfile.write(b"x" * 65536)
        except OSError: pass
    site.answers["/a"] = endless
    with pytest.raises(InputError, match="larger"): quick(most_bytes=10**6).fetch(site.url + "/a")


def test_gzip_bomb(site):
    import tracemalloc
    bomb = zlib.compressobj(9, wbits=31)
    bomb = b"".join(bomb.compress(bytes(10**6)) for _ in range(300)) + bomb.flush()
    site.answers["/a"] = 200, {"Content-Encoding": "gzip"}, bomb
    assert len(bomb) < 400_000
    tracemalloc.start()
    with pytest.raises(InputError, match="larger than 1,000,000 bytes"): quick(most_bytes=10**6).fetch(site.url + "/a")
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_a_packed_page(site):
    site.answers["/a"] = 200, {"Content-Encoding": "gzip"}, gzip.compress(PARAGRAPH.encode())
    assert quick().fetch(site.url + "/a")[0].decode() == PARAGRAPH
    site.answers["/b"] = 200, {"Content-Encoding": "br"}, b"\x0b"
    with pytest.raises(CorruptError, match="'br'"): quick().fetch(site.url + "/b")


def test_a_huge_robots_file(site):
    site.answers.update({"/robots.txt": (200, {}, b"User-agent: *\nDisallow: /closed\n" + b"# padding\n" * 200_000), "/a": (200, {}, b"a")})
    reader = quick()
    assert reader.fetch(site.url + "/a")[0] == b"a"
    with pytest.raises(InputError, match="robots.txt"): reader.fetch(site.url + "/closed")


def test_the_command_fetches_from_the_own_network_only_when_told(site, tmp_path):
    site.answers["/a"] = 200, {}, f"<p>{PARAGRAPH}</p>".encode()
    (tmp_path/"note.txt").write_text("A note beside it.", encoding="utf-8")
    command = ["collect", f"{site.url}/a", "note.txt", "--out", "docs", "--workers", 1]
    code, out, err = lmnb(*command, cwd=tmp_path)
    removed, = (json.loads(line) for path in (tmp_path/"docs").glob("removed-*") for line in path.read_text(encoding="utf-8").splitlines())
    assert code == 0 and "1 documents, 1 removed" in out and not site.paths(), err                       # the rest is collected
    assert removed["meta"]["fate"] == "quarantined" and "--allow-private" in removed["meta"]["reason"]
    code, out, err = lmnb(*command, "--allow-private", cwd=tmp_path)
    assert code == 0 and "2 documents, 0 removed" in out and "/a" in site.paths(), err                   # done again, as the setting has changed
