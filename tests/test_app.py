"""The dashboard without a browser: every page in both languages, with models, without any, and with broken ones."""
import ast, json, re, shutil, string

import pytest
from streamlit.testing.v1 import AppTest

from lmnb.checkpoint import pointed
from tiny import shared_runs

PAGES = {"home": None, "compare": None, "generate": "pydocs", "classify": "topics", "translate": "translate_en_zh",
         "answer": "answer", "summarize": "summarize_docs", "chat": "chat"}   # page -> the data set it opens with
TITLES = {"en": {"compare": "Compare", "chat": "Chat", "answer": "Answer"}, "zh": {"compare": "比较", "chat": "对话", "answer": "问答"}}
each_page = pytest.mark.parametrize("page", PAGES)
each_language = pytest.mark.parametrize("lang", ["en", "zh"])


@pytest.fixture(scope="session")
def tiny_home(tmp_path_factory): return shared_runs(tmp_path_factory)


@pytest.fixture
def with_runs(tiny_home, monkeypatch):
    monkeypatch.setenv("LMNB_HOME", str(tiny_home))
    return tiny_home


@pytest.fixture
def broken_home(tiny_home, tmp_path, monkeypatch):
    "A copy in which something may be destroyed."
    shutil.copytree(tiny_home, tmp_path / "home")
    monkeypatch.setenv("LMNB_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def open_page(page, lang="en", **query):
    "Run a page by itself."
    app = AppTest.from_string(f"import app\napp.{page}()", default_timeout=120)
    for key, value in {"lang": lang, **query}.items(): app.query_params[key] = value
    return app.run()


def sentences(app): return [element.value for kind in (app.info, app.warning, app.error) for element in kind]


def texts(app): return [element.value for kind in (app.title, app.subheader, app.markdown, app.caption, app.text) for element in kind]


# -- every page ----------------------------------------------------------------------------------------------------------

@each_page
@each_language
def test_page_opens(with_runs, page, lang):
    app = open_page(page, lang)
    assert not app.exception and not sentences(app), (list(app.exception), sentences(app))
    assert app.title[0].value == TITLES[lang].get(page, app.title[0].value)
    assert any("一" <= c <= "鿿" for c in app.title[0].value) == (lang == "zh")
    if PAGES[page]: assert app.multiselect[0].value[:2] == [f"{PAGES[page]}/transformer-tiny", f"{PAGES[page]}/lstm-tiny"]


@each_page
@each_language
def test_nothing_trained_is_one_sentence_with_a_command(fresh_home, page, lang):
    app = open_page(page, lang)
    assert not app.exception and len(sentences(app)) == 1
    assert re.search(r"`lmnb quickstart( --only \w+)?`", sentences(app)[0])


@pytest.mark.parametrize("page", [page for page, data in PAGES.items() if data])
def test_a_cut_off_checkpoint_is_one_sentence_with_a_command(broken_home, page):
    run = broken_home / "runs" / PAGES[page] / "lstm-tiny"
    weights = pointed(run) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    app = open_page(page)
    assert not app.exception and len(app.warning) == 1
    assert f"{PAGES[page]}/lstm-tiny" in app.warning[0].value and "`lmnb train --task" in app.warning[0].value
    assert app.multiselect[0].value[0] == f"{PAGES[page]}/transformer-tiny"          # the others work


def test_a_flipped_bit_is_seen_when_the_model_is_opened(broken_home):
    weights = pointed(broken_home / "runs/pydocs/transformer-tiny") / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-7] ^= 1
    weights.write_bytes(content)
    app = open_page("generate")
    assert not app.exception and len(app.warning) == 1 and "hash" in app.warning[0].value
    assert str(broken_home) not in app.warning[0].value


@each_page
def test_a_run_without_a_checkpoint_or_with_nonsense_is_no_traceback(broken_home, page):
    (broken_home / "runs/topics/rnn").mkdir()
    (broken_home / "runs/topics/rnn/metrics.jsonl").touch()
    (broken_home / "runs/chat/gru").mkdir()
    (broken_home / "runs/chat/gru/config.json").write_text('{"checkpoint": 7')
    (broken_home / "runs/pydocs/lstm-tiny/scores.json").write_text("[]")
    (broken_home / "runs/topics/baselines.json").write_text("7")
    app = open_page(page)
    assert not app.exception and not app.error
    assert all("`lmnb " in sentence for sentence in sentences(app))


# -- what one can do -----------------------------------------------------------------------------------------------------

