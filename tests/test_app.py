"""The dashboard without a browser: every page in both languages, with models, without any, and with broken ones."""
import ast, html, inspect, io, json, os, re, shutil, string, time

import pytest
from streamlit.testing.v1 import AppTest

from lmnb.checkpoint import pointed
from lmnb.clean import CLEANING, run_steps
from lmnb.cli import Progress, prepared
from lmnb.collect import Document, load_dataset
from lmnb.core import InputError, UsageError, locked
from lmnb.dedup import DEDUP
from lmnb import figures
from lmnb.figures import changes, count_bars, length_bars, step_bars
from lmnb.pipeline import note_corpus, run_pipeline
from lmnb.serve import corpora, find_runs, in_worker, prepare_upload, remove_run, rename_run, unreadable
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
    data = "sentiment_zh" if (page, lang) == ("classify", "zh") else PAGES[page]        # Chinese pages open with Chinese data where there is some
    if data: assert app.multiselect[0].value[:2] == [f"{data}/transformer-tiny", f"{data}/lstm-tiny"]


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
    assert (table["metric"] == "bits per byte").sum() == 3 and table["95 % interval"].str.match(r"\[.*\]|–").all()
    for column in ("parameters", "seconds", "score"): assert table[column].dtype.kind in "if", column      # they sort as numbers


def test_generate_continues_a_prompt_and_shows_the_code(with_runs):
    app = open_page("generate", runs=["pydocs/rnn-tiny"])
    assert app.multiselect[0].value == ["pydocs/rnn-tiny"]                           # the selection stands in the URL
    app.text_input[0].set_value("The file is").run()
    assert not app.exception and "<strong>The file is</strong>" in shown_html(app)
    assert any("tokens per second" in caption.value for caption in app.caption)
    assert "'The file is'" in app.code[0].value and "lmnb generate pydocs/rnn-tiny 'The file is'" in app.code[1].value
    app.segmented_control(key="precision").set_value("int8").run()
    assert not app.exception and "precision='int8'" in app.code[0].value and app.code[1].value.endswith("--precision int8")
    before = shown_html(app)
    next(button for button in app.button if button.label == "Another one").click().run()
    assert shown_html(app) != before and app.number_input[0].value == 1


def test_compare_marks_the_best_and_keeps_the_selection(with_runs):
    app = open_page("compare", data="topics", runs=["topics/bag-tiny", "topics/lstm-tiny"])
    names = list(app.dataframe[0].value["model"])
    assert {"bag-tiny", "lstm-tiny", "majority"} <= set(names) and "transformer-tiny" not in names
    assert app.dataframe[0].value[""].iloc[0] == "best" and len(app.get("plotly_chart")) == 3
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
    assert not app.exception and "<mark>" in shown_html(app) and "Python was created by" in re.sub("<.*?>", "", shown_html(app))


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


@pytest.mark.parametrize("told, lang, shown", [
    ("1 of 2 threads: the others are busy", "en", "Threads: 1 of 2. The others are busy."), ("1 of 2 threads: the others are busy", "zh", "线程：2 个中用了 1 个。 其余的都在忙。"),
    ("2 of 4 threads (a step with 1: 3.0 ms, 2: 1.9 ms)", "en", "Threads: 2 of 4. A step with 1: 3.0 ms, 2: 1.9 ms."), ("1 of 1 threads", "en", "Threads: 1 of 1. "), ("", "en", None), ("", "zh", None)])
def test_the_number_of_threads_is_said_once_at_the_foot_of_the_sidebar(with_runs, monkeypatch, told, lang, shown):
    monkeypatch.setattr("lmnb.threads.SAID", [told] if told else [])
    app = AppTest.from_string("import app\napp.main()", default_timeout=120)
    app.query_params["lang"] = lang
    found = [caption.value.replace(r"\~", "~") for caption in app.run().sidebar.caption]
    assert not app.exception and [text.strip() for text in found] == ([shown.strip()] if shown else [])


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


