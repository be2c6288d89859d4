"""The dashboard: what has been trained, side by side, and every application to try.

`lmnb app` starts it. Nothing happens on import: each page is a function, and `main()` puts them together.
"""
import functools, html, json, re, secrets

import streamlit as st

from lmnb.core import LmnbError, asset
from lmnb.figures import (COLOURS, attention_map, changes, coloured_pieces, count_bars, learning_curves, length_bars, marked, pieces_in, probabilities,
                          quality_against, score_bars, side_by_side, step_bars)
from lmnb.serve import (PRECISIONS, QUICKSTART, RULES, UPLOAD, Sampling, attention_of, best_known, code_for, compare_table, corpora, demo, demo_stream, differences, examples, fate_of,
                        find_documents, find_runs, in_words, label_of, mend_anew, open_run, prepare_upload, read_corpus, read_metrics, remedy, run_tokenizers, said, sample_tokenizers,
                        step_rows, tokenizer_rows, twins, unreadable)

WIDTH = 1080                                           # pixels: lines that can be read
LANGUAGES = {"en": "English", "zh": "中文"}
FIRST = ("transformer", "lstm", "mingru", "gru", "rnn", "bag")   # what is chosen before the reader chooses


# -- words -------------------------------------------------------------------------------------------------------------

@functools.cache
def strings():
    "The interface's words: language -> key -> text."
    return json.loads(asset("strings.json").read_text(encoding="utf-8"))


def language():
    "The reader's language: the switch, or the URL's `lang`, or the browser's, or English."
    chosen = st.session_state.get("language") or st.query_params.get("lang") or (st.context.locale or "")[:2].lower()
    return chosen if chosen in LANGUAGES else "en"


# What Markdown would read as a sign is given a backslash: these anywhere, and some at the beginning of a line. Where Streamlit looks for links, `:icons:`
# and arrows after that, in plain text, an empty `:small[]`, which shows nothing, keeps them from being seen whole.
MARKS = re.compile(r":(?=$|:|(?:red|orange|yellow|green|blue|violet|gr[ae]y|rainbow|primary|small|badge)\b)|[\\`*\[\]{}<>|~$#]|(?<![^\W_])_|_(?![^\W_])|&(?=[#\w])")
SPLITS = re.compile(r"(?<=:)(?=//|[\w+/-]+:)|(?<=www)(?=\.)|(?<=[\w.+-])(?=@)|(?<=(?<!\S)[<>~-])(?=(?:->|[-=>])(?!\S))|(?<=(?<!\S)<-)(?=>(?!\S))", re.I)


def escaped(text):
    "Any text as Markdown that shows it as it is, in one line: the one door for names, labels, files, reasons and messages."
    line = " ".join(str(text).encode("utf-8", "replace").decode().split("\n")).strip()
    line = ":small[]".join(MARKS.sub(r"\\\g<0>", part) for part in SPLITS.split(line))
    return re.sub(r"^(\d*)([-+.)])", r"\1\\\2", line)


def as_code(text):
    "Any text between the backticks of a line, however many it has itself."
    line = str(text).encode("utf-8", "replace").decode().replace("\n", " ")
    fence = "`"*(1 + max(map(len, re.findall("`+", line)), default=0))
    return f"{fence} {line} {fence}" if len(fence) > 1 else f"`{line}`"


def t(key, /, **values):
    "A text in the reader's language, as Markdown; what is filled in is shown as it is, between backticks as code."
    clean = {name: escaped(value) for name, value in values.items()}
    parts = strings()[language()][key].split("`")
    return "".join(as_code(part.format(**values)) if number % 2 else part.format(**clean) for number, part in enumerate(parts))


def plain(key, /, **values):
    "The same where nothing reads Markdown: descriptions of figures, options of a menu, titles in HTML."
    return strings()[language()][key].format(**values)


def typeset(*pieces, tag="div"):
    "HTML of a text as it stands, line ends kept; a piece is a str, or (tag, str) for one that is set off."
    clean = lambda text: html.escape(text.encode("utf-8", "replace").decode())
    inner = "".join(clean(piece) if isinstance(piece, str) else f"<{piece[0]}>{clean(piece[1])}</{piece[0]}>" for piece in pieces)
    return f'<{tag} style="white-space:pre-wrap;overflow-wrap:anywhere">{inner}</{tag}>'


def name_of(kind, key):
    "The word for a metric, a task or a label; the key itself where there is none."
    return strings()[language()].get(f"{kind}_{key}", str(key))


def words():
    "The words of the figures."
    return {key.removeprefix("figure_"): text for key, text in strings()[language()].items() if key.startswith("figure_")}


def short(number):
    "1234567 -> 1.2 M"
    if number is None: return "–"
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= size: return f"{number/size:.1f}{unit}"
    return f"{number:.0f}" if number >= 10 else f"{number:.1f}"


def clip(text, most=60):
    "One line of a text, cut where it is long."
    line = " ".join(text.split())
    return line if len(line) <= most else line[:most - 1].rstrip() + "…"


# -- what the pages share ----------------------------------------------------------------------------------------------

def page(function):
    "Title, one sentence, and the content; an expected failure is one sentence too."
    @functools.wraps(function)
    def shown():
        with st.container(width=WIDTH):
            st.title(t(f"{function.__name__}_title"))
            st.markdown(t(f"{function.__name__}_about"))
            try: function()
            except LmnbError as error: st.error(escaped(error), icon=":material/error:")
    return shown


