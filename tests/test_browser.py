"""The dashboard as a person meets it: in a real browser, in both languages, with nothing fetched from elsewhere."""
import base64, http.client, os, socket, subprocess, sys, time, urllib.request
from urllib.parse import urlsplit

import pytest

from lmnb.serve import UPLOAD
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


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory, root):
    "The dashboard in a process of its own, with small runs; its address."
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("dashboard") / "log.txt"
    command = [sys.executable, "-c", "from lmnb.cli import main; main()", "app", "--port", str(port), "--no-open"]
    env = {**os.environ, "LMNB_HOME": str(shared_runs(tmp_path_factory)), "PYTHONPATH": os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")])), "OMP_NUM_THREADS": "1"}
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
    tab.goto(f"{dashboard}/{'' if name == 'home' else name}?lang={lang}")
    ready(tab, CONTENT[name])
    assert HEADING[lang][name] in tab.locator("h1").first.inner_text()
    assert ("首页" if lang == "zh" else "Home") in tab.locator("[data-testid=stSidebar]").inner_text()


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
    tab.get_by_text({"en": "Duplicates", "zh": "重复"}[lang], exact=True).first.click()                # the newest corpus is this one
    tab.locator("text=twin.txt").first.wait_for(timeout=60_000)
    tab.get_by_text({"en": "One document", "zh": "单篇文档"}[lang], exact=True).first.click()
    tab.locator("[data-testid=stHtml]", has_text="onerror").first.wait_for(timeout=60_000)
    tab.wait_for_function(DONE, timeout=60_000)
    assert tab.locator("[data-testid=stException], [data-testid=stHtml] img, [data-testid=stHtml] script").count() == 0 and "owned" not in tab.title()
    assert "view=fate" in tab.url and f"lang={lang}" in tab.url or lang == "en"


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