def test_home_lists_every_run(with_runs):
    table = open_page("home").dataframe[0].value
    assert len(table) == 18 and set(table["data"]) >= {"pydocs", "chat"} and (table["state"] == "ready").all()
    assert table["score [95 % interval]"].str.contains("bits per byte").sum() == 3


def test_generate_continues_a_prompt_and_shows_the_code(with_runs):
    app = open_page("generate", runs=["pydocs/rnn-tiny"])
    assert app.multiselect[0].value == ["pydocs/rnn-tiny"]                           # the selection stands in the URL
    app.text_input[0].set_value("The file is").run()
    assert not app.exception and any(text.startswith("**The file is**") for text in texts(app))
    assert any("tokens per second" in caption.value for caption in app.caption)
    assert "'The file is'" in app.code[0].value and "lmnb generate pydocs/rnn-tiny 'The file is'" in app.code[1].value
    before = texts(app)
    next(button for button in app.button if button.label == "Another one").click().run()
    assert texts(app) != before and app.number_input[0].value == 1


def test_compare_marks_the_best_and_keeps_the_selection(with_runs):
    app = open_page("compare", data="topics", runs=["topics/bag-tiny", "topics/lstm-tiny"])
    names = list(app.dataframe[0].value["model"])
    assert {"bag-tiny", "lstm-tiny", "majority"} <= set(names) and "transformer-tiny" not in names
    assert app.dataframe[0].value.iloc[0, 2] == "best" and len(app.get("plotly_chart")) == 3
    app.selectbox[0].set_value("pydocs").run()
    assert not app.exception and app.multiselect[0].value[0] == "pydocs/transformer-tiny"


def test_classify_fills_in_an_example(with_runs):
    app = open_page("classify", data="sentiment_zh")
    example = app.button[1]
    example.click().run()
    assert not app.exception and app.text_area[0].value.startswith(example.label.rstrip("…")[:5])
    assert {text for text in texts(app) if text.startswith("### ")} <= {"### positive", "### negative"}


@pytest.mark.parametrize("page", ["translate", "summarize", "classify"])
def test_an_empty_text_asks_for_one(with_runs, page):
    app = open_page(page)
    app.text_area[0].set_value("  ").run()
    assert not app.exception and len(sentences(app)) == 1


def test_answer_marks_a_place_in_the_passage(with_runs):
    app = open_page("answer")
    app.text_area[0].set_value("Python was created by Guido van Rossum.")
    app.text_input[0].set_value("Who created Python?").run()
    assert not app.exception and any("blue-background" in text for text in texts(app))


def test_chat_keeps_the_conversation(with_runs):
    app = open_page("chat")
    app.chat_input[0].set_value("hello").run()
    app.chat_input[0].set_value("你好").run()
    assert not app.exception and len(app.chat_message) == 6                          # two messages, two models
    assert {"hello", "你好"} <= set(texts(app)) and "你好" in app.code[0].value


def test_the_language_switch_changes_every_word_at_once(with_runs):
    app = AppTest.from_string("import app\napp.main()", default_timeout=120).run()
    assert app.title[0].value.startswith("lmnb: build")
    app.sidebar.segmented_control[0].set_value("zh").run()
    assert not app.exception and "语言模型" in app.title[0].value and app.query_params["lang"] in ("zh", ["zh"])


# -- words ---------------------------------------------------------------------------------------------------------------

def test_both_languages_say_the_same_things(root):
    words = json.loads((root / "lmnb/assets/strings.json").read_text(encoding="utf-8"))
    assert list(words) == ["en", "zh"] and set(words["en"]) == set(words["zh"])
    fields = lambda text: sorted(name for _, name, _, _ in string.Formatter().parse(text) if name)
    for key, english in words["en"].items():
        assert english.strip() and words["zh"][key].strip() and fields(english) == fields(words["zh"][key]), key


def test_every_word_that_is_used_is_there(root):
    words = json.loads((root / "lmnb/assets/strings.json").read_text(encoding="utf-8"))["en"]
    tree = ast.parse((root / "app.py").read_text(encoding="utf-8"))
    used = {node.args[0].value for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "t" and isinstance(node.args[0], ast.Constant)}
    used |= {"state_ok", "state_broken", "mark_best", "mark_tie"} | {f"{page}{end}" for page in PAGES for end in ("", "_title", "_about")}
    assert not used - set(words)


def test_importing_the_dashboard_does_nothing(root):
    "Only imports, definitions, constants, and the call of main() under __main__."
    for node in ast.parse((root / "app.py").read_text(encoding="utf-8")).body:
        allowed = isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.Assign)) or isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        assert allowed or isinstance(node, ast.If) and "__main__" in ast.unparse(node.test), ast.unparse(node)