@st.cache_resource(max_entries=32, show_spinner=False)
def load(path, stamp):
    "A checkpoint in memory; a new one is read when its manifest (`stamp`) changes."
    return open_run(path)


def missing(command):
    "One sentence where nothing is there, with the command that changes that."
    st.info(t("missing", command=command), icon=":material/lightbulb:")


def notice(run, why=None):
    "One sentence where a run is not finished: how far it is, or the command that finishes it."
    if run.state == "training" and not why: return st.info(t("run_training", name=run.name, share=share_of(run)), icon=":material/hourglass_top:")
    if run.state == "stopped" and not why: return st.info(t("run_stopped", name=run.name, share=share_of(run), command=run.mend), icon=":material/pause_circle:")
    why = str(why or run.status).replace(f"{run.path}/", "").replace(str(run.path), run.name)
    st.warning(t("broken", name=run.name, why=why, command=run.mend or mend_anew(run)), icon=":material/build:")


def share_of(run):
    "How much of its training a run has done."
    return "…" if run.progress is None else f"{run.progress:.0%}"


def order(run):
    "The data sets as `lmnb quickstart` has them, then others; the architectures as in FIRST."
    known = [name for names in QUICKSTART.values() for name in names]
    return known.index(run.data) if run.data in known else len(known), run.data, FIRST.index(run.architecture) if run.architecture in FIRST else len(FIRST), run.name


def pick(runs, *, most, first=None, compared=False):
    "Choose a data set and some of its runs; both are kept in the URL. Sets with something to compare come first where that is wanted, then those in the reader's language."
    scored = {run.data for run in runs if run.scores}
    runs = sorted(runs, key=lambda run: (compared and run.data not in scored, language() not in run.languages, *order(run)))
    sets = list(dict.fromkeys(run.data for run in runs))
    left, right = st.columns([1, 3], vertical_alignment="bottom")
    data = left.selectbox(t("data"), sets, key="data", bind="query-params")
    names = [run.name for run in runs if run.data == data]
    if st.session_state.get("data_of_runs") not in (None, data): st.session_state["runs"] = names[:first or most]
    st.session_state["data_of_runs"] = data
    if "runs" in st.session_state: st.session_state["runs"] = [name for name in st.session_state["runs"] if name in names]
    default = None if "runs" in st.session_state else names[:first or most]
    chosen = right.multiselect(t("models"), names, default, key="runs", bind="query-params", max_selections=most, placeholder=t("choose_models"))
    return data, [run for name in chosen for run in runs if run.name == name]


def pick_checkpoints(task, *, most=3, first=2):
    "The data set, and the chosen models of a task, opened; says what is missing or broken."
    runs = find_runs(task=task)
    for run in runs:
        if not run.ok: notice(run)
    whole = [run for run in runs if run.ok]
    if not whole:
        if not runs: missing(remedy({"lm": "pydocs", "classify": "topics", "translate": "translate_en_zh", "summarize": "summarize_docs"}.get(task, task)))
        return None, []
    data, chosen = pick(whole, most=most, first=first)
    found = []
    for run in chosen:
        try: found.append((run, load(str(run.path), run.stamp)))
        except LmnbError as error: notice(run, error)
    if not chosen: st.info(t("choose_models"))
    return data, found


def model_columns(chosen):
    "A bordered column for each model, under its name and its size."
    told = differences([run for run, _ in chosen])
    for (run, checkpoint), column in zip(chosen, st.columns(len(chosen))):
        with column.container(border=True):
            st.markdown(f"**{escaped(run.path.name)}**")
            if told[run.name]: st.caption(escaped(in_words(told[run.name])))
            st.caption(t("model_facts", parameters=short(run.parameters), seconds=f"{run.seconds or 0:.0f}"))
            yield run, checkpoint


def fill(values):
    "What a click on an example does: it fills the inputs."
    for key, value in values.items(): st.session_state[key] = value


def inputs_of(task, data, chosen, keys):
    "Examples to click; before the first click the first of them stands in the inputs."
    found = examples_for(task, chosen[0])
    if st.session_state.get("inputs_of") != (task, data):
        fresh = any(st.query_params.get(key) for key in keys) and "inputs_of" not in st.session_state
        if not fresh: fill({key: found[0].get(key, "") if found else "" for key in keys})
        st.session_state["inputs_of"] = (task, data)
    if not found: return
    st.caption(t("examples"))
    with st.container(horizontal=True, gap="small"):
        for number, example in enumerate(found[:8]):
            st.button(escaped(clip(next(iter(example.values())))), key=f"example_{number}", on_click=fill, args=(example,))


def examples_for(task, chosen):
    "Examples for a model, those in the reader's language first."
    run, checkpoint = chosen
    found = examples(task, run.data, list(checkpoint.config.task.languages), run=run.path)
    return sorted(found, key=lambda example: any("一" <= c <= "鿿" for c in "".join(example.values())) != (language() == "zh"))


def show_code(run, task, **inputs):
    "The same call in Python and in the shell."
    code = code_for(run.name, task, **inputs)
    with st.expander(t("code"), icon=":material/code:"):
        st.code(code["python"], language="python", wrap_lines=True)
        st.code(code["shell"], language="bash", wrap_lines=True)