# -- the data page -------------------------------------------------------------------------------------------------------

LETTERS = {"a.txt": "The library opens at nine and closes at six.\r\nOn Sundays <script>alert(1)</script> it stays closed. ", "b.txt": "The ｌibrary opens at nine and  closes at six.\nOn Sundays <script>alert(1)</script> it stays closed.",
           "c.txt": "图书馆九点开门，六点关门。星期天不开放，请大家注意。", "d.txt": "-- 7 --", "e.pdf": "%PDF-1.7 cut off"}
data_views = pytest.mark.parametrize("view", ["report", "fate", "twins", "pieces", "upload"])


@pytest.fixture(scope="session")
def made_corpus(tmp_path_factory):
    "A small corpus in two stages: collected, then cleaned and deduplicated."
    home = tmp_path_factory.mktemp("corpus")
    (home / "letters").mkdir()
    for name, text in LETTERS.items(): (home / "letters" / name).write_bytes(text.encode())
    run_pipeline(home / "letters", [], home / "corpora/letters/collected")
    run_pipeline(home / "corpora/letters/collected", ["lmnb.clean:CLEANING", "lmnb.dedup:DEDUP"], home / "corpora/letters/result")
    return home


@pytest.fixture
def with_corpus(made_corpus, tmp_path, monkeypatch):
    shutil.copytree(made_corpus, tmp_path / "home")
    monkeypatch.setenv("LMNB_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def shown_html(app): return "".join(element.proto.body for element in app.get("html"))


@data_views
@each_language
def test_every_view_of_the_data_opens(with_corpus, monkeypatch, view, lang):
    monkeypatch.setattr("lmnb.serve.learn_tokenizers", None)                          # nothing is learned in the page's own process
    app = open_page("data", lang, view=view)
    assert not app.exception and not app.error, list(app.exception)
    assert app.title[0].value == {"en": "Data", "zh": "数据"}[lang] and not app.info
    assert [warning for warning in app.warning if "pdf" in warning.value] if view == "report" else not app.warning


def test_the_report_accounts_for_every_document(with_corpus):
    app = open_page("data")
    table = app.dataframe[0].value
    assert list(table["step"])[:2] == ["input", "repair"] and table["in"].iloc[0] == 5 and table["kept"].iloc[-1] == 2
    assert (table["in"] == table["kept"] + table["dropped"] + table["quarantined"]).all() and (table["in"].iloc[1:].values == table["kept"].iloc[:-1].values).all()
    reasons = app.dataframe[1].value
    assert {("exact", "exact duplicate", 1)} <= set(zip(reasons["step"], reasons["reason"], reasons["how many"])) and len(app.get("plotly_chart")) == 5
    assert reasons["how many"].sum() == table["dropped"].sum() + table["quarantined"].sum() and any(reason.startswith("too short") for reason in reasons["reason"])
    assert [metric.value for metric in app.metric][:3] == ["5", "2", "3"]


@pytest.mark.parametrize("written, lang, told", [("too short: 1–3 of 4 units", "en", "too short: 1–3 of 4 words or characters"), ("too short: 1–3 of 4 units", "zh", "太短：1–3 / 4 个词或字"),
                                                 ("too short: # of # units", "zh", "太短：… / … 个词或字"), ("… and 7 of my own", "zh", "… and 7 of my own")])
def test_a_reason_of_many_documents_keeps_its_numbers(with_corpus, written, lang, told):
    path = with_corpus / "corpora/letters/result/report.json"
    report = json.loads(path.read_text(encoding="utf-8"))
    row = next(row for row in report["steps"] if row["step"] == "long_enough")
    row |= {"reasons": {written: row["dropped"]}, "samples": {written: "-- 7 --"}}
    path.write_text(json.dumps(report), encoding="utf-8")
    reasons = open_page("data", lang).dataframe[1].value
    assert told in list(reasons.iloc[:, 1])


@pytest.mark.parametrize("lang, verdict", [("en", "Dropped by **exact**: exact duplicate"), ("zh", "被 **exact** 丢弃：完全重复")])
def test_the_fate_of_a_document_shows_what_changed(with_corpus, lang, verdict):
    app = open_page("data", lang, view="fate", find="nine and  closes")
    assert not app.exception and any(verdict in text for text in texts(app))
    app.text_input[0].set_value("NINE AND").run()
    assert not app.exception and not any(verdict in text for text in texts(app))
    assert "␍" in shown_html(app) and "&lt;script&gt;" in shown_html(app) and "<script" not in shown_html(app)
    app.text_input[0].set_value("PDF").run()
    assert not app.exception and any(("input" in text or "read" in text) and "Stream" in text for text in texts(app)), texts(app)
    app.text_input[0].set_value("no such words").run()
    assert len(app.info) == 1


def test_duplicates_stand_side_by_side(with_corpus):
    app = open_page("data", view="twins")
    assert "stayed: " in shown_html(app) and "the same text but for spaces and width" in shown_html(app) and "text-decoration:line-through" in shown_html(app)


@pytest.mark.parametrize("view", ["report", "fate", "twins", "upload"])      # pieces needs no corpus
@each_language
def test_no_corpus_is_one_sentence_with_a_command(fresh_home, monkeypatch, view, lang):
    app = open_page("data", lang, view=view)
    assert not app.exception and len(sentences(app)) == (view != "upload")
    if view != "upload": assert "`lmnb quickstart --only lm`" in sentences(app)[0]


@pytest.mark.parametrize("content", ["{", "[]", '{"steps": 7}', '{"steps": [{"step": "input", "entered": 3, "kept": 1}]}', '{"steps": [{"step": "x", "entered": "many", "kept": 1}]}', "\udcff"])
def test_a_broken_report_is_one_sentence_with_a_command(with_corpus, content):
    (with_corpus / "corpora/letters/result/report.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    app = open_page("data")
    assert not app.exception and len(sentences(app)) == 1 and "`lmnb clean SOURCE --out" in sentences(app)[0] and "damaged" in sentences(app)[0]


@pytest.fixture(scope="session")
def quickstart_home(tmp_path_factory):
    "What `lmnb quickstart` leaves of the data stage, and an upload that is newer."
    home, before = tmp_path_factory.mktemp("quickstart"), os.environ["LMNB_HOME"]
    os.environ["LMNB_HOME"] = str(home)
    try:
        prepared("pydocs", Progress(io.StringIO()))
        prepare_upload([("letter.txt", "The library opens at nine and closes at six. 图书馆九点开门。".encode())])
    finally: os.environ["LMNB_HOME"] = before
    return home


@pytest.mark.parametrize("lang, name", [("en", "quickstart-pydocs/unique"), ("zh", "quickstart-chinese/unique")])
def test_quickstart_fills_every_view_of_the_data(quickstart_home, monkeypatch, lang, name):
    monkeypatch.setenv("LMNB_HOME", str(quickstart_home))
    report, one, duplicates = (open_page("data", lang, view=view) for view in ("report", "fate", "twins"))
    for app in (report, one, duplicates):
        assert not app.exception and not sentences(app) and app.selectbox[0].value == name       # in the reader's language, and never an upload by itself
        assert len(app.selectbox[0].options) == 3
    steps = report.dataframe[0].value
    assert len(steps) > 8 and steps.iloc[0, 2] > 5000 and steps.iloc[-1, 3] > 5000 and steps.iloc[:, 5].sum() > 300
    assert one.text_input[0].value == "" and len(one.selectbox[2].options) == 50 and "<div" in shown_html(one)
    assert len(duplicates.selectbox[1].options) > 30 and "text-decoration:line-through" in shown_html(duplicates)
    kept = [clip for clip in duplicates.selectbox[1].options if any("一" <= c <= "鿿" for c in clip.split("·")[0])]
    assert (len(kept) > 30) == (lang == "zh")
    gone = one.selectbox[1].options[1:]
    assert len(gone) >= 3                                                                          # steps that removed something, each to be chosen
    one.selectbox[1].set_value("near").run()                                               # near duplicates
    assert not one.exception and not sentences(one) and any("**near**" in text for text in texts(one))


def test_quickstart_mends_what_was_damaged_and_keeps_the_readers_own(quickstart_home, tmp_path, monkeypatch):
    shutil.copytree(quickstart_home, tmp_path / "home")
    monkeypatch.setenv("LMNB_HOME", str(tmp_path / "home"))
    own, made = (tmp_path / "home/corpora" / name for name in ("pydocs", "quickstart-pydocs"))
    shutil.copytree(made, own)
    (own / "unique/report.json").write_text("mine")
    whole = {name: (made / name).read_bytes() for name in ("collected/documents-00000.jsonl", "cleaned/removed-00000.jsonl", "cleaned/manifest.json", "unique/report.json", "unique/clusters.jsonl")}
    for name, content in whole.items(): (made / name).write_bytes(content[:100] + b"?" + content[101:])
    data = prepared("pydocs", Progress(io.StringIO()))
    assert {name: (made / name).read_bytes() for name in whole} == whole and (own / "unique/report.json").read_text() == "mine"
    docs = [Document.of(row["text"], position=i) for i, row in enumerate(load_dataset("pydocs").parts["train"])]
    assert data.parts["train"] == [{"text": doc.text} for doc in run_steps([*CLEANING, *DEDUP], docs)[0]]      # the pipeline keeps what the steps keep


@pytest.mark.parametrize("view", ["fate", "twins", "report"])
def test_a_damaged_result_is_no_traceback(with_corpus, view):
    (with_corpus / "corpora/letters/result/clusters.jsonl").write_text("{")
    (with_corpus / "corpora/letters/collected/manifest.json").write_text("[7]")
    (with_corpus / "corpora/letters/result/removed-00000.jsonl").unlink()
    app = open_page("data", view=view, corpus="letters/result")
    assert not app.exception and len(sentences(app)) == 1 and "lmnb clean SOURCE --out" in sentences(app)[0]


def test_a_manifest_cannot_make_the_page_run_something(with_corpus):
    path = with_corpus / "corpora/letters/result/manifest.json"
    manifest = json.loads(path.read_text())
    manifest["steps"] = [["os:mkdir", {"path": str(with_corpus / "made")}]]
    path.write_text(json.dumps(manifest))
    app = open_page("data", view="fate")
    assert "os:mkdir" in app.error[0].value and not (with_corpus / "made").exists()


def test_the_report_of_quickstart_is_shown_without_documents(fresh_home):
    (fresh_home / "runs/pydocs").mkdir(parents=True)
    _, report = run_steps(CLEANING, [Document.of("A text that is long enough to stay.", position=0), Document.of("7", position=1)])
    (fresh_home / "runs/pydocs/report.json").write_text(json.dumps(report.to_dict()))
    app = open_page("data")
    assert not app.exception and not sentences(app) and app.dataframe[0].value["dropped"].sum() == 1
    assert "without its documents" in sentences(open_page("data", view="fate"))[0]


def test_tokenizers_on_a_text(with_corpus):
    app = open_page("data", view="pieces")
    app.text_area[0].set_value("<b>龘</b> unbelievable").run()
    table = app.dataframe[0].value
    assert list(table["comes back whole"])[2] == "yes" and set(table["tokenizer"]) == {"characters", "words", "BPE", "WordPiece", "Unigram"}
    assert not app.exception and "&lt;" in shown_html(app) and "<b>" not in shown_html(app) and "▪" in shown_html(app)


def test_an_upload_is_read_in_a_worker_within_limits(fresh_home):
    files = [("../../notes.txt", b"A first note, long enough to stay."), ("a/.notes.txt", "第二份笔记，也足够长。".encode("gb18030")), ("bad.pdf", b"%PDF-1.7 cut"), ("e.txt", b"")]
    corpus = prepare_upload(files)
    assert corpus.ok and corpus.report.documents == 2 and [name for name, _ in unreadable(corpus)] == ["bad.pdf", "e.txt"] and [c.path for c in corpora()] == [corpus.path]
    assert prepare_upload(files).path.stat().st_mtime == corpus.path.stat().st_mtime                        # not read twice
    only_bad = prepare_upload([("bad.pdf", b"%PDF-1.7 cut")])
    assert only_bad.ok and only_bad.report.documents == 0 and len(unreadable(only_bad)) == 1
    before = set((fresh_home / "corpora").iterdir())
    for bad in [[], [("x.txt", b"x")] * 51, [("x.txt", b"x" * 20_000_001)]]:
        with pytest.raises(InputError): prepare_upload(bad)
    assert set((fresh_home / "corpora").iterdir()) == before


def test_a_worker_that_hangs_or_dies_is_one_sentence(tmp_path):
    began = time.monotonic()
    with pytest.raises(InputError, match="within 1 seconds"): in_worker("import time; time.sleep(60)", {}, folder=tmp_path, seconds=1)
    with pytest.raises(InputError, match="without a result"): in_worker("import os; os._exit(9)", {}, folder=tmp_path, seconds=20)
    assert time.monotonic() - began < 10


# -- figures of the data page --------------------------------------------------------------------------------------------

def test_marks_of_changes_are_escaped_and_complete():
    for before, after in [("a  b\r\n<b>", "a b\n<i>"), ("你好\u200b世界", "你好世界"), ("", "x"), ("same", "same"), ("\udcff half \x1b", "half"), ("x" * 9000 + " end", "x" * 9000)]:
        for html in changes(before, after): html.encode()
        left, right = changes(before, after)
        assert "<b>" not in left and "<i>" not in right and ("line-through" in left) == (len(before) > len(after) or before != after and bool(before))
    assert "\\u200b" in changes("你\u200b好", "你好")[0]


def test_the_figures_of_a_report():
    rows = [dict(step="input", entered=3, kept=3, changed=0, dropped=0, quarantined=0), dict(step="near", entered=3, kept=2, changed=1, dropped=1, quarantined=0)]
    figure = step_bars(rows, words={"dropped": "丢弃"})
    assert [bar.name for bar in figure.data][2] == "丢弃" and [sum(bar.x[i] for bar in figure.data) for i in (0, 1)] == [3, 3]
    assert step_bars([]).data is not None and length_bars({}).data[0].y == (0,) and count_bars({}).data[0].x == ()
    assert list(length_bars({"0": 1, "11": 2}).layout.xaxis.ticktext)[-1] == "1k"


HOSTILE = ["<a href='http://evil.example/x'>x</a>", "<b>bold</b><br>", "<span style='background:url(http://evil.example/x)'>x</span>", "&lt;i&gt;", "$\\href{http://evil.example}{x}$", "%{y}<extra>z</extra>", "\udcff half"]
DRAWN = {   # what draws a figure, with names from a file in every place that has a name
    "learning_curves": lambda names: figures.learning_curves({name: [{"step": 1, "dev_loss": 2.0}] for name in names}),
    "quality_against": lambda names: figures.quality_against([{"name": name, "parameters": 9, "value": 1.0} for name in names], metric=names[0]),
    "score_bars": lambda names: figures.score_bars([{"name": name, "value": 1.0} for name in names], baselines=[{"name": name, "value": 1.0} for name in names], metric=names[0]),
    "probabilities": lambda names: figures.probabilities({name: 0.1 for name in names}),
    "heat_map": lambda names: figures.heat_map([[1.0]*len(names)]*len(names), rows=names, columns=names),
    "confusion": lambda names: figures.confusion(names, [[1]*len(names)]*len(names)),
    "attention_map": lambda names: figures.attention_map([[1.0]*len(names)]*len(names), read=names, written=names),
    "step_bars": lambda names: figures.step_bars([dict(step=name, entered=2, kept=2, changed=1, dropped=0, quarantined=0) for name in names]),
    "count_bars": lambda names: figures.count_bars(dict.fromkeys(names, 3)),
    "length_bars": lambda names: figures.length_bars({"3": 1}),
    "s_curve": lambda names: figures.s_curve(),
    "rate_curve": lambda names: figures.rate_curve([0.1], [1.0]),
}


def strings_in(value):
    "Every text of a figure, wherever it stands."
    if isinstance(value, str): yield value
    if isinstance(value, (dict, list, tuple)):
        for part in (value.values() if isinstance(value, dict) else value): yield from strings_in(part)


@pytest.mark.parametrize("name", DRAWN)
def test_a_name_in_a_figure_is_never_markup(name):
    "Plotly reads a little HTML (links too) in names, labels and hints, and formulas where MathJax is about."
    drawn = json.loads(DRAWN[name](HOSTILE).to_json())
    found = [text.replace("<extra></extra>", "") for text in strings_in(drawn)]
    assert not [text for text in found if re.search(r"<|\$|&(?!lt;|amp;|#36;)", text)]
    if name not in ("length_bars", "s_curve", "rate_curve"): assert {html.unescape(text) for text in found} >= {text.encode("utf-8", "replace").decode() for text in HOSTILE if len(text) < 36}     # and none is lost


def test_every_figure_is_drawn_with_hostile_names():
    told = {name for name, function in vars(figures).items() if getattr(function, "__module__", "") == "lmnb.figures" and name in figures.__all__ and not isinstance(function, type)}
    assert set(DRAWN) == {name for name in told if "go.Figure(" in inspect.getsource(getattr(figures, name)) or "heat_map(" in inspect.getsource(getattr(figures, name))}


def test_a_run_named_like_a_date_or_a_number_keeps_its_name_in_the_scores():
    figure = figures.score_bars([{"name": "2026-01-05", "value": 1.0}, {"name": "7", "value": 2.0}])
    assert figure.layout.yaxis.type == "category" and list(figure.data[0].y) == ["2026-01-05", "7"]


def test_a_result_elsewhere_is_found_by_its_note(with_corpus, tmp_path):
    "The command writes where the reader says; what has gone since is passed over."
    for name in ("one", "two"):
        run_pipeline(with_corpus / "letters", [], tmp_path / name)
        note_corpus(tmp_path / name)
    shutil.rmtree(tmp_path / "two")
    (with_corpus / "corpora/broken.json").write_text("[7]")
    assert [corpus.path for corpus in corpora() if corpus.name.endswith("/one") or corpus.name.endswith("/two")] == [tmp_path / "one"]


# -- states of a run -----------------------------------------------------------------------------------------------------

def test_a_run_is_training_stopped_finished_or_broken(broken_home):
    "Each with what to do; what is in training is neither renamed nor removed."
    run = broken_home / "runs/topics/lstm-tiny"
    state = lambda: {run.name: run for run in find_runs()}["topics/lstm-tiny"]
    assert state().state == "finished" and not state().mend
    with locked(run):
        assert state().state == "training" and "in training" in open_page("home").info[0].value
        for change in (lambda: rename_run("topics/lstm-tiny", "other"), lambda: remove_run("topics/lstm-tiny")):
            with pytest.raises(UsageError): change()
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row | {"done": False, "progress": 0.5}) + "\n" for row in rows[:-1]))
    assert state().state == "stopped" and state().ok and state().mend.startswith("lmnb train --task classify --model lstm-tiny --data topics") and state().mend.endswith(" --resume")
    (run / "command.json").write_text(json.dumps({"command": ["lmnb", "train", "--data", "my file.csv"]}))
    assert state().mend.startswith("lmnb train --data 'my file.csv' --out ")
    (run / "command.json").write_text(json.dumps({"command": ["rm", "-rf", "x"]}))          # a folder from elsewhere may say anything
    assert "rm -rf" not in state().mend
    (run / "config.json").write_text("{")
    assert state().state == "broken" and state().mend.startswith("lmnb runs remove topics/lstm-tiny --yes && lmnb train --task classify")
    assert rename_run("topics/lstm-tiny", "other") == "topics/other" and not run.exists()
    remove_run("topics/other")
    assert "topics/other" not in {run.name for run in find_runs()}


