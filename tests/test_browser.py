"""The dashboard as a person meets it: in a real browser, in both languages, with nothing fetched from elsewhere."""
import base64, http.client, json, os, re, shutil, socket, subprocess, sys, time, urllib.request
from urllib.parse import quote, urlsplit

import pytest

from lmnb.collect import DataSet
from lmnb.pipeline import run_pipeline
from lmnb.serve import UPLOAD, evaluate_run, find_runs, write_examples
from lmnb.train import fit
from test_app import PAGES
from tiny import shared_runs

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
DONE = "() => document.querySelector('h1') && !document.querySelector('[data-testid=stStatusWidget]') && !document.querySelector('[data-stale=true]')"
CONTENT = {   # page -> what stands on it when it is ready
    "home": "[data-testid=stDataFrame]", "compare": ".js-plotly-plot", "generate": "text=/tokens per second|每秒/", "classify": ".js-plotly-plot", "translate": "h4",
    "answer": "h4", "summarize": "h4", "chat": "[data-testid=stChatInput]",
}
HEADING = {"en": {"home": "build a language model", "compare": "Compare", "generate": "Generate", "classify": "Classify", "translate": "Translate", "answer": "Answer", "summarize": "Summarize", "chat": "Chat"},
           "zh": {"home": "从文本构建", "compare": "比较", "generate": "生成", "classify": "分类", "translate": "翻译", "answer": "问答", "summarize": "摘要", "chat": "对话"}}


LETTERS = {"a.txt": "The library opens at nine and closes at six.\r\nOn Sundays it stays closed. ", "b.txt": "The ｌibrary opens at nine and  closes at six.\nOn Sundays it stays closed.",
           "c.txt": "The harbour opens at ten; ships are seen from the wall. See ![x](http://evil.example/x.png) <b>for</b> more of them.", "d.txt": "-- 7 --"}
PAYLOADS = ["![x](http://evil.example/x.png)", "<img src='http://evil.example/y.png' onerror='document.title=`owned`'>", "<a href='http://evil.example/z'>press</a>", "[click](javascript:alert(1))",
            "$\\href{http://evil.example/m}{m}$", ":material/home: :red[red] :smile:", "<script>document.title='owned'</script>", "https://evil.example/auto www.evil.example", "**bold** `code` | a | b |", "<b style='background:url(http://evil.example/s)'>s</b>"]