# What only the browser can do. Nothing of a file or a model goes into these programs.
SPEAK = "export default ({data}) => { document.documentElement.lang = data.language }"
TO_NEWEST = """export default ({data}) => {
    const show = () => {
        const asked = [...document.querySelectorAll('[data-testid=stChatMessage]')].at(-1 - data.models)
        if (asked) asked.style.scrollMarginTop = '80px'
        asked?.scrollIntoView({block: 'start'})
    }
    if (window.lmnbNewest !== data.count) { window.lmnbNewest = data.count; show(); setTimeout(show, 400) }
}"""


def script(name, code, **data):
    "Run a few lines of the interface's own in the browser."
    st.components.v2.component(f"lmnb_{name}", js=code)(key=f"script_{name}", data=data)


def chart(figure, alt, key=None):
    "A figure in the page's theme, with a description for those who do not see it."
    figure.update_xaxes(gridcolor=GRID, linecolor=GRID).update_yaxes(gridcolor=GRID, linecolor=GRID)
    if st.context.theme.type == "dark": figure.update_annotations(font_color="#b4b4b4")
    st.plotly_chart(figure, alt=alt, key=key, config={"displayModeBar": False})


GRID = "rgba(128,134,145,.3)"            # quiet on white and on black


# A table of seven columns does not fit a phone: there the same rows stand as a list. The browser knows its width, so it chooses.
NARROW = """<style>
@media (min-width: 641px) { [class*="st-key-narrow_"] { display: none } }
@media (max-width: 640px) { [class*="st-key-wide_"] { display: none } }
</style>"""


def table(name, rows, *, head, sortable=False, **look):
    "A table that sorts; on a phone a list with all that the table says, `head` first in each."
    st.html(NARROW)
    with st.container(key=f"wide_{name}"): st.dataframe(rows, hide_index=True, height="content", placeholder="–", **look)
    with st.container(key=f"narrow_{name}"):
        if sortable:
            by = st.selectbox(t("sort_by"), list(rows[0]), index=None, key=f"sort_{name}", placeholder=t("as_listed"))
            if by: rows = sorted(rows, key=lambda row: (row[by] in (None, "–"), row[by] if isinstance(row[by], (int, float)) else 0, str(row[by])))
        st.html("".join(card(row, head) for row in rows))


def card(row, head):
    "A row of a table as a few lines."
    said = {key: f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else "–" if value is None else str(value) for key, value in row.items()}
    clean = lambda text: html.escape(text.encode("utf-8", "replace").decode())
    rest = " · ".join(f'<span style="opacity:.65">{clean(key)}</span> {clean(value)}' for key, value in said.items() if key not in head and value)
    return (f'<div style="border:1px solid rgba(128,128,128,.35);border-radius:8px;padding:8px 12px;margin-bottom:8px;overflow-wrap:anywhere">'
            f'<strong>{clean(" / ".join(said[key] for key in head))}</strong><br>{rest}</div>')


# -- the pages ---------------------------------------------------------------------------------------------------------

@page
def home():
    "What this is, what has been trained, and what to click next."
    links = st.session_state.get("pages", {})
    if links:
        for column, name in zip(st.columns(3), ("compare", "generate", "classify")):
            with column.container(border=True, height="stretch"):
                st.page_link(links[name], label=f"**{t(name)}**", icon=ICONS[name])
                st.caption(t(f"{name}_next"))
    st.subheader(t("runs"))
    live = any(run.state == "training" for run in find_runs())
    st.fragment(trained, run_every=3 if live else None)(live)


def trained(followed):
    "The table of all runs, and what is to be said of some; while one of them is in training, it is drawn anew every few seconds."
    runs = sorted(find_runs(), key=order)
    if not runs: return missing("lmnb quickstart")
    told = differences(runs)
    rows = [run_row(run, in_words(told[run.name])) for run in runs]
    if not any(told.values()): rows = [{key: value for key, value in row.items() if key != t("column_settings")} for row in rows]
    table("runs", rows, head=(t("column_data"), t("column_model")), sortable=True, column_config=numbers())
    st.caption(t("runs_note"))
    for run in runs:
        if run.state != "finished" or not run.ok: notice(run)
    if followed and not any(run.state == "training" for run in runs): st.rerun()


def run_row(run, told):
    "A run as a row of the home page's table; numbers stay numbers, so that they sort as such."
    known = best_known(run) or {"part": "", "score": None, "classical": None, "mark": ""}
    score, classical = known["score"], known["classical"]
    state = t("state_ok" if run.state == "finished" else f"state_{run.state}") + (f" {share_of(run)}" if run.state in ("training", "stopped") else "")
    return {
        t("column_task"): name_of("task", run.task), t("column_data"): run.data, t("column_model"): run.path.name, t("column_settings"): told,
        t("column_metric"): name_of("metric", score.metric) if score else "–", t("column_score"): score.value if score else None,
        t("column_interval"): bracket(score.format()) if score else "–", t("column_part"): name_of("part", known["part"]) if score else "–",
        t("column_classical"): f"{name_of('baseline', classical[0])} {classical[1].format().split(' ')[0]}" if classical else "–",
        t("column_beside"): t(f"beside_{known['mark']}") if known["mark"] else "–",
        t("column_parameters"): run.parameters, t("column_seconds"): run.seconds, t("column_state"): state}