def test_a_run_stopped_before_its_first_score_opens_on_every_page(fresh_home, monkeypatch):
    "Its last checkpoint is used; it has no curve and no score yet."
    from signal import SIGTERM, raise_signal
    from lmnb.core import Interrupted
    from lmnb.serve import runs_dir
    from lmnb.train import Run, fit
    from tiny import dataset
    advance = Run.advance
    def stopping(self):
        if self.step == 3: raise_signal(SIGTERM)
        return advance(self)
    with monkeypatch.context() as patched:
        patched.setattr(Run, "advance", stopping)
        for data, model in (("topics", "bag-tiny"), ("pydocs", "lstm-tiny")):
            with pytest.raises(Interrupted, match="step 4"): fit(runs_dir() / data / model, task=dataset(data).task, model=model, data=dataset(data), steps=20, scores=1)
    runs = find_runs()
    assert [(run.state, run.ok, run.step, run.progress) for run in runs] == [("stopped", True, 4, 0.2)] * 2
    app = open_page("home", "en")
    assert not app.exception and not app.warning and all(any(run.mend in one.value for one in app.info) for run in runs)
    for page in ("compare", "generate", "classify"):
        app = open_page(page, "en")
        assert not app.exception and not app.warning and not any("lmnb quickstart" in one for one in sentences(app))