WORDS = "The library opens at nine and the harbour at ten."


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    "A home of this module's own: the small runs, a corpus of two stages, and a run whose every name is hostile."
    home, before = tmp_path_factory.mktemp("browser") / "home", os.environ["LMNB_HOME"]
    shutil.copytree(shared_runs(tmp_path_factory), home)
    os.environ["LMNB_HOME"] = str(home)
    try:
        (home / "letters").mkdir()
        for name, text in LETTERS.items(): (home / "letters" / name).write_text(text, encoding="utf-8", newline="")
        run_pipeline(home / "letters", [], home / "corpora/letters/collected")
        run_pipeline(home / "corpora/letters/collected", ["lmnb.clean:CLEANING", "lmnb.dedup:DEDUP"], home / "corpora/letters/result")
        for task, rows in {"classify": [{"text": f"{WORDS} {label}", "label": label, "language": "en"} for label in PAYLOADS], "lm": [{"text": f"{WORDS} {text}"} for text in PAYLOADS]}.items():
            data = DataSet(f"evil-{task}", task, ("en",), PAYLOADS[0], {part: rows*2 for part in ("train", "dev", "test")})
            run = home / "runs" / data.name / PAYLOADS[3]
            fit(run, task=task, model="lstm-tiny", data=data, steps=4, batch=8, scores=1)
            write_examples(run, data)
            if task == "classify": evaluate_run(run, data)
            config = json.loads((run / "config.json").read_text(encoding="utf-8"))
            config["checkpoint"] |= {"preset": PAYLOADS[0], "data": config["checkpoint"]["data"] | {"name": PAYLOADS[1 if task == "lm" else 2]}}
            (run / "config.json").write_text(json.dumps(config), encoding="utf-8")
    finally: os.environ["LMNB_HOME"] = before
    return home


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory, place, root):
    "The dashboard in a process of its own, with small runs; its address."
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("dashboard") / "log.txt"
    command = [sys.executable, "-c", "from lmnb.cli import main; main()", "app", "--port", str(port), "--no-open"]
    env = {**os.environ, "LMNB_HOME": str(place), "PYTHONPATH": os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")])), "OMP_NUM_THREADS": "1"}
    with open(log, "w") as out: process = subprocess.Popen(command, env=env, stdout=out, stderr=subprocess.STDOUT)
    try:
        wait_for(f"http://localhost:{port}/_stcore/health", process, log)
        yield f"http://localhost:{port}"
    finally:
        process.terminate()
        process.wait(20)


def wait_for(address, process, log):
    "Until the server answers, at most a minute."
    for _ in range(240):
        assert process.poll() is None, log.read_text()
        try: return urllib.request.urlopen(address, timeout=1)
        except OSError: time.sleep(0.25)
    raise AssertionError(f"the dashboard did not start: {log.read_text()}")


@pytest.fixture(scope="module")
def browser(chromium):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")
    with playwright.sync_playwright() as p:
        found = p.chromium.launch(executable_path=chromium, args=FLAGS)
        yield found
        found.close()


@pytest.fixture
def tab(browser, tmp_path, request):
    "A browser tab that keeps an eye on where requests go, and leaves a screenshot."
    context = browser.new_context(viewport={"width": 1280, "height": 1000}, locale="en-US")
    page = context.new_page()
    page.elsewhere, page.errors, page.refused = [], [], []
    page.on("request", lambda r: page.elsewhere.append(r.url) if urlsplit(r.url).hostname not in ("localhost", None, "") else None)
    page.on("response", lambda r: page.refused.append((r.status, r.url)) if r.status >= 400 else None)
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    yield page
    page.screenshot(path=str(tmp_path / "page.png"), full_page=True)
    context.close()
    assert not page.elsewhere and not page.errors and not page.refused


def ready(page, selector):
    "Wait until the page has been written and the content stands there."
    page.locator(selector).first.wait_for(timeout=60_000)
    page.wait_for_function(DONE, timeout=60_000)
    assert page.locator("[data-testid=stException], [data-testid=stAlert]").count() == 0


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("name", PAGES)
def test_page_in_a_browser(dashboard, tab, name, lang):
    "By its own address (no 404: see `tab`), in the language that the address names, under a title of its own; narrow as a phone it does not scroll sideways."
    tab.goto(f"{dashboard}/{'' if name == 'home' else name}?lang={lang}")
    ready(tab, CONTENT[name])
    assert HEADING[lang][name] in tab.locator("h1").first.inner_text()
    assert ("首页" if lang == "zh" else "Home") in tab.locator("[data-testid=stSidebar]").inner_text()
    assert tab.title() == f"{TITLE[lang][name]} · lmnb" and tab.evaluate("document.documentElement.lang") == {"en": "en", "zh": "zh-CN"}[lang]
    tab.set_viewport_size(PHONE)
    tab.wait_for_function(NOT_SIDEWAYS, timeout=10_000)


PHONE = {"width": 390, "height": 844}
NOT_SIDEWAYS = "() => [document.documentElement, document.body, document.querySelector('[data-testid=stMain]')].every(node => node.scrollWidth <= innerWidth)"
TITLE = {"en": {name: name.capitalize() for name in PAGES}, "zh": {name: HEADING["zh"][name] for name in PAGES} | {"home": "首页"}}
VIEWS = ("report", "fate", "twins", "upload")          # pieces: test_tokenizers_colour_a_text


@pytest.fixture
def another(browser, tmp_path):
    "Opens further tabs as other people have them: their language, their theme, their phone. None may ask for anything from elsewhere."
    opened, elsewhere = [], []
    def open_tab(**look):
        opened.append(browser.new_context(**{"viewport": {"width": 1280, "height": 1000}, "locale": "en-US"} | look))
        page = opened[-1].new_page()
        page.on("request", lambda r: elsewhere.append(r.url) if urlsplit(r.url).hostname not in ("localhost", None, "") else None)
        page.on("response", lambda r: elsewhere.append((r.status, r.url)) if r.status >= 400 else None)
        return page
    yield open_tab
    for number, context in enumerate(opened):
        context.pages[0].screenshot(path=str(tmp_path / f"page-{number}.png"), full_page=True)
        context.close()
    assert not elsewhere


def test_a_chinese_phone_gets_chinese_pages_with_chinese_data(dashboard, another):
    "Without a word in the address: the browser says it. Every page, and every view of the data."
    page = another(viewport=PHONE, is_mobile=True, has_touch=True, locale="zh-CN", color_scheme="dark")
    for path, heading, content in [*((name, HEADING["zh"][name], CONTENT[name]) for name in PAGES if name != "home"), *((f"data?view={view}", "数据", "[data-testid=stMain] label, h4") for view in VIEWS)]:
        page.goto(f"{dashboard}/{path}")
        page.locator(content).first.wait_for(timeout=60_000, state="attached")
        page.wait_for_function(DONE, timeout=60_000)
        assert heading in page.locator("h1").first.inner_text() and page.evaluate("document.documentElement.lang") == "zh-CN" and page.title().startswith(heading), path
        assert page.locator("[data-testid=stException]").count() == 0
        page.wait_for_function(NOT_SIDEWAYS, timeout=10_000)
        if path == "classify": assert "sentiment_zh" in page.locator("[data-testid=stSelectbox]").first.inner_text() or page.locator("[data-testid=stSelectbox] input").first.input_value() == "sentiment_zh"
        if path in ("answer", "chat"): assert re.search("[一-鿿]", page.locator("[data-testid=stMain] [data-testid=stButton]").first.inner_text()), path
    page.goto(f"{dashboard}/")
    page.locator("[data-testid=stHtml] strong").first.wait_for(timeout=60_000)                        # the table is a list here
    page.wait_for_function(NOT_SIDEWAYS, timeout=10_000)
    assert page.locator("[data-testid=stHtml] strong").count() >= 18 and not page.locator("[data-testid=stDataFrame]").first.is_visible()


BRIGHT = """node => { const [r, g, b] = getComputedStyle(node)[node.tagName == 'text' ? 'fill' : 'color'].match(/[\\d.]+/g).map(Number), [x, y, z] = getComputedStyle(document.querySelector('.stApp')).backgroundColor.match(/[\\d.]+/g).map(Number);
    const light = (...rgb) => rgb.map(v => v/255).map(v => v <= .03928 ? v/12.92 : ((v + .055)/1.055)**2.4).reduce((sum, v, i) => sum + v*[.2126, .7152, .0722][i], 0), [a, c] = [light(r, g, b), light(x, y, z)];
    return [c, (Math.max(a, c) + .05)/(Math.min(a, c) + .05)] }"""          # how light the page is, and the contrast of a text on it


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_follow_the_browser(dashboard, another, scheme):
    page = another(color_scheme=scheme)
    page.goto(f"{dashboard}/compare?data=topics")
    ready(page, CONTENT["compare"])
    page.locator(".js-plotly-plot .annotation-text").first.wait_for(timeout=60_000)
    for place, least in {"h1": 7, "[data-testid=stCaptionContainer] p": 4, ".js-plotly-plot .ytick text": 3, ".js-plotly-plot .xtitle": 3, ".js-plotly-plot .annotation-text": 4}.items():
        ground, contrast = page.locator(place).first.evaluate(BRIGHT)
        assert (ground > 0.9 if scheme == "light" else ground < 0.1) and contrast >= least, (place, ground, contrast)


def column(page, number):
    "What a column of Home's table says, from top to bottom."
    return page.locator(f"[data-testid=stDataFrame] canvas td[aria-colindex='{number}']").all_inner_texts()


def test_home_sorts_the_parameters_as_numbers(dashboard, another):
    page = another(viewport={"width": 2400, "height": 1400})
    page.goto(f"{dashboard}/")
    ready(page, CONTENT["home"])
    page.add_style_tag(content="[data-testid=stMain] * { max-width: none !important } [data-testid=stMain] [data-testid=stVerticalBlock], [data-testid=stMain] [data-testid=stElementContainer], [data-testid=stMain] [data-testid=stLayoutWrapper] { width: 100% !important }")        # all columns at once
    page.wait_for_function("() => document.querySelector('[data-testid=stDataFrame]').getBoundingClientRect().width > 1800", timeout=30_000)
    page.wait_for_timeout(500)
    number, box = page.locator("[data-testid=stDataFrame] canvas th", has_text="parameters").get_attribute("aria-colindex"), page.locator("[data-testid=stDataFrame]").first.bounding_box()
    for x in range(int(box["width"]) - 40, 0, -70):                            # the header is drawn on a canvas: where its column begins is not told
        page.mouse.click(box["x"] + x, box["y"] + 16)
        page.wait_for_timeout(400)
        found = [int(text.replace(",", "")) for text in column(page, number)]
        if found == sorted(found): break
    assert found == sorted(found) and found != sorted(found, key=str) and len(found) >= 18


def test_the_fifth_answer_is_in_view_and_a_reload_keeps_the_talk(dashboard, tab):
    tab.set_viewport_size({"width": 1280, "height": 720})
    tab.goto(f"{dashboard}/chat")
    ready(tab, CONTENT["chat"])
    field, messages = tab.locator("[data-testid=stChatInput] textarea"), tab.locator("[data-testid=stChatMessage]")
    for number in range(1, 6):
        field.fill(f"hello number {number}")
        field.press("Enter")
        messages.nth(3*number - 1).wait_for(timeout=60_000)                                            # the message, and two models
        tab.wait_for_function(DONE, timeout=60_000)
    tab.wait_for_timeout(700)
    for one in (messages.nth(13), messages.nth(14)):                                                   # whole, or as much from its beginning as there is room for
        box, bottom = one.bounding_box(), field.bounding_box()["y"]
        assert 0 <= box["y"] and (box["y"] + box["height"] <= bottom or bottom - box["y"] > 400), (box, bottom)
    before = messages.all_inner_texts()
    tab.reload()
    ready(tab, CONTENT["chat"])
    messages.nth(14).wait_for(timeout=60_000)
    assert messages.all_inner_texts() == before and "hello number 1" in before[0]


def test_a_run_is_followed_from_training_to_finished(dashboard, tab, place, tmp_path):
    rows = "".join(f"The {noun} was {word}.,{label}\n" for noun in ("garden", "train", "soup", "song") for word, label in (("kind", "good"), ("warm", "good"), ("late", "bad"), ("cold", "bad")))
    (tmp_path / "followed.csv").write_text("text,label\n" + rows*20, encoding="utf-8")
    env = {**os.environ, "LMNB_HOME": str(place), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", "from lmnb.cli import main; main()", "train", "--task", "classify", "--model", "lstm-tiny", "--data", str(tmp_path / "followed.csv"), "--name", "watched", "--minutes", "0.2"]
    with open(tmp_path / "log.txt", "w") as log: process = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
    try:
        folder = place / "runs"
        for _ in range(240):
            if list(folder.glob("followed*/watched/metrics.jsonl")) or process.poll() is not None: break
            time.sleep(0.25)
        assert process.poll() is None, (tmp_path / "log.txt").read_text()
        tab.goto(f"{dashboard}/")
        tab.locator("[data-testid=stAlert]", has_text="watched").wait_for(timeout=30_000)
        said = tab.locator("[data-testid=stAlert]", has_text="watched").inner_text()
        assert "training" in said and "%" in said or "…" in said, said
        tab.locator("[data-testid=stAlert]", has_text="watched").wait_for(state="detached", timeout=120_000)      # nobody reloads the page
        ready(tab, CONTENT["home"])
        assert process.wait(60) == 0, (tmp_path / "log.txt").read_text()
    finally:
        process.kill()
        process.wait(20)
    tab.goto(f"{dashboard}/")
    ready(tab, CONTENT["home"])
    shutil.rmtree(next(folder.glob("followed*")))


# What a page must never hold, wherever the text came from: an address elsewhere that is live, a program, a picture.
LIVE = """() => [...document.querySelectorAll('a[href], img[src], script, iframe, object, embed, form, [onerror], [onload], [onclick]')].map(node => node.outerHTML)
    .concat([...document.querySelectorAll('svg a')].map(node => node.outerHTML)).filter(text => /evil\\.example|javascript:|owned/.test(text))"""


@pytest.mark.parametrize("address, content", [("", "[data-testid=stDataFrame]"), ("compare?data=DATA", ".js-plotly-plot"), ("classify?data=DATA", ".js-plotly-plot"), ("generate?data=TEXT", "text=/tokens per second/"),
                                              ("data?view=fate&corpus=letters%2Fresult&find=harbour", "[data-testid=stHtml]"), ("data?view=twins&corpus=letters%2Fresult", "[data-testid=stHtml]")])
def test_hostile_names_are_shown_as_text(dashboard, tab, address, content):
    "Labels, presets, names of runs and data, training text: nothing is fetched (see `tab`), nothing runs, nothing is live; what it says stands there, letter by letter."
    tab.goto(f"{dashboard}/{address.replace('DATA', quote(PAYLOADS[2])).replace('TEXT', quote(PAYLOADS[1]))}")
    ready(tab, content)
    tab.wait_for_timeout(500)
    assert tab.evaluate(LIVE) == [] and "owned" not in tab.title()
    assert tab.locator("[data-testid=stMain] .katex, [data-testid=stMain] .math").count() == 0
    text = tab.locator("[data-testid=stMain]").inner_text() + " ".join(tab.locator("[data-testid=stMain] text").all_text_contents()) + " ".join(tab.locator("[data-testid=stDataFrame] canvas td").all_inner_texts())
    text += " ".join(field.input_value() for field in tab.locator("[data-testid=stMain] input, [data-testid=stMain] textarea").all())
    page = address.split("?")[0]
    shown = {"": [PAYLOADS[1], PAYLOADS[2], PAYLOADS[3]], "compare": [PAYLOADS[3]], "classify": PAYLOADS[:1], "generate": [PAYLOADS[3]], "data": ["![x](http://evil.example/x.png) <b>for</b>"] if "fate" in address else ["stays closed"]}[page]
    for payload in shown: assert payload in text, (payload, text)
    if page == "classify": assert sum(payload in text for payload in PAYLOADS) >= 6                     # six labels are drawn


def answered(dashboard, path, **headers):
    "The status of a request with these headers."
    host, port = urlsplit(dashboard).netloc.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    try:
        connection.putrequest("GET", path, skip_host="host" in headers)
        for name, value in headers.items(): connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        return connection.getresponse().status
    finally: connection.close()


UPGRADE = {"connection": "Upgrade", "upgrade": "websocket", "sec_websocket_version": "13", "sec_websocket_key": base64.b64encode(bytes(16)).decode()}


@pytest.mark.parametrize("path", ["/", "/compare", "/_stcore/health", "/_stcore/stream", "/static/js/none.js"])
def test_only_requests_of_this_machine_are_answered(dashboard, path):
    "A foreign name (DNS rebinding) or a page from elsewhere gets 403, on the websocket too."
    port, headers = urlsplit(dashboard).port, UPGRADE if path.endswith("stream") else {}
    good = answered(dashboard, path, **headers)
    assert good == (101 if headers else good) and good not in (403, 500)
    for host in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}"): assert answered(dashboard, path, host=host, **headers) == good
    assert answered(dashboard, path, origin=dashboard, **headers) == good
    for host in ("evil.example", f"evil.example:{port}", f"localhost.evil.example:{port}", "localhost@evil.example", f"192.168.0.7:{port}", ""): assert answered(dashboard, path, host=host, **headers) in (400, 403)
    for origin in ("http://evil.example", "null", f"http://localhost:{port + 1}", f"http://evil.example:{port}", f"{dashboard}.evil.example"): assert answered(dashboard, path, origin=origin, **headers) == 403


def test_type_a_prompt_and_see_the_text(dashboard, tab):
    tab.goto(f"{dashboard}/generate")
    ready(tab, CONTENT["generate"])
    tab.get_by_label("Beginning").fill("The file")
    tab.get_by_label("Beginning").press("Enter")
    tab.locator("strong", has_text="The file").first.wait_for(timeout=60_000)
    ready(tab, CONTENT["generate"])
    assert "prompt=The+file" in tab.url.replace("%20", "+")
    assert tab.locator("strong", has_text="The file").count() == 3                   # three models


def test_the_language_and_the_selection_survive_in_the_url(dashboard, tab):
    tab.goto(f"{dashboard}/generate?lang=zh&runs=pydocs%2Frnn-tiny&prompt=Raise")
    ready(tab, CONTENT["generate"])
    tab.locator("strong", has_text="Raise").first.wait_for(timeout=60_000)
    assert tab.locator("strong", has_text="Raise").count() == 1 and "lang=zh" in tab.url and "rnn-tiny" in tab.url
    tab.get_by_role("link", name="分类").click()                                        # another page: the language stays, the selection does not
    ready(tab, CONTENT["classify"])
    assert "分类" in tab.locator("h1").first.inner_text() and "lang=zh" in tab.url and "pydocs" not in tab.url
    tab.get_by_text("English", exact=True).click()
    tab.locator("h1", has_text="Classify").wait_for(timeout=60_000)
    assert "lang=zh" not in tab.url


def test_say_something(dashboard, tab):
    tab.goto(f"{dashboard}/chat?lang=zh")
    ready(tab, CONTENT["chat"])
    tab.locator("[data-testid=stChatInput] textarea").fill("你好")
    tab.locator("[data-testid=stChatInput] textarea").press("Enter")
    tab.locator("[data-testid=stChatMessage]").nth(2).wait_for(timeout=60_000)         # the message, and two models
    ready(tab, CONTENT["chat"])
    assert tab.locator("[data-testid=stChatMessage]", has_text="你好").count() >= 1


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_upload_files_and_see_their_report(dashboard, tab, tmp_path, lang):
    evil = "The library opens at nine{}and closes at six on every day of the week. " + "See <script>document.title='owned'</script> or <img src=x onerror=\"document.title='owned'\">."
    files = {"evil.txt": evil.format("  \r\n\r\n\r\n"), "twin.txt": evil.format(", ").upper(), "图书馆.txt": f"图书馆九点开门，六点关门，请大家注意时间。{lang}", "bad.pdf": "%PDF-1.7 cut off"}
    for name, text in files.items(): (tmp_path / name).write_bytes(text.encode())
    tab.goto(f"{dashboard}/data?lang={lang}&view=upload")
    tab.locator("[data-testid=stFileUploader] input[type=file]").first.set_input_files([str(tmp_path / name) for name in files])
    tab.get_by_role("button", name={"en": "Collect, clean", "zh": "收集、清洗"}[lang]).click()
    tab.locator("[data-testid=stMetric]").nth(3).wait_for(timeout=90_000)
    tab.wait_for_function(DONE, timeout=60_000)
    assert [tab.locator("[data-testid=stMetricValue]").nth(i).inner_text() for i in range(3)] == ["4", "2", "2"]
    assert "bad.pdf" in tab.locator("[data-testid=stAlert]").inner_text()
    tab.locator(".js-plotly-plot").first.wait_for(timeout=60_000)
    tab.get_by_text({"en": "Duplicates", "zh": "重复"}[lang], exact=True).first.click()
    tab.locator("text=b.txt").first.wait_for(timeout=60_000)                                            # what is here already comes first, not what was uploaded last
    tab.locator("[data-testid=stSelectbox] input").first.click()
    tab.get_by_role("option", name="evil.txt +3").first.click()
    tab.locator("text=twin.txt").first.wait_for(timeout=60_000)
    tab.get_by_text({"en": "One document", "zh": "单篇文档"}[lang], exact=True).first.click()
    tab.locator("[data-testid=stHtml]", has_text="onerror").first.wait_for(timeout=60_000)
    tab.wait_for_function(DONE, timeout=60_000)
    assert tab.locator("[data-testid=stException], [data-testid=stHtml] img, [data-testid=stHtml] script").count() == 0 and "owned" not in tab.title()
    tab.wait_for_url("**view=fate**", timeout=60_000)
    assert f"lang={lang}" in tab.url or lang == "en"


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_upload_a_folder_within_stated_limits(dashboard, tab, tmp_path, lang):
    folder = tmp_path / "letters"
    (folder / "deep").mkdir(parents=True)
    for number, name in enumerate(["one.md", "deep/two.txt", "deep/three.html"]): (folder / name).write_text(f"Letter {number} ({lang}) says that the library opens at nine in the morning.", encoding="utf-8")
    tab.goto(f"{dashboard}/data?lang={lang}&view=upload")
    tab.get_by_text({"en": "A folder", "zh": "文件夹"}[lang], exact=True).click()
    tab.locator("[data-testid=stFileUploader] input[webkitdirectory]").set_input_files(folder)
    limits = tab.locator("[data-testid=stCaptionContainer]", has_text="lmnb collect").inner_text()
    assert all(f"{UPLOAD[key]} {unit}" in limits for key, unit in {"files": {"en": "files", "zh": "个文件"}[lang], "megabytes": "MB", "seconds": {"en": "seconds", "zh": "秒"}[lang]}.items())
    tab.get_by_role("button", name={"en": "Collect, clean", "zh": "收集、清洗"}[lang]).click()
    tab.locator("[data-testid=stMetric]").nth(3).wait_for(timeout=90_000)
    assert [tab.locator("[data-testid=stMetricValue]").nth(i).inner_text() for i in range(3)] == ["3", "3", "0"]


def test_a_folder_beyond_the_limits_is_one_line(dashboard, tab, tmp_path):
    for number in range(UPLOAD["files"] + 1): (tmp_path / f"{number}.txt").write_text(f"Letter {number}.", encoding="utf-8")
    tab.goto(f"{dashboard}/data?view=upload")
    tab.get_by_text("A folder", exact=True).click()
    tab.locator("[data-testid=stFileUploader] input[webkitdirectory]").set_input_files(tmp_path)
    tab.get_by_role("button", name="Collect, clean").click()
    tab.locator("[data-testid=stAlert]", has_text="too many at once").wait_for(timeout=60_000)
    assert tab.locator("[data-testid=stException], [data-testid=stMetric]").count() == 0


def test_tokenizers_colour_a_text(dashboard, tab):
    tab.goto(f"{dashboard}/data?view=pieces")
    tab.locator("[data-testid=stHtml] span[title]").first.wait_for(timeout=180_000)                 # they are learned once, in a worker
    ready(tab, "[data-testid=stDataFrame]")
    assert tab.locator("[data-testid=stHtml]:has(span[title])").count() == 5