def bracket(text):
    "The 95 % interval of a score that is written out, in its own digits."
    found = re.search(r"\[.*\]", text)
    return found[0] if found else "–"


def numbers():
    "How the columns of numbers look; they sort as numbers."
    forms = {"column_score": "%.4g", "column_parameters": "localized", "column_seconds": "%.1f", "column_speed": "%.0f"}
    return {t(key): st.column_config.NumberColumn(format=form) for key, form in forms.items()}


@page
def compare():
    "Scores with intervals, learning curves, and quality against its cost."
    runs = [run for run in find_runs() if run.task]
    for run in runs:
        if not run.ok: notice(run)
    runs = [run for run in runs if run.ok]
    if not runs: return missing("lmnb quickstart")
    data, chosen = pick(runs, most=10, compared=True)
    if not chosen: return st.info(t("choose_models"))
    parts = sorted({part for run in chosen for part in run.scores})
    part = st.segmented_control(t("part"), parts, default=parts[0], required=True, key="part", format_func=lambda part: escaped(name_of("part", part))) if len(parts) > 1 else "test"
    rows = [row | {"name": name_of("baseline", row["name"].split("/")[-1])} for row in compare_table(chosen, part=part)]
    compare_scores(rows, chosen)
    told = differences(chosen)
    st.subheader(t("curves"))
    axis = st.segmented_control(t("axis"), ["step", "tokens", "seconds"], default="step", required=True, key="axis", format_func=lambda key: t(f"figure_{key}"), label_visibility="collapsed")
    chart(learning_curves({" · ".join(filter(None, (run.path.name, in_words(told[run.name])))): curve_of(run) for run in chosen}, x=axis, words=words()), plain("alt_curves", names=", ".join(run.name for run in chosen)))
    st.caption(t("curves_note"))
    if not rows: return
    st.subheader(t("cost"))
    costs = [name for name in ("parameters", "seconds", "tokens_per_second") if any(row.get(name) for row in rows if row["architecture"] != "baseline")]
    cost = st.segmented_control(t("cost"), costs, default="parameters", required=True, key="cost", format_func=lambda key: t(f"figure_{key}"), label_visibility="collapsed")
    chart(quality_against([row for row in rows if row["architecture"] != "baseline"], x=cost, metric=metric_title(rows[0]), words=words()), plain("alt_cost"))
    st.caption(t("cost_note"))


def curve_of(run):
    "What a run wrote down while it learned; none where that cannot be read, which the others do not suffer for."
    try: return read_metrics(run.path, most=20_000)
    except LmnbError as error: notice(run, error)
    return []


def metric_title(row):
    "The metric, its unit, and which direction is good."
    unit = f" ({row['unit']})" if row["unit"] in ("%", "nats/token") else ""
    return f"{name_of('metric', row['metric'])}{unit} · {t('lower') if row['lower'] else t('higher')}"


def compare_scores(rows, chosen):
    "The scores as a figure and as a table, baselines among them."
    st.subheader(t("scores"))
    if not rows: return st.info(t("no_scores", command=f"lmnb evaluate {chosen[0].name} --data {chosen[0].data}"), icon=":material/lightbulb:")
    networks, classical = ([row for row in rows if (row["architecture"] == "baseline") == flag] for flag in (False, True))
    chart(score_bars(networks, baselines=classical, metric=metric_title(rows[0]), words=words()), plain("alt_scores", best=rows[0]["name"], score=rows[0]["text"]))
    told = {run.name.split("/")[-1]: in_words(settings) for run in chosen if (settings := differences(chosen)[run.name])}
    settings = {t("column_settings"): ""} if told else {}
    table("scores", [{t("column_model"): row["name"], **{key: told.get(row["name"], "") for key in settings}, t("column_score"): row["value"], t("column_interval"): bracket(row["text"]),
                      "": t(f"mark_{row['mark']}") if row["mark"] else "", t("column_parameters"): row.get("parameters"),
                      t("column_seconds"): None if row["architecture"] == "baseline" else row.get("seconds"), t("column_speed"): row.get("tokens_per_second")} for row in rows],
          head=(t("column_model"),), column_config=numbers())
    st.caption(t("scores_note", n=rows[0]["n"]))


@page
def generate():
    "One prompt, several language models, side by side, as they write."
    data, chosen = pick_checkpoints("lm", most=4, first=3)
    if not chosen: return
    inputs_of("lm", data, chosen, ["prompt"])
    prompt = st.text_input(t("prompt"), key="prompt", bind="query-params")
    sampling, most = sampling_controls()
    precision = st.segmented_control(t("weights"), PRECISIONS, default="fp32", required=True, key="precision", help=t("weights_help"))
    for run, checkpoint in model_columns(chosen):
        stream, place = demo_stream(checkpoint, prompt=prompt, sampling=sampling, most=most, precision=precision), st.empty()
        place.html(typeset(("strong", prompt)))
        for _ in stream: place.html(typeset(("strong", prompt), stream.text))
        st.caption(t("speed", rate=f"{stream.rate:.0f}", seconds=f"{stream.seconds:.1f}"))
    st.button(t("another"), icon=":material/casino:", on_click=another)
    show_code(chosen[0][0], "lm", prompt=prompt, sampling=sampling, most=most, precision=precision)


def another(): st.session_state["seed"] = st.session_state.get("seed", 0) + 1


