"The engine of the data stage: the same bytes from any number of workers, counts that add up, runs that survive being killed, and the fate of every document."
import hashlib, json, os, random, shutil, signal, subprocess, sys, time
from pathlib import Path

import pytest

from lmnb.collect import Document, read_documents, write_documents
from lmnb.core import CorruptError, InputError, UsageError, read_json
from lmnb.pipeline import Tally, appearing, code_of, cut, documents, fate, grouped, lookup, make_steps, merged, pieces_of, run_pipeline, search, tokenize_pipeline

CLEAN, EXACT, NEAR = ["lmnb.clean:steps_of", {"rules": "basic"}], "lmnb.dedup:exact", ["lmnb.dedup:Near", {"threshold": .8}]
LINES = ["lmnb.dedup:Lines", {"least": 20}]
WIDE = ["lmnb.clean:steps_of", {"rules": ["half_width"]}]
ALL = [CLEAN, EXACT, LINES, WIDE, NEAR]


def corpus(count=400, seed=0):
    "Texts in two languages; every fifth repeats an earlier one, as it is or with some words changed, every twentieth is damaged."
    dice, words, chars = random.Random(seed), [f"word{i}" for i in range(800)], [chr(0x4e00 + i) for i in range(800)]
    texts = []
    for i in range(count):
        base = dice.choices(words if i % 3 else chars, k=dice.randrange(30, 120))
        text = (" " if i % 3 else "").join(base)
        if i % 5 == 4: text = dice.choice(texts) if i % 2 else dice.choice(texts).replace("word1", "other", 1)
        if i % 20 == 7: text = "12 | 34 | 56 | 78"
        if i % 20 == 13: text += " cafÃ© lost ���"
        if i % 7 == 3: text += "\nThis line stands on many pages of the site"
        texts.append(text)
    return [Document.of(text, source=f"site{i % 3}/page", position=i) for i, text in enumerate(texts)]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source")/"docs.jsonl"
    write_documents(path, corpus())
    return path


def files_of(folder):
    "{name: hash} of everything that a run is judged by."
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir()) if path.is_file()}


@pytest.fixture(scope="module")
def undisturbed(source, tmp_path_factory):
    "The result of one process that nobody disturbs, 13 shards."
    folder = tmp_path_factory.mktemp("undisturbed")/"out"
    run_pipeline(source, ALL, folder, shard_bytes=20_000)
    return folder


# -- the same bytes --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("workers", [2, 4])
def test_workers_change_nothing(source, undisturbed, workers, tmp_path):
    run_pipeline(source, ALL, tmp_path/"out", workers=workers, shard_bytes=20_000)
    assert files_of(tmp_path/"out") == {**files_of(undisturbed), "manifest.json": files_of(tmp_path/"out")["manifest.json"]}
    mine, other = read_json(tmp_path/"out/manifest.json"), read_json(undisturbed/"manifest.json")
    assert mine["files"] == other["files"] and len([name for name in mine["files"] if name.startswith("documents-")]) > 5


@pytest.mark.slow        # Ray takes 10 to 20 seconds to start
def test_ray_changes_nothing(source, undisturbed, tmp_path):
    pytest.importorskip("ray")
    run_pipeline(source, ALL, tmp_path/"out", workers=2, engine="ray", shard_bytes=20_000)
    assert read_json(tmp_path/"out/manifest.json")["files"] == read_json(undisturbed/"manifest.json")["files"]


def test_shards_agree_with_all_documents_at_once(source, undisturbed):
    from lmnb.clean import run_steps
    from lmnb.collect import read_documents
    kept, report = run_steps(make_steps(ALL), read_documents(source))
    found = [doc for piece in pieces_of(undisturbed) for doc in documents(piece)]
    assert found == kept and len(found) > 200
    assert read_json(undisturbed/"report.json")["steps"] == json.loads(json.dumps(report.to_dict()["steps"]))


def test_counts_add_up(undisturbed):
    report = read_json(undisturbed/"report.json")
    before = None
    for row in report["steps"]:
        assert row["entered"] == row["kept"] + row["dropped"] + row["quarantined"] and row["changed"] <= row["kept"]
        assert before in (None, row["entered"]) and sum(row["reasons"].values()) == row["dropped"] + row["quarantined"] and set(row["samples"]) == set(row["reasons"])
        before = row["kept"]
    removed = [json.loads(line) for path in sorted(undisturbed.glob("removed-*")) for line in path.open(encoding="utf-8")]
    assert report["steps"][0]["entered"] == 400 == report["documents"] + report["removed"] and len(removed) == report["removed"] and before == report["documents"]
    assert all(row["meta"]["fate"] in ("dropped", "quarantined") and row["meta"]["reason"] and row["meta"]["step"] for row in removed)
    for name in ("languages", "kinds", "sources", "lengths"): assert sum(report[name].values()) == report["documents"]
    families = [json.loads(line) for line in (undisturbed/"clusters.jsonl").open()]
    twins = {row["id"] for row in removed if "twin" in row["meta"]}
    assert {m["id"] for f in families for m in f["members"]} == twins and report["duplicates"] == {"clusters": len(families), "documents": len(twins)} and len(twins) > 20
    assert not twins & {f["kept"] for f in families}