def test_runs_that_differ_in_one_setting_are_told_apart(broken_home):
    first, second = broken_home / "runs/topics/lstm-tiny", broken_home / "runs/topics/deeper"
    shutil.copytree(first, second)
    config = json.loads((second / "config.json").read_text())
    config["checkpoint"]["model"]["layers"] = 4
    (second / "config.json").write_text(json.dumps(config))
    table = open_page("home").dataframe[0].value
    table = table[table["data"] == "topics"]
    told = dict(zip(table["model"], table["differs in"]))
    assert told["deeper"] == "layers 4" and told["lstm-tiny"] == "layers 1" and not told["bag-tiny"]
    compared = open_page("compare", data="topics", runs=["topics/lstm-tiny", "topics/deeper"])
    assert {"layers 4", "layers 1"} <= set(compared.dataframe[0].value["differs in"])


def test_a_talk_is_found_again_by_its_own_address_only(with_runs):
    first = open_page("chat")
    first.chat_input[0].set_value("hello").run()
    talk = first.query_params["talk"]
    again = open_page("chat", talk=talk)
    assert "hello" in texts(again) and "hello" not in texts(open_page("chat")) and "hello" not in texts(open_page("chat", talk="guessed"))


def test_a_model_of_ones_own_is_not_offered_foreign_examples(broken_home):
    run = broken_home / "runs/topics/lstm-tiny"
    for path in run.parent.iterdir(): path.is_dir() and path != run and shutil.rmtree(path)
    config = json.loads((run / "config.json").read_text())
    config["checkpoint"]["data"]["name"] = "my-letters"
    (run / "config.json").write_text(json.dumps(config))
    assert not open_page("classify", data="my-letters").button
    (run / "examples.json").write_text(json.dumps([{"text": "![x](http://evil.example/x.png) of mine"}]))
    app = open_page("classify", data="my-letters")
    assert [button.label for button in app.button] == [r"!\[x\](http\::small[]//evil.example/x.png) of mine"] and app.text_area[0].value.startswith("![x]")