def sampling_controls():
    "Temperature, top-p, top-k, length and seed, with a word on each."
    with st.expander(t("sampling"), icon=":material/tune:", expanded=True):
        columns = st.columns(5, vertical_alignment="bottom")
        temperature = columns[0].slider(t("temperature"), 0.0, 2.0, 0.7, 0.05, key="temperature", help=t("temperature_help"), bind="query-params")
        top_p = columns[1].slider(t("top_p"), 0.05, 1.0, 0.95, 0.05, key="top_p", help=t("top_p_help"), bind="query-params")
        top_k = columns[2].slider(t("top_k"), 0, 100, 0, 5, key="top_k", help=t("top_k_help"), bind="query-params")
        most = columns[3].slider(t("most"), 10, 200, 60, 10, key="most", help=t("most_help"), bind="query-params")
        seed = columns[4].number_input(t("seed"), 0, 10**6, key="seed", help=t("seed_help"))
    return Sampling(temperature=temperature, top_p=top_p, top_k=top_k, seed=int(seed)), most


@page
def classify():
    "A text, and how likely each label is."
    data, chosen = pick_checkpoints("classify", most=4)
    if not chosen: return
    inputs_of("classify", data, chosen, ["text"])
    text = st.text_area(t("text"), key="text", height=90, bind="query-params")
    if not text.strip(): return st.info(t("type_something"))
    for run, checkpoint in model_columns(chosen):
        chances = demo(checkpoint, text=text)
        best = label_of(checkpoint, chances)
        st.markdown(f"### {escaped(name_of('label', best))}")
        for label, least in checkpoint.config.task.threshold.items(): st.caption(t("threshold_note", label=name_of("label", label), chance=f"{least:.0%}"))
        named = {name_of("label", label): chance for label, chance in chances.items()}
        chart(probabilities(named, most=6, colour=COLOURS.get(run.architecture), words=words()), plain("alt_chances", label=name_of("label", best), chance=f"{chances[best]:.0%}"), key=f"chances_{run.name}")
    show_code(chosen[0][0], "classify", text=text)


@page
def translate():
    "English in, Chinese out."
    rewrite("translate", height=90)


def rewrite(task, height):
    "A text in, another out: what translation and summarization share."
    data, chosen = pick_checkpoints(task)
    if not chosen: return
    inputs_of(task, data, chosen, ["text"])
    text = st.text_area(t(f"{task}_input"), key="text", height=height, bind="query-params")
    if not text.strip(): return st.info(t("type_something"))
    for run, checkpoint in model_columns(chosen):
        written = demo(checkpoint, text=text)
        st.html(typeset(written or "–", tag="h4"))
        if task == "translate" and written:
            with st.expander(t("attention")):
                chart(attention_map(**attention_of(checkpoint, text, written), words=words()), plain("attention"), key=f"attention_{run.name}")
                st.caption(t("attention_note"))
    show_code(chosen[0][0], task, text=text)


@page
def answer():
    "A question and a passage: the place in the passage that answers it."
    data, chosen = pick_checkpoints("answer")
    if not chosen: return
    inputs_of("answer", data, chosen, ["question", "passage"])
    passage = st.text_area(t("passage"), key="passage", height=130)
    question = st.text_input(t("question"), key="question")
    if not (passage.strip() and question.strip()): return st.info(t("type_something"))
    for run, checkpoint in model_columns(chosen):
        found = demo(checkpoint, question=question, passage=passage)
        st.html(typeset(found["text"] or "–", tag="h4"))
        st.caption(t("sure", chance=f"{found['probability']:.0%}"))
        if found.get("read", 0) < found.get("windows", 0): st.caption(t("windows_read", count=f"{found['windows']:,}", read=f"{found['read']:,}"))
        begin, end = found["start"], found["end"]
        st.html(typeset(passage[:begin], ("mark", passage[begin:end]), passage[end:]) if found["text"] else typeset(passage))
    show_code(chosen[0][0], "answer", question=question, passage=passage)


@page
def summarize():
    "A description in, its first line out."
    rewrite("summarize", height=220)


@page
def chat():
    "A conversation with one model, or with two at once; the newest answer stands last, above the line to type in."
    data, chosen = pick_checkpoints("chat", most=2, first=2)
    if not chosen: return
    turns = conversation()
    message = st.bottom.chat_input(t("say"), key="say") or st.session_state.pop("clicked", None)
    if message: turns.append({"user": message, "answers": {}})
    found = examples_for("chat", chosen[0])
    chat_examples(found, turns)
    show_code(chosen[0][0], "chat", message=turns[-1]["user"] if turns else found[0]["message"] if found else "…")
    show_turns(turns, chosen)
    if turns:
        st.query_params["talk"] = st.session_state["talk"]
        script("to_newest", TO_NEWEST, count=len(turns), models=len(chosen))


TALKS = 500      # conversations that are remembered; the oldest go first


@st.cache_resource(show_spinner=False)
def conversations():
    "All conversations since the server began, each under an id that cannot be guessed."
    return {}


def conversation():
    "This reader's own: of this session, or the one that the URL names, so that a reload finds it. An id that is not known is not taken."
    kept = conversations()
    id = next((id for id in (st.session_state.get("talk"), st.query_params.get("talk")) if id in kept), None) or secrets.token_urlsafe(24)
    st.session_state["talk"] = id
    turns = kept.setdefault(id, [])
    while len(kept) > TALKS: kept.pop(next(iter(kept)))
    return turns