def test_no_document_is_in_two_places_or_none(undisturbed):
    ids = [json.loads(line)["id"] for pattern in ("documents-*", "removed-*") for path in undisturbed.glob(pattern) for line in path.open(encoding="utf-8")]
    assert sorted(ids) == sorted(doc.id for doc in corpus())


# -- going on --------------------------------------------------------------------------------------------------------

def counted(facts):
    "A function for on_progress that keeps {stage: [shards done, shards skipped]}."
    def tell(one):
        stage = facts.setdefault(one["stage"], [0, 0])
        stage[one["skipped"]] += 1
    return tell


def test_a_second_run_only_checks(source, undisturbed):
    before, facts = files_of(undisturbed), {}
    times = {path: path.stat().st_mtime_ns for path in undisturbed.glob("documents-*")}
    run_pipeline(source, ALL, undisturbed, shard_bytes=20_000, on_progress=counted(facts))
    assert all(done == 0 and skipped for done, skipped in facts.values()) and len(facts) == 7
    assert files_of(undisturbed) == before and times == {path: path.stat().st_mtime_ns for path in undisturbed.glob("documents-*")}


def test_changed_settings_redo_what_depends_on_them(source, tmp_path):
    steps = lambda threshold: [CLEAN, EXACT, ["lmnb.dedup:Near", {"threshold": threshold}]]
    run_pipeline(source, steps(.8), tmp_path/"out", shard_bytes=50_000)
    facts = {}
    run_pipeline(source, steps(.9), tmp_path/"out", shard_bytes=50_000, on_progress=counted(facts))
    assert facts["pass 1 of 3"][0] == 0 and facts["exact"][0] == 0 and facts["pass 2 of 3"][1] == 0 and facts["near"] == [1, 0] and facts["pass 3 of 3"][1] == 0
    run_pipeline(source, steps(.9), tmp_path/"other", shard_bytes=50_000)
    assert read_json(tmp_path/"out/manifest.json")["files"] == read_json(tmp_path/"other/manifest.json")["files"]


def test_a_changed_shard_redoes_its_own(tmp_path):
    docs, facts = corpus(200), {}
    (tmp_path/"in").mkdir()
    for i in range(10): write_documents(tmp_path/f"in/{i}.jsonl", docs[20*i:20*i + 20])
    run_pipeline(tmp_path/"in", [CLEAN], tmp_path/"out", shard_bytes=1000)
    write_documents(tmp_path/"in/4.jsonl", docs[80:99])
    report = run_pipeline(tmp_path/"in", [CLEAN], tmp_path/"out", shard_bytes=1000, on_progress=counted(facts))
    assert facts == {"pass 1 of 1": [1, 9]} and report["documents"] + report["removed"] == 199
    for i in range(5): (tmp_path/f"in/{i}.jsonl").unlink()
    run_pipeline(tmp_path/"in", [CLEAN], tmp_path/"out", shard_bytes=1000)
    assert len(list(tmp_path.glob("out/documents-*"))) == 5 == len(list(tmp_path.glob("out/removed-*")))


def test_a_damaged_shard_is_mended(source, tmp_path):
    run_pipeline(source, [CLEAN], tmp_path/"out", shard_bytes=50_000)
    before, facts = files_of(tmp_path/"out"), {}
    shard = tmp_path/"out/documents-00002.jsonl"
    shard.write_bytes(shard.read_bytes()[:-50])
    (tmp_path/"out/documents-00001.jsonl").unlink()
    run_pipeline(source, [CLEAN], tmp_path/"out", shard_bytes=50_000, on_progress=counted(facts))
    assert files_of(tmp_path/"out") == before and facts["pass 1 of 1"][0] == 2