def show_turns(turns, chosen):
    "The conversation; what a chosen model has not answered yet, it answers now, if it is the last message."
    for number, turn in enumerate(turns):
        st.chat_message("user", avatar=":material/person:").text(turn["user"])
        for (run, checkpoint), column in zip(chosen, st.columns(len(chosen))):
            with column.chat_message("assistant", avatar=":material/smart_toy:"):
                st.caption(escaped(run.path.name))
                if run.name in turn["answers"]: st.text(turn["answers"][run.name] or "–")
                elif number == len(turns) - 1: turn["answers"][run.name] = reply(checkpoint, turn["user"])


def reply(checkpoint, message):
    "The model's answer, shown as it is written. Earlier messages are not given to it: the embedded dialogues have one turn each."
    stream, place = demo_stream(checkpoint, message=message, sampling=Sampling(temperature=0)), st.empty()
    for _ in stream: place.text(stream.text)
    place.text(stream.text or "–")
    return stream.text


def chat_examples(found, turns):
    "Things to say, and a way to begin anew."
    if found: st.caption(t("examples"))
    with st.container(horizontal=True, gap="small"):
        for number, example in enumerate(found[:12 if not turns else 6]):
            st.button(escaped(clip(example["message"])), key=f"say_{number}", on_click=fill, args=({"clicked": example["message"]},))
        if turns: st.button(t("anew"), icon=":material/restart_alt:", type="tertiary", on_click=turns.clear)


# -- the data page -----------------------------------------------------------------------------------------------------

@page
def data():
    "A corpus: its report, one document, its duplicates; tokenizers on a text; and the reader's own files."
    views = {"report": data_report, "fate": data_fate, "twins": data_twins, "pieces": data_pieces, "upload": data_upload}
    names = {view: t(f"data_{view}") for view in views}
    view = st.segmented_control(t("data_view"), list(views), default=from_url("view", views), required=True, key="view", label_visibility="collapsed",
                                format_func=names.get, on_change=to_url, args=("view",))
    if view in ("pieces", "upload"): return views[view]()
    listed = corpora()
    for corpus in listed:
        if not corpus.ok: st.warning(t("corpus_broken", name=corpus.name, why=corpus.status, command=corpus.mend), icon=":material/build:")
    listed.sort(key=lambda corpus: (corpus.uploaded, language_of(corpus) != language()))       # a corpus that was made, before an upload
    whole = {place_of(corpus): corpus for corpus in listed if corpus.ok}
    if not whole:
        if not listed: st.info(t("corpus_missing", command="lmnb quickstart --only lm"), icon=":material/lightbulb:")
        return
    places = list(whole)
    corpus = whole[st.selectbox(t("corpus"), places, places.index(from_url("corpus", whole)), key="corpus", format_func={place: found.name for place, found in whole.items()}.get, on_change=to_url, args=("corpus",))]
    if view == "report" or corpus.documents: views[view](corpus)
    else: st.info(t("corpus_bare"), icon=":material/lightbulb:")


def language_of(corpus):
    "The language of most of its documents; None where that is not known."
    counts = corpus.report.languages if corpus.report else {}
    return max(counts, key=counts.get, default=None)


def from_url(key, known):
    "What the URL says, or the first; a bound widget (`bind=`) would put its words there, which change with the language."
    return st.query_params.get(key) if st.query_params.get(key) in known else next(iter(known))


def to_url(key): st.query_params[key] = st.session_state[key]


def place_of(corpus):
    "What stands for a corpus in the URL: its last two folders."
    return "/".join(corpus.path.parts[-2:])


def tail(source):
    "The end of a long path."
    return source if len(source) <= 60 else f"…{source[-59:]}"


def reason_of(text):
    "A reason in the reader's language, with its numbers or their range; … where they have none."
    number = r"(?:\d[\d.,]*(?:–\d[\d.,]*)?|…|#)%?"                     # a report of an earlier version has # for every number
    key, known = re.sub(number, "#", text), strings()[language()]
    numbers, (head, _, name) = iter(re.findall(number, text.replace("#", "…"))), key.rpartition(" ")
    found = known.get(f"reason_{key}") or known.get(f"reason_{head} *", "").replace("*", name)
    return re.sub("#", lambda _: next(numbers, "…"), found) if found else text


def data_report(corpus):
    "What came in, what stayed, and what each step did."
    rows = step_rows(corpus)
    stayed = rows[-1]["kept"]
    numbers = {"corpus_in": rows[0]["entered"], "corpus_stayed": stayed, "corpus_removed": rows[0]["entered"] - stayed, "corpus_characters": corpus.report.characters}
    for column, (key, number) in zip(st.columns(4), numbers.items()): column.metric(t(key), "–" if number is None else f"{number:,}", border=True)
    if corpus.documents: show_unreadable(corpus)
    st.subheader(t("steps"))
    chart(step_bars(rows, words=words()), plain("alt_steps", documents=rows[0]["entered"], kept=stayed))
    table("steps", [{t("column_step"): row["step"], t("column_does"): name_of("step", row["step"]), **{t(f"column_{key}"): row["entered" if key == "in" else key] for key in
                     ("in", "kept", "changed", "dropped", "quarantined")}} for row in rows], head=(t("column_step"),), column_config={t("column_does"): {"width": 260}})
    st.caption(t("steps_note"))
    samples = [{t("column_step"): row["step"], t("column_reason"): reason_of(reason), t("column_count"): n, t("column_sample"): row["samples"].get(reason, "")}
               for row in rows for reason, n in row["reasons"].items()]
    if samples:
        with st.expander(t("samples"), expanded=True, icon=":material/list:"):
            table("samples", samples, head=(t("column_step"), t("column_reason")), column_config={t("column_reason"): {"width": 235}, t("column_count"): {"width": 60}, t("column_sample"): {"width": 330}})
    data_contents(corpus.report)


def show_unreadable(corpus, most=5):
    "One sentence for each file of which something could not be read."
    try: found = unreadable(corpus)
    except LmnbError as error: return st.warning(escaped(error), icon=":material/error:")
    files = {name: {} for name, _ in found}
    for name, why in found: files[name][reason_of(why)] = None                       # each reason once, in order
    for name, reasons in list(files.items())[:most]:
        st.warning(t("unreadable", name=tail(name), why="; ".join(list(reasons)[:3])), icon=":material/error:")
    if len(files) > most: st.caption(t("unreadable_more", n=len(files) - most))


def data_contents(report):
    "Languages, kinds, sources and lengths of what stayed."
    parts = [key for key in ("languages", "kinds", "sources", "lengths") if getattr(report, key)]
    if not parts: return
    st.subheader(t("made_of"))
    for number, key in enumerate(parts):
        if number % 2 == 0: columns = st.columns(2)
        with columns[number % 2].container(border=True):
            st.markdown(f"**{t(key)}**")
            chart((length_bars if key == "lengths" else count_bars)(getattr(report, key), words=words()), plain("alt_counts", what=plain(key)), key=f"counts_{key}")


def data_fate(corpus):
    "Find a document, and see what each step made of it."
    left, right = st.columns([2, 1], vertical_alignment="bottom")
    text = left.text_input(t("find"), key="find", help=t("find_help"), bind="query-params")
    steps = {"": t("anything")} | {row["step"]: plain("removed_at", step=row["step"]) for row in step_rows(corpus) if row["dropped"] + row["quarantined"]}
    step = right.selectbox(t("removed_by"), list(steps), format_func=steps.get)
    docs = {doc.id: doc for doc in find_documents(corpus, text, step=step)}
    if not docs: return st.info(t("found_none"))
    labels = {id: f"{clip(doc.text, 70) or '–'} · {name_of('fate', doc.meta.get('fate', 'kept'))}" for id, doc in docs.items()}
    doc = docs[st.selectbox(t("document"), list(docs), format_func=labels.get)]
    st.caption(t("fate_facts", source=doc.source, kind=doc.kind, id=doc.id))
    show_fate(fate_of(corpus, doc.id))


def show_fate(rows):
    "The steps that touched a document, each with the text before and after it."
    last = rows[-1]
    verdict = last["fate"] if last["fate"] in ("dropped", "quarantined") else "kept"
    st.markdown("#### " + t(f"fate_verdict_{verdict}", step=last["step"], reason=reason_of(last["reason"])))
    touched = [row for row in rows if row["before"] not in (None, row["after"])]
    for row in touched:
        st.markdown(f"**{escaped(row['step'])}** · {escaped(name_of('step', row['step']))}")
        before, after = changes(row["before"], row["after"])
        st.html(side_by_side((plain("before"), before), (plain("after"), after)))
    if touched: st.caption(t("changes_note"))
    else: st.html(side_by_side((plain("as_collected"), marked(rows[0]["after"][:4000]))))
    quiet = [row["step"] for row in rows if row["before"] is not None and row not in touched and row["fate"] == "kept"]
    if quiet: st.caption(t("untouched", steps=", ".join(quiet)))


def data_twins(corpus):
    "A family of duplicates, side by side."
    families = twins(corpus)
    if not families: return st.info(t("twins_none"))
    labels = [plain("twins_label", text=clip(kept.text, 70), n=len(gone)) for kept, gone in families]
    kept, gone = families[st.selectbox(t("twins"), range(len(families)), format_func=labels.__getitem__)]
    for doc in gone[:5]:
        alike = doc.meta.get("similarity")
        title = plain("twin_exact", source=tail(doc.source)) if alike is None else plain("twin_near", source=tail(doc.source), similarity=f"{alike:.2f}")
        left, right = changes(kept.text, doc.text)
        st.html(side_by_side((plain("twin_kept", source=tail(kept.source)), left), (title, right)))
    if len(gone) > 5: st.caption(t("twins_more", n=len(gone) - 5))
    st.caption(t("twins_note"))


@st.cache_resource(show_spinner=False)
def tokenizers_at_hand(stamp):
    "One tokenizer of each kind, and those of the models; a new model (`stamp`) is seen."
    return sample_tokenizers(), run_tokenizers()