def test_changed_code_is_seen(tmp_path, monkeypatch):
    (tmp_path/"my_steps.py").write_text("from lmnb.clean import change\nfrom my_help import low\ndef lower(): return change(low)\n")
    (tmp_path/"my_help.py").write_text("def low(text): return text.lower()\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = code_of(["my_steps"])
    assert "my_help" not in before and {"my_steps", "python"} <= set(before)       # another top-level name: a library, known by its version
    (tmp_path/"my_steps.py").write_text("from lmnb.clean import change\ndef lower(): return change(str.lower)\n")
    import lmnb.pipeline
    lmnb.pipeline._imports.cache_clear()
    assert code_of(["my_steps"])["my_steps"] != before["my_steps"]
    assert {"lmnb.clean", "lmnb.collect", "lmnb.core"} <= set(code_of(["lmnb.clean"]))


DRIVER = "import sys; from lmnb.pipeline import run_pipeline; import json; run_pipeline(sys.argv[1], json.loads(sys.argv[2]), sys.argv[3], workers=int(sys.argv[4]), shard_bytes=20_000)"


def started(source, out, workers):
    return subprocess.Popen([sys.executable, "-c", DRIVER, str(source), json.dumps(ALL), str(out), str(workers)], stderr=subprocess.PIPE, text=True)


def storm(source, undisturbed, out, kills, workers, seed=0):
    "Kill the run at random moments, look at what stands there, and let it finish."
    dice, whole, killed = random.Random(seed), {path.name: path.read_bytes() for path in undisturbed.glob("*-*.jsonl")}, 0
    receipts = lambda folder: len(list((folder/".work").glob("[0-9]*.json")))
    for _ in range(kills):
        here = receipts(out)
        target, process = here + dice.uniform(0, .6)*(receipts(undisturbed) - here), started(source, out, workers)
        while receipts(out) < target and process.poll() is None: time.sleep(.002)
        time.sleep(dice.uniform(0, .05))
        process.kill()
        killed += process.wait() == -signal.SIGKILL
        for path in out.glob("*-*.jsonl"): assert path.read_bytes() == whole[path.name], f"{path.name} is not what an undisturbed run writes"
    process = started(source, out, workers)
    assert process.wait(120) == 0, process.stderr.read()
    assert read_json(out/"manifest.json")["files"] == read_json(undisturbed/"manifest.json")["files"]
    assert not [path for folder in (out, out/".work") for path in folder.glob(".*") if path.is_file()]
    return killed


def test_killed_twice_and_still_the_same(source, undisturbed, tmp_path):
    assert storm(source, undisturbed, tmp_path/"out", 2, 2) == 2


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_ten_times_and_still_the_same(source, undisturbed, tmp_path, workers):
    assert storm(source, undisturbed, tmp_path/"out", 10, workers, seed=workers) >= 8


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_safely(source, tmp_path, number, workers):
    out = tmp_path/"out"
    run = lambda: subprocess.Popen([sys.executable, "-c", "from lmnb.cli import main; main()", "clean", str(source), "--rules", "web", "--out", str(out), "--shard-mb", "0.005", "--workers", str(workers)],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process = run()
    while not list(out.glob("documents-*")): time.sleep(.01); assert process.poll() is None
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    said = [line for line in err.strip().splitlines() if " shards  " not in line]             # on a busy machine it tells its progress
    assert process.returncode == 75 and len(said) == 1 and "safe" in said[0], err
    assert not list(out.glob("manifest.json"))
    with pytest.raises(InputError, match="not finished"): pieces_of(out)


def test_workers_end_with_their_master(source, tmp_path):
    import psutil
    process = started(source, tmp_path/"out", 2)
    me, seen = psutil.Process(process.pid), set()
    while process.poll() is None and len(seen) < 4: seen |= set(me.children(recursive=True)); time.sleep(.01)
    process.kill(); process.wait()
    gone, alive = psutil.wait_procs(seen, timeout=5)
    assert seen and not alive


# -- ids -------------------------------------------------------------------------------------------------------------

def test_ids_from_any_number_of_workers(undisturbed, tmp_path):
    from lmnb.tokenize import read_shards
    report = tokenize_pipeline(undisturbed, tmp_path/"one", vocab_size=400, shard_bytes=10_000)
    tokenize_pipeline(undisturbed, tmp_path/"two", vocab_size=400, shard_bytes=10_000, workers=2)
    assert files_of(tmp_path/"one") == files_of(tmp_path/"two")
    shards, docs = read_shards(tmp_path/"two"), [doc for piece in pieces_of(undisturbed) for doc in documents(piece)]
    assert list(shards.names()) == [doc.id for doc in docs] and len(shards.ids) > 5
    tokenizer = shards.tokenizer()
    for i in (0, 50, len(docs) - 1): assert tokenizer.decode(shards[i]) == docs[i].text
    assert report["steps"][0]["kept"] == report["documents"] == len(docs) and set(report["fertility"]) == {"en", "zh"}
    facts = {}
    tokenize_pipeline(undisturbed, tmp_path/"one", vocab_size=400, shard_bytes=10_000, on_progress=counted(facts))
    assert facts["learn"] == [0, 1] and facts["encode"][0] == 0 and files_of(tmp_path/"one") == files_of(tmp_path/"two")
    tokenize_pipeline(undisturbed, tmp_path/"one", vocab_size=500, shard_bytes=10_000)
    assert len(read_shards(tmp_path/"one")) == len(docs) and files_of(tmp_path/"one") != files_of(tmp_path/"two")
    tokenize_pipeline(undisturbed, tmp_path/"three", tokenizer=tmp_path/"two", shard_bytes=10_000)
    assert read_json(tmp_path/"three/manifest.json") == read_json(tmp_path/"two/manifest.json")


@pytest.mark.parametrize("kind", ["char", "word", "wordpiece", "unigram"])
def test_every_kind_of_tokenizer(undisturbed, tmp_path, kind):
    report = tokenize_pipeline(undisturbed, tmp_path/"out", kind=kind, vocab_size=600)
    assert report["tokens"] > report["documents"] and report["tokenizer"]["kind"] == kind


def test_a_folder_with_other_things_is_left_alone(source, undisturbed, tmp_path):
    (tmp_path/"mine").mkdir(); (tmp_path/"mine/documents-1.txt").touch()
    with pytest.raises(UsageError, match="other things"): run_pipeline(source, [], tmp_path/"mine")
    with pytest.raises(UsageError, match="other things"): tokenize_pipeline(source, undisturbed)
    with pytest.raises(UsageError, match="what is read"): run_pipeline(undisturbed, [], undisturbed)
    assert (undisturbed/"manifest.json").is_file() and [path.name for path in (tmp_path/"mine").iterdir()] == ["documents-1.txt"]


# -- shards ----------------------------------------------------------------------------------------------------------

def test_cuts_are_at_line_ends_and_lose_nothing(tmp_path):
    dice = random.Random(0)
    for trial in range(50):
        data = b"".join(b"x"*dice.choice([0, 1, 5, 300]) + b"\n" for _ in range(dice.randrange(40))) + b"end"*dice.randrange(2)
        (tmp_path/"f").write_bytes(data)
        parts = cut(tmp_path/"f", dice.randrange(1, 400))
        assert b"".join(data[a:b] for a, b in parts) == data
        assert all(data[:b].endswith(b"\n") for _, b in parts[:-1]) and len(parts) >= 1


def test_small_files_are_grouped(tmp_path):
    for i, size in enumerate([10, 10, 10, 100, 5, 5]): (tmp_path/f"{i}").write_bytes(b"x"*size)
    groups = grouped(sorted(tmp_path.iterdir()), 25)
    assert [[Path(p).name for p in group] for group in groups] == [["0", "1"], ["2"], ["3"], ["4", "5"]]


def test_what_cannot_be_read_is_put_aside(tmp_path):
    folder = tmp_path/"in"; folder.mkdir()
    (folder/"a.txt").write_text("A good text of some words."); (folder/"b.txt").touch(); (folder/"c.jsonl").write_bytes(b'{"text": "fine row here"}\n{"text": \n{"text": "another fine row"}\n')
    report = run_pipeline(folder, [], tmp_path/"out")
    row, = report["steps"]
    assert report["documents"] == 3 and row["quarantined"] == 2 and row["entered"] == 5
    gone = [json.loads(line) for line in (tmp_path/"out/removed-00000.jsonl").open()]
    assert all(doc["meta"]["reason"] and doc["source"] and ("offset" in doc["meta"] or not doc["text"]) for doc in gone)
    assert any(doc["text"].startswith('{"text":') for doc in gone)          # the bytes themselves


def test_stages_stand_on_each_other(source, tmp_path):
    run_pipeline(source, [], tmp_path/"a", shard_bytes=50_000)
    run_pipeline(tmp_path/"a", [CLEAN], tmp_path/"b", shard_bytes=50_000)
    report = run_pipeline(tmp_path/"b", [EXACT, NEAR], tmp_path/"c", shard_bytes=50_000)
    whole = run_pipeline(source, [CLEAN, EXACT, NEAR], tmp_path/"d", shard_bytes=50_000)
    assert report["documents"] == whole["documents"]
    # the fate goes back through all folders
    doc = corpus()[13]
    rows = fate(tmp_path/"c", doc.id)
    assert [(row["stage"], row["step"]) for row in rows][:2] == [("a", "input"), ("b", "repair")] and rows[-1]["fate"] == "quarantined" and rows[-1]["step"] == "nothing_lost"
    assert rows[0]["after"] == doc.text and "café" in rows[1]["after"] and rows[1]["fate"] == "changed"


def test_an_unfinished_folder_is_no_source(source, tmp_path):
    run_pipeline(source, [], tmp_path/"a")
    (tmp_path/"a/manifest.json").unlink()
    with pytest.raises(InputError, match="not finished"): run_pipeline(tmp_path/"a", [CLEAN], tmp_path/"b")


def test_a_damaged_document_file_is_refused(source, tmp_path):
    data = source.read_bytes()
    (tmp_path/"docs.jsonl").write_bytes(data[:5000] + b"\xff" + data[5000:])
    with pytest.raises(CorruptError, match="docs.jsonl is damaged at byte"): run_pipeline(tmp_path/"docs.jsonl", [], tmp_path/"out")


@pytest.mark.parametrize("specs,said", [(["lmnb.clean:nothing"], "nothing"), (["no.such.module:x"], "no.such"), ([["lmnb.dedup:Near", {"treshold": 1}]], "treshold"), (["itertools:chain"], "map, reduce and apply")])
def test_a_step_that_cannot_be_made_is_one_line(specs, said, tmp_path, source):
    with pytest.raises(UsageError, match=said) as error: run_pipeline(source, specs, tmp_path/"out")
    assert "\n" not in str(error.value) and not (tmp_path/"out").exists()


@pytest.mark.parametrize("options", [{"engine": "spark"}, {"workers": 0}])
def test_an_unknown_engine_is_one_line(options, tmp_path, source):
    with pytest.raises(UsageError): run_pipeline(source, [], tmp_path/"out", **options)


# -- the fate of a document ------------------------------------------------------------------------------------------

def test_the_fate_of_every_document(undisturbed):
    docs = {doc.id: doc for doc in corpus()}
    places = lookup(undisturbed, docs)
    assert set(places) == set(docs)
    for id in list(docs)[::9]:
        rows = fate(undisturbed, id)
        name, doc = places[id]
        assert rows[-1]["after"] == doc.text and (rows[-1]["fate"] in ("dropped", "quarantined")) == name.startswith("removed-")
        if name.startswith("removed-"): assert (rows[-1]["step"], rows[-1]["reason"]) == (doc.meta["step"], doc.meta["reason"])
        assert all(row["before"] == above["after"] for above, row in zip(rows, rows[1:]))
    with pytest.raises(InputError, match="knows no document"): fate(undisturbed, "0123456789abcdef")


def test_search_finds_by_text_id_and_step(undisturbed):
    doc = corpus()[3]
    assert search(undisturbed, doc.id)[0].id == doc.id
    assert any(found.id == doc.id for found in search(undisturbed, doc.text[:40].upper()))
    near = search(undisturbed, step="near", most=1000)
    assert near and all(found.meta["step"] == "near" and "twin" in found.meta for found in near) and len(search(undisturbed, most=5)) == 5
    assert search(undisturbed, 'no "such" text') == []


def test_tallies_of_shards_add_up():
    docs, whole, parts = corpus(100), Tally(), [Tally(), Tally(), Tally()]
    for i, doc in enumerate(docs): whole.add(doc); parts[i % 3].add(doc)
    assert merged(parts) == whole and whole.languages["zh"] > 20


def test_a_file_that_fails_never_appears(tmp_path):
    with pytest.raises(KeyError):
        with appearing(tmp_path/"f") as file: file.write(b"half"); raise KeyError
    assert not list(tmp_path.iterdir())


# -- the command -----------------------------------------------------------------------------------------------------

def lmnb(*arguments, cwd, stdin=None):
    done = subprocess.run([sys.executable, "-c", "from lmnb.cli import main; main()", *map(str, arguments)], cwd=cwd, capture_output=True, text=True, input=stdin, timeout=120, encoding="utf-8", env={**os.environ, "COLUMNS": "200"})
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def test_the_command_over_folders(source, tmp_path):
    code, out, err = lmnb("collect", source, "--out", "a", "--shard-mb", ".05", cwd=tmp_path)
    assert code == 0 and "400 documents, 0 removed -> a" in out, err
    code, out, err = lmnb("clean", "a", "--out", "b", "--rules", "basic", "--pii", "mask", "--languages", "en,zh", "--workers", 2, "--shard-mb", ".05", "--json", cwd=tmp_path)
    report = json.loads(out)
    assert code == 0 and [row["step"] for row in report["steps"]][3:5] == ["tidy_space", "mask_personal"] and report["documents"] + report["removed"] == 400, err
    code, out, err = lmnb("dedup", "b", "--out", "c", "--threshold", ".7", "--lines", cwd=tmp_path)
    assert code == 0 and "lines" in out and (tmp_path/"c/clusters.jsonl").stat().st_size, err
    code, out, err = lmnb("tokenize", "c", "--out", "ids", "--vocab-size", 400, cwd=tmp_path)
    assert code == 0 and "bytes and" in out and "documents became" in out, err
    code, out, err = lmnb("clean", "ids", "--out", "d", cwd=tmp_path)
    assert code == 3 and "holds no documents" in err
    code, out, err = lmnb("collect", "-", "--out", "piped", cwd=tmp_path, stdin="A text from a pipe.\n")
    assert code == 0 and json.loads((tmp_path/"piped/documents-00000.jsonl").read_text())["source"] == "stdin", err


def test_one_file_for_other_tools(source, tmp_path):
    import pyarrow.parquet
    code, out, err = lmnb("clean", source, "--out", "t.parquet", cwd=tmp_path)
    table = pyarrow.parquet.read_table(tmp_path/"t.parquet").to_pylist()
    assert code == 0 and table and all(set(row) == {"id", "text", "source", "kind", "meta"} for row in table), err
    assert len(table) == read_json(tmp_path/"t.report.json")["documents"] and len((tmp_path/"t.removed.jsonl").read_text().splitlines()) == 400 - len(table)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.parquet", "t.removed.jsonl", "t.report.json"]


def test_a_model_can_be_trained_on_a_folder(undisturbed):
    from lmnb.collect import load_dataset
    data = load_dataset(undisturbed)
    parts = [row["text"] for rows in data.parts.values() for row in rows]
    whole = [doc.text for path in sorted(undisturbed.glob("documents-*.jsonl")) for doc in read_documents(path)]
    assert data.task == "lm" and len(whole) == read_json(undisturbed/"report.json")["documents"]
    letters = lambda texts: sorted("".join("".join(texts).split()))
    assert letters(parts) == letters(whole)          # a text may be cut where a part ends; nothing of it is lost


@pytest.mark.parametrize("arguments,code", [(["clean", "nowhere", "--out", "x"], 3), (["clean", "docs.jsonl", "--rules", "golpher", "--out", "x"], 2), (["clean", "docs.jsonl", "--pii", "hide", "--out", "x"], 2),
                                            (["dedup", "docs.jsonl", "--threshold", "7", "--out", "x"], 2), (["dedup", "docs.jsonl", "--engine", "spark", "--out", "x"], 2), (["dedup", "docs.jsonl", "--keep", "best", "--out", "x"], 3)])
def test_the_command_says_what_is_wrong(source, tmp_path, arguments, code):
    (tmp_path/"docs.jsonl").write_bytes(source.read_bytes())
    found, out, err = lmnb(*arguments, cwd=tmp_path)
    assert found == code and len(err.strip().splitlines()) == 1, err
    assert not (tmp_path/"x/manifest.json").exists()


def test_a_file_named_twice_is_read_once(tmp_path):
    "A folder, a folder in it and a file in that: one document for each file."
    (tmp_path/"g/sub").mkdir(parents=True)
    (tmp_path/"g/sub/same.txt").write_text("This text is named three times.")
    (tmp_path/"g/other.txt").write_text("Another good text stands here now.")
    report = run_pipeline([tmp_path/"g", tmp_path/"g/sub/same.txt", tmp_path/"g/sub"], [], tmp_path/"out")
    assert report["documents"] == 2
    assert run_pipeline(tmp_path/"out", [EXACT, NEAR], tmp_path/"unique")["documents"] == 2


@pytest.mark.parametrize("twin", ["name", "names[i - 1]"])
def test_twins_in_a_circle_are_one_line(source, tmp_path, monkeypatch, twin):
    "A step of another program that drops every document for another one, which is dropped too: nothing waits for an end that never comes."
    (tmp_path/"round.py").write_text("from lmnb.dedup import Exact\nclass Round(Exact):\n    def reduce(self, rows):\n        names = [name for name, *_ in rows]\n"
                                     f"        return {{name: dict(fate='dropped', reason='round', twin={twin}) for i, name in enumerate(names)}}\n")
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("round", None)
    with pytest.raises(CorruptError, match="goes for it") as error: run_pipeline(source, [["round:Round", {}]], tmp_path/"out")
    assert "\n" not in str(error.value) and not (tmp_path/"out/manifest.json").exists()


def test_a_folder_that_names_itself_as_its_source_is_one_line(undisturbed, tmp_path):
    shutil.copytree(undisturbed, tmp_path/"theirs")
    manifest = read_json(tmp_path/"theirs/manifest.json")
    for shard in manifest["shards"]: shard["piece"] = {"form": "documents", "file": "documents-00000.jsonl", "start": 0, "end": 10, "bytes": 10}
    (tmp_path/"theirs/manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CorruptError, match="circle"): fate(tmp_path/"theirs", next(iter(search(tmp_path/"theirs", "word7"))).id)


def test_a_manifest_cannot_run_anything(undisturbed, tmp_path):
    "A folder from elsewhere names the steps of its run: only lmnb's own are called again."
    shutil.copytree(undisturbed, tmp_path/"theirs")
    manifest = read_json(tmp_path/"theirs/manifest.json")
    manifest["steps"][0] = ["os:mkdir", {"path": str(tmp_path/"made")}]
    (tmp_path/"theirs/manifest.json").write_text(json.dumps(manifest))
    id = next(iter(search(tmp_path/"theirs", "word7"))).id
    with pytest.raises(InputError, match="another program"): fate(tmp_path/"theirs", id)
    assert not (tmp_path/"made").exists()

# -- a folder is data ------------------------------------------------------------------------------------------------

@pytest.fixture
def stage(source, tmp_path):
    "A finished stage of three shards."
    run_pipeline(source, [CLEAN], tmp_path/"stage", shard_bytes=60_000)
    return tmp_path/"stage"


def test_every_flip_is_caught(stage, tmp_path):
    from lmnb.collect import load_dataset
    dice, caught = random.Random(0), 0
    files = [path for path in sorted(stage.iterdir()) if path.is_file() and path.name != "manifest.json" and path.stat().st_size]
    for turn in range(30):
        path = files[turn % len(files)]
        data = bytearray(path.read_bytes())
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        whole = path.read_bytes()
        path.write_bytes(data)
        with pytest.raises(CorruptError, match="is not what was written"): run_pipeline(stage, [], tmp_path/"next")
        if turn % 10 == 0:
            with pytest.raises(CorruptError, match="is not what was written"): load_dataset(stage)
        path.write_bytes(whole)
        caught += 1
    assert caught == 30 and not (tmp_path/"next").exists()
    assert run_pipeline(stage, [], tmp_path/"next")["documents"] == read_json(stage/"report.json")["documents"]


def test_a_flip_in_the_manifest_is_caught_or_changes_nothing(stage, tmp_path):
    good, dice = (stage/"manifest.json").read_bytes(), random.Random(1)
    right = files_of(run_pipeline(stage, [], tmp_path/"right") and tmp_path/"right")
    for turn in range(40):
        data = bytearray(good)
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        (stage/"manifest.json").write_bytes(data)
        shutil.rmtree(tmp_path/"next", ignore_errors=True)
        try: run_pipeline(stage, [], tmp_path/"next")
        except (CorruptError, InputError): continue
        assert {name: value for name, value in files_of(tmp_path/"next").items() if name != "manifest.json"} == {name: value for name, value in right.items() if name != "manifest.json"}


def changed(folder, edit):
    "A copy of a manifest that somebody has written to."
    manifest = read_json(folder/"manifest.json")
    edit(manifest)
    (folder/"manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("name", ["documents-/../../secret.jsonl", "../secret.jsonl", "/etc/hosts", "documents-00000.jsonl/../../secret.jsonl", "documents-00000.jsonl\0", "manifest.json"])
def test_a_manifest_names_only_files_of_its_folder(stage, tmp_path, name):
    secret = tmp_path/"secret.jsonl"
    secret.write_text('{"id": "x", "text": "a secret text of some words", "source": "s", "kind": "text", "meta": {}}\n')
    def edit(manifest): manifest["files"] = {name: {"sha256": hashlib.sha256(secret.read_bytes()).hexdigest(), "bytes": secret.stat().st_size}}; manifest["shards"] = manifest["shards"][:1]
    changed(stage, edit)
    for use in (lambda: run_pipeline(stage, [], tmp_path/"next"), lambda: search(stage, "secret"), lambda: fate(stage, "x"), lambda: documents_of_folder(stage)):
        with pytest.raises(CorruptError): use()


def documents_of_folder(folder):
    from lmnb.collect import load_dataset
    return load_dataset(folder)


def test_a_link_out_of_the_folder_is_refused(stage, tmp_path):
    first = stage/"documents-00000.jsonl"
    shutil.copy(first, tmp_path/"elsewhere.jsonl")
    first.unlink(); first.symlink_to(tmp_path/"elsewhere.jsonl")
    with pytest.raises(CorruptError, match="a link out of its folder"): run_pipeline(stage, [], tmp_path/"next")


FETCHING = [{"form": "source", "name": "http://127.0.0.1:{port}/inner", "bytes": 0, "web": {"allow_private": True}}, {"form": "source", "name": "HTTP://127.0.0.1:{port}/inner", "bytes": 0},
            {"form": "source", "name": "hf:inner/set", "bytes": 0}, {"form": "files", "files": ["{secret}"], "bytes": 9}, {"form": "documents", "file": "{secret}", "start": 0, "end": 99, "bytes": 99},
            {"form": "documents", "file": "../../../secret.jsonl", "start": 0, "end": 99, "bytes": 99}, {"form": "stdin", "file": "{secret}", "bytes": 9}, {"form": "files"}, {}, {"form": "documents"}]


@pytest.mark.parametrize("piece", FETCHING, ids=str)
def test_a_manifest_fetches_nothing_and_reads_nothing_outside(stage, tmp_path, monkeypatch, piece):
    import http.server, threading
    asked = []
    class Inner(http.server.BaseHTTPRequestHandler):
        def do_GET(self): asked.append(self.path); self.send_response(200); self.end_headers(); self.wfile.write(b"an inner secret")
        def log_message(self, *_): pass
    server = http.server.HTTPServer(("127.0.0.1", 0), Inner)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    secret = tmp_path/"secret.jsonl"
    secret.write_text("an inner secret")
    piece = json.loads(json.dumps(piece).replace("{port}", str(server.server_port)).replace("{secret}", secret.as_posix()))
    opened, plain = [], open
    monkeypatch.setattr("builtins.open", lambda file, *rest, **more: (opened.append(str(file)), plain(file, *rest, **more))[1])
    def edit(manifest):
        for shard in manifest["shards"]: shard.update(piece=piece, hash=None)
    changed(stage, edit)
    id = search(stage, "word7")[0].id
    with pytest.raises((InputError, CorruptError)) as error: fate(stage, id)
    server.shutdown(); server.server_close()
    assert "\n" not in str(error.value) and not asked and not any("secret" in name for name in opened)


@pytest.mark.parametrize("spec", [["lmnb.clean:steps_of", {"rules": [{"step": "decontaminate", "sources": ["http://127.0.0.1:9/x"]}]}], ["lmnb.clean:steps_of", {"rules": [{"step": "quality", "model": "/etc/hosts"}]}],
                                  ["lmnb.clean:step_of", {"spec": {"step": "decontaminate", "sources": ["/etc/hosts"]}}], ["lmnb.collect:read", {"source": "/etc/hosts"}], ["lmnb.pipeline:run_pipeline", {}]])
def test_a_manifest_names_no_step_that_reads(stage, monkeypatch, spec):
    monkeypatch.setattr("lmnb.clean.held_out_texts", None)
    monkeypatch.setattr("lmnb.clean.load_quality", None)
    changed(stage, lambda manifest: manifest["steps"].append(spec))
    with pytest.raises(InputError, match="cannot be shown"): fate(stage, search(stage, "word7")[0].id)


def test_a_stage_beside_it_is_followed_from_elsewhere(source, tmp_path, monkeypatch):
    run_pipeline(source, [], tmp_path/"a/collected", shard_bytes=60_000)
    run_pipeline(tmp_path/"a/collected", [CLEAN], tmp_path/"a/clean")
    shutil.copytree(tmp_path/"a", tmp_path/"moved")
    monkeypatch.setenv("LMNB_HOME", str(tmp_path/"another"))
    id = search(tmp_path/"moved/clean", "café")[0].id
    assert [row["stage"] for row in fate(tmp_path/"moved/clean", id)][:2] == ["collected", "clean"]


# -- ids that cannot be used, or have been used ------------------------------------------------------------------------

def rows(*pairs): return "".join(json.dumps({"id": id, "text": text, "source": "data.txt", "kind": "text", "meta": {}}) + "\n" for id, text in pairs)


def test_two_folders_may_hold_a_file_of_one_name(tmp_path):
    cases = Path(__file__).parent/"cases"/"28-same-ids"
    for form in ("jsonl", "folder", "both"):
        sources = [cases/"a.jsonl", cases/"b.jsonl"]
        if form == "folder":
            for name in ("d1", "d2"): shutil.copytree(cases/name, tmp_path/name/"in")
            sources = [run_pipeline(".", [], tmp_path/name/"out") and tmp_path/name/"out" for name in ("d1", "d2") if not os.chdir(tmp_path/name/"in")]
        if form == "both": sources += [cases/"a.jsonl"]
        report = run_pipeline(sources, [EXACT, NEAR], tmp_path/form)
        assert report["documents"] == 2 and report["removed"] == 0
        found = search(tmp_path/form)
        assert len({doc.id for doc in found}) == 2 and sum("was" in doc.meta for doc in found) == 1
        for doc in found: assert fate(tmp_path/form, doc.id)[-1]["after"] == doc.text
        tokenize_pipeline(tmp_path/form, tmp_path/f"{form}-ids", vocab_size=300)


def test_files_put_together_and_copies_count_every_document(tmp_path):
    (tmp_path/"ab.jsonl").write_text(rows(("1", "one text of some words"), ("2", "another good text here"), ("1", "a third text, with id one"), ("1", "one text of some words")))
    shutil.copy(tmp_path/"ab.jsonl", tmp_path/"copy.jsonl")
    report = run_pipeline(tmp_path/"ab.jsonl", [EXACT, NEAR], tmp_path/"one", shard_bytes=100)
    assert (report["documents"], report["removed"]) == (3, 1) and report["steps"][0]["entered"] == 4
    report = run_pipeline([tmp_path/"ab.jsonl", tmp_path/"copy.jsonl"], [EXACT, NEAR], tmp_path/"two", workers=2, shard_bytes=100)
    assert (report["documents"], report["removed"]) == (3, 5) and report["steps"][0]["entered"] == 8


@pytest.mark.parametrize("id", ["a\nb", "a\rb", "a\u2028b", "", 5, None, ["x"]])
def test_an_id_that_is_no_line_is_put_aside(tmp_path, id):
    (tmp_path/"docs.jsonl").write_text(rows(("good", "one text of some words"), (id, "another good text here"), ("fine", "a third text with its words")))
    for specs, name in (([], "a"), ([CLEAN], "b"), ([EXACT, NEAR], "c")):
        report = run_pipeline(tmp_path/"docs.jsonl", specs, tmp_path/name)
        assert report["documents"] == 2 and report["steps"][0]["quarantined"] == 1 and "is not one line of text" in next(iter(report["steps"][0]["reasons"]))
    report = tokenize_pipeline(tmp_path/"docs.jsonl", tmp_path/"ids", vocab_size=300)
    assert report["documents"] == 2 and report["steps"][0]["quarantined"] == 1


def test_lines_of_others_that_begin_with_an_id_are_read(tmp_path):
    (tmp_path/"theirs.jsonl").write_text('{"id": "7", "text": "some good text of several words", "label": "x"}\n{"id": "8", "text": "another good text of several words", "label": "y"}\n')
    assert run_pipeline(tmp_path/"theirs.jsonl", [], tmp_path/"out")["documents"] == 2