def data_pieces():
    "The reader's own text, as each tokenizer cuts it."
    text = st.text_area(t("pieces_input"), t("pieces_sample"), height=90, max_chars=5000)
    with st.spinner(t("learning")): samples, runs = tokenizers_at_hand("".join(run.stamp for run in find_runs()))
    names = {f"sample/{kind}": name_of("tokenizer", kind) for kind in samples} | {f"run/{data}": f"{name_of('tokenizer', found.kind)} {plain('tokenizer_run', data=data)}" for data, found in runs.items()}
    at_hand = {f"sample/{kind}": found for kind, found in samples.items()} | {f"run/{data}": found for data, found in runs.items()}
    chosen = st.multiselect(t("tokenizers"), list(names), [f"sample/{kind}" for kind in samples], format_func=names.get)
    if not (text.strip() and chosen): return st.info(t("type_something"))
    rows = tokenizer_rows({name: at_hand[name] for name in chosen}, text)
    st.subheader(t("fertility"))
    ratio = lambda row, key, digits=2: None if row[key] is None else round(row[key], digits)
    share = lambda row, key: None if row[key] is None else round(100*row[key])
    table("tokenizers", [{t("column_tokenizer"): names[row["name"]], t("column_vocabulary"): row["vocabulary"], t("column_tokens"): row["tokens"], t("column_per_word"): ratio(row, "tokens_per_word"),
                   t("column_per_character"): ratio(row, "tokens_per_character"), t("column_bytes"): ratio(row, "bytes_per_token"), t("column_split"): share(row, "words_split"),
                   t("column_unknown"): share(row, "unknown"), t("column_whole"): t("yes" if row["whole"] else "no")} for row in rows], head=(t("column_tokenizer"),))
    st.caption(t("fertility_note"))
    for row in rows:
        title = f"{names[row['name']]} · {plain('pieces_facts', tokens=row['tokens'], vocabulary=short(row['vocabulary']))}"
        st.html(side_by_side((title, coloured_pieces(pieces_in(at_hand[row["name"]], text)))))
    st.caption(t("pieces_note"))


def data_upload():
    "Files from the reader, read in a process of its own; then their report."
    st.caption(t("upload_limits", **UPLOAD))
    left, right = st.columns(2, vertical_alignment="bottom")
    kinds, sets = {"files": t("upload_files"), "folder": t("upload_folder")}, {rules: name_of("rules", rules) for rules in RULES}
    what = left.segmented_control(t("upload_what"), list(kinds), default="files", required=True, format_func=kinds.get)
    rules = right.selectbox(t("rules"), list(sets), format_func=sets.get)
    files = st.file_uploader(t("upload_label"), accept_multiple_files=True if what == "files" else "directory", max_upload_size=UPLOAD["megabytes"], key=f"upload_{what}")
    if files and st.button(t("upload_go"), type="primary", icon=":material/play_arrow:"):
        with st.spinner(t("upload_working")): st.session_state["uploaded"] = str(prepare_upload([(file.name, file.getvalue()) for file in files], rules=rules).path)
    if not (files and "uploaded" in st.session_state): return
    corpus = read_corpus(st.session_state["uploaded"])
    if corpus.ok: data_report(corpus)
    else: st.warning(t("corpus_broken", name=corpus.name, why=corpus.status, command=corpus.mend), icon=":material/build:")


# -- together ----------------------------------------------------------------------------------------------------------

# Streamlit fetches the icons of `page_icon=":material/..."` from the network: this one is drawn here.
ICON = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path d="M1 13 L5 6 L8 10 L15 2" fill="none" stroke="#0072B2" stroke-width="2.5" stroke-linecap="round" stroke-linejoin="round"/></svg>'
PAGES = (home, data, compare, generate, classify, translate, answer, summarize, chat)
ICONS = {"home": ":material/home:", "data": ":material/filter_alt:", "compare": ":material/monitoring:", "generate": ":material/edit_note:", "classify": ":material/label:",
         "translate": ":material/translate:", "answer": ":material/help_center:", "summarize": ":material/short_text:", "chat": ":material/forum:"}


def language_switch():
    "English or Chinese, on every page and in the URL."
    if "language" not in st.session_state: st.session_state["language"] = language()
    st.sidebar.segmented_control("Language · 语言", list(LANGUAGES), format_func=LANGUAGES.get, key="language", required=True)
    if st.query_params.get("lang", "en") != language() or "lang" in st.query_params: st.query_params["lang"] = language()


def threads_told():
    "How many threads the last computation was given, and why, at the foot of the sidebar; nothing where nothing was measured."
    found = re.fullmatch(r"(\d+) of (\d+) threads(?: \(a step with (.*)\)|(: the others are busy))?", said())
    if not found: return
    n, cores, tried, busy = found.groups()
    why = t("threads_tried", tried=tried) if tried else t("threads_busy") if busy else ""
    st.sidebar.caption(f"{t('threads', n=n, cores=cores)} {why}")


def main():
    "All pages, in the reader's language."
    st.set_page_config(page_title="lmnb", page_icon=ICON, layout="wide")
    for option, value in {"client.toolbarMode": "minimal", "client.showErrorDetails": "none"}.items(): st.set_option(option, value)
    language_switch()
    script("speak", SPEAK, language={"zh": "zh-CN"}.get(language(), "en"))
    pages = {function.__name__: st.Page(function, title=t(function.__name__), icon=ICONS[function.__name__], url_path=function.__name__, default=function is home) for function in PAGES}
    st.session_state["pages"] = pages
    names = list(pages)
    groups = {"lmnb": names[:1], t("group_data"): names[1:2], t("group_models"): names[2:4], t("group_apps"): names[4:]}
    chosen = st.navigation({group: [pages[name] for name in some] for group, some in groups.items()})
    st.set_page_config(page_title=f"{chosen.title} · lmnb")
    chosen.run()
    threads_told()


if __name__ == "__main__": main()
