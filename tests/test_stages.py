"""The data stages through the command line: one file as their result, what it may replace, how it goes on after a kill; reasons to the last digit, endings, exit codes."""
import io, json, os, random, re, signal, subprocess, sys, time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from lmnb import pipeline
from lmnb.clean import StepCount, report_of, run_steps, steps_of
from lmnb.cli import main, report_lines
from lmnb.collect import Document, read_documents, write_documents
from lmnb.core import UsageError, locked, read_json
from lmnb.pipeline import files_beside, is_one_file, run_into_file, write_parquet
from lmnb.tokenize import KINDS

MAIN = "from lmnb.cli import main; main()"


def lmnb(*arguments, cwd):
    "The command, in this process: (exit code, what it says, its errors)."
    words, workers = [str(word) for word in arguments], ["--workers", "1"]*(arguments[0] in ("collect", "clean", "dedup", "tokenize") and not {"--workers", "--help"} & set(arguments))
    before, argv, out, err = os.getcwd(), sys.argv, io.StringIO(), io.StringIO()
    os.chdir(cwd)
    sys.argv = ["lmnb", *words, *workers]
    try:
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end: main()
    finally:
        os.chdir(before)
        sys.argv = argv
    return end.value.code, out.getvalue(), err.getvalue()


def started(*arguments, cwd, code=MAIN, **options):
    "The command, in a process of its own."
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **options)


def texts(count, seed=0):
    "English and Chinese texts; some too short, some twice, some without letters, some with lost characters."
    dice, found = random.Random(seed), []
    for i in range(count):
        words = [f"word{dice.randrange(900)}" if i % 3 else chr(0x4e00 + dice.randrange(900)) for _ in range(dice.randrange(20, 160))]
        text = (" " if i % 3 else "").join(words)
        if i % 10 == 4: text = dice.choice(found)
        if i % 20 == 7: text = "12 | 34 | 56 | 78"
        if i % 20 == 13: text = " ".join(words[:dice.randrange(1, 4)])
        if i % 25 == 9: text += " ���"
        found.append(text)
    return found


def corpus(path, count, seed=0):
    write_documents(path, (Document.of(text, source=f"site{i % 3}/page", position=i) for i, text in enumerate(texts(count, seed))))
    return path


@pytest.fixture
def work(tmp_path):
    corpus(tmp_path/"docs.jsonl", 200)
    return tmp_path


def bytes_of(folder, pattern="*"):
    return {path.name: path.read_bytes() for path in sorted(folder.glob(pattern)) if path.is_file()}


def counted(report, entered):
    "Every document of the input is accounted for, step by step and in the reasons."
    assert report["steps"][0]["entered"] == entered == report["documents"] + report["removed"]
    for before, row in zip([None, *report["steps"]], report["steps"]):
        assert row["entered"] == row["kept"] + row["dropped"] + row["quarantined"] and sum(row["reasons"].values()) == row["dropped"] + row["quarantined"]
        if before: assert row["entered"] == before["kept"]


# -- one file --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("stage", ["collect", "clean", "dedup"])
def test_one_file_holds_what_a_folder_holds(work, stage):
    for out in ("folder", "one.jsonl"):
        code, _, err = lmnb(stage, "docs.jsonl", "--out", out, "--shard-mb", .02, cwd=work)
        assert code == 0, err
    for name, place in files_beside(work/"one.jsonl").items():
        whole = b"".join(path.read_bytes() for path in sorted((work/"folder").glob(f"{name}-*")))
        if name != "report": assert (place.read_bytes() if place.exists() else b"") == whole
    report, other = read_json(work/"one.report.json"), read_json(work/"folder/report.json")
    assert report.pop("result") and report == other
    counted(report, 200)
    assert len(list(read_documents(work/"one.jsonl"))) == report["documents"]
    removed = work/"one.removed.jsonl"
    assert (len(removed.read_text().splitlines()) if removed.exists() else 0) == report["removed"]
    assert not list(work.glob(".*"))


def killed(command, cwd, hidden, receipts):
    "Run a stage until so many pieces of its work are done, and kill it -> {shard that has its receipt: when it was written}."
    process = started(*command, cwd=cwd)
    while len(list((hidden/".work").glob("[0-9]*-*.json"))) < receipts and process.poll() is None: time.sleep(.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL, process.stderr.read()
    process.stderr.close()
    shards = [hidden/f"documents-{path.stem.split('-')[1]}.jsonl" for path in (hidden/".work").glob("[0-9]*-*.json")]
    return {path.name: path.stat().st_mtime_ns for path in shards}


@pytest.mark.parametrize("out,workers", [("x.jsonl", 1), ("x.parquet", 2)])
def test_a_killed_stage_with_one_file_goes_on_where_it_was(tmp_path, out, workers):
    corpus(tmp_path/"docs.jsonl", 900)
    command = ["clean", "docs.jsonl", "--shard-mb", .01, "--workers", workers, "--out"]
    hidden = tmp_path/".x.lmnb"
    first = killed([*command, out], tmp_path, hidden, 6)
    assert len(first) >= 6 and {path.name for path in tmp_path.iterdir()} == {"docs.jsonl", ".x.lmnb"}        # nothing claims to be a result
    second = killed([*command, out], tmp_path, hidden, 14)
    assert len(second) >= 14 and all(second[name] == when for name, when in first.items())                    # not made again
    code, _, err = lmnb(*command, out, cwd=tmp_path)
    assert code == 0, err
    assert {path.name for path in tmp_path.iterdir()} == {"docs.jsonl", out, "x.removed.jsonl", "x.report.json"}
    assert lmnb(*command, f"calm{Path(out).suffix}", cwd=tmp_path)[0] == 0
    for name in ("documents", "removed"): assert files_beside(tmp_path/out)[name].read_bytes() == files_beside(tmp_path/f"calm{Path(out).suffix}")[name].read_bytes()
    counted(read_json(tmp_path/"x.report.json"), 900)


def test_after_a_kill_another_input_begins_anew(tmp_path):
    corpus(tmp_path/"docs.jsonl", 800)
    corpus(tmp_path/"other.jsonl", 150, seed=1)
    assert killed(["clean", "docs.jsonl", "--shard-mb", .01, "--workers", 1, "--out", "x.jsonl"], tmp_path, tmp_path/".x.lmnb", 5)
    for out in ("x.jsonl", "calm.jsonl"): assert lmnb("clean", "other.jsonl", "--shard-mb", .01, "--out", out, cwd=tmp_path)[0] == 0
    assert (tmp_path/"x.jsonl").read_bytes() == (tmp_path/"calm.jsonl").read_bytes() and not (tmp_path/".x.lmnb").exists()
    counted(read_json(tmp_path/"x.report.json"), 150)


KILLER = """
import os, signal, sys
real, last = os.replace, sys.argv.pop()
def replace(source, target):
    if str(target).endswith(last): os.kill(os.getpid(), signal.SIGKILL)
    return real(source, target)
os.replace = replace
""" + MAIN


@pytest.mark.parametrize("last", ["x.removed.jsonl", "x.jsonl", "x.report.json", ".work/result.json"])
def test_killed_while_the_files_take_their_places(work, last):
    "Half of an old result and half of a new one are still lmnb's own, and the same command puts them right."
    corpus(work/"other.jsonl", 90, seed=3)
    assert lmnb("clean", "other.jsonl", "--out", "x.jsonl", cwd=work)[0] == 0
    assert started("clean", "docs.jsonl", "--out", "x.jsonl", "--workers", 1, last, cwd=work, code=KILLER).wait(120) == -signal.SIGKILL
    assert (work/".x.lmnb").is_dir()
    corpus(work/"third.jsonl", 120, seed=4)                        # and once more, on the way to a third one
    assert started("clean", "third.jsonl", "--out", "x.jsonl", "--workers", 1, last, cwd=work, code=KILLER).wait(120) == -signal.SIGKILL
    for out in ("x.jsonl", "calm.jsonl"):
        code, _, err = lmnb("clean", "docs.jsonl", "--out", out, cwd=work)
        assert code == 0, err
    assert bytes_of(work, "x.*") == {name.replace("calm", "x"): data.replace(b"calm.", b"x.") if "report" not in name else bytes_of(work, "x.report.json")[name.replace("calm", "x")] for name, data in bytes_of(work, "calm.*").items()}
    counted(read_json(work/"x.report.json"), 200)
    assert not list(work.glob(".*"))


def test_sigterm_keeps_the_work_and_says_so(tmp_path):
    corpus(tmp_path/"docs.jsonl", 1000)
    process = started("clean", "docs.jsonl", "--workers", 1, "--shard-mb", .01, "--out", "x.jsonl", cwd=tmp_path)
    while len(list((tmp_path/".x.lmnb/.work").glob("[0-9]*-*.json"))) < 3 and process.poll() is None: time.sleep(.002)
    process.terminate()
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 75 and "the same command goes on from there" in error, error
    assert (tmp_path/".x.lmnb/documents-00000.jsonl").is_file() and not (tmp_path/"x.jsonl").exists()
    assert lmnb("clean", "docs.jsonl", "--shard-mb", .01, "--out", "x.jsonl", cwd=tmp_path)[0] == 0 and not (tmp_path/".x.lmnb").exists()


def test_the_same_command_again_changes_nothing(work):
    assert lmnb("clean", "docs.jsonl", "--out", "x.jsonl", cwd=work)[0] == 0
    before = {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in work.iterdir()}
    code, said, err = lmnb("clean", "docs.jsonl", "--out", "x.jsonl", cwd=work)
    assert code == 0 and "documents, " in said and "-> x.jsonl" in said, err
    assert {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in work.iterdir()} == before
    assert lmnb("clean", "docs.jsonl", "--pii", "mask", "--out", "x.jsonl", cwd=work)[0] == 0             # other steps replace what is lmnb's own
    assert (work/"x.jsonl").stat().st_ino != before["x.jsonl"][1] and "mask_personal" in (work/"x.report.json").read_text()
    (work/"x.jsonl").unlink()                                                                                 # and what the reader threw away is made again
    assert lmnb("clean", "docs.jsonl", "--pii", "mask", "--out", "x.jsonl", cwd=work)[0] == 0 and (work/"x.jsonl").is_file()


def test_a_result_with_nothing_removed_takes_the_old_removed_ones_away(work):
    write_documents(work/"good.jsonl", [Document.of("Four words stand here, and some more.")])
    assert lmnb("clean", "docs.jsonl", "--out", "x.jsonl", cwd=work)[0] == 0 and (work/"x.removed.jsonl").is_file()
    assert lmnb("clean", "good.jsonl", "--out", "x.jsonl", cwd=work)[0] == 0 and not (work/"x.removed.jsonl").exists()


def test_two_forms_beside_each_other_know_whose_they_are(work):
    corpus(work/"other.jsonl", 90, seed=3)
    for source, out in [("docs.jsonl", "x.jsonl"), ("other.jsonl", "x.parquet"), ("docs.jsonl", "x.jsonl"), ("other.jsonl", "x.jsonl"), ("docs.jsonl", "x.parquet"), ("docs.jsonl", "x.jsonl")]:
        code, _, err = lmnb("clean", source, "--out", out, cwd=work)
        assert code == 0, err
        counted(read_json(work/"x.report.json"), 200 if source == "docs.jsonl" else 90)
        if out.endswith("l"): assert len(list(read_documents(work/out))) == read_json(work/"x.report.json")["documents"]


FOREIGN = {
    "a file that was there": lambda work: (work/"x.jsonl").write_text('{"text": "mine"}\n'),
    "an empty file": lambda work: (work/"x.jsonl").touch(),
    "removed documents of somebody": lambda work: (work/"x.removed.jsonl").write_text("mine\n"),
    "a report of somebody": lambda work: (work/"x.report.json").write_text('{"documents": 3}'),
    "a report that is no JSON": lambda work: (work/"x.report.json").write_bytes(b"\xff"),
    "a folder in the report's place": lambda work: (work/"x.report.json").mkdir(),
    "a line that was added": lambda work: (made(work), (work/"x.jsonl").open("a").write("{}\n")),
    "a removed document that was taken out": lambda work: (made(work), (work/"x.removed.jsonl").write_text("")),
    "a report that was changed": lambda work: (made(work), (work/"x.report.json").write_text((work/"x.report.json").read_text().replace('"documents": ', '"documents": 1'))),
    "a result without its report": lambda work: (made(work), (work/"x.report.json").unlink()),
    "a report of another file": lambda work: (made(work), os.replace(work/"x.report.json", work/"y.report.json"), (work/"x.report.json").write_text(json.dumps(read_json(work/"y.report.json") | {"result": {"key": "", "files": {}, "seal": ""}}))),
}


def made(work): assert lmnb("clean", "docs.jsonl", "--out", "x.jsonl", cwd=work)[0] == 0


@pytest.mark.parametrize("case", FOREIGN)
def test_what_lmnb_did_not_write_is_never_overwritten(work, case):
    FOREIGN[case](work)
    before, names = bytes_of(work), {path.name for path in work.iterdir()}
    code, said, err = lmnb("clean", "docs.jsonl", "--pii", "mask", "--out", "x.jsonl", cwd=work)
    assert code == 2 and not said and len(err.strip().splitlines()) == 1 and "move it away, or name another file with --out" in err, err
    assert bytes_of(work) == before and {path.name for path in work.iterdir()} == names
    assert lmnb("clean", "docs.jsonl", "--out", "other.jsonl", cwd=work)[0] == 0                                # the way that the line names


def test_what_the_reader_writes_meanwhile_stays(work, monkeypatch):
    "Between the first look and the end of the work."
    real = pipeline._run
    monkeypatch.setattr(pipeline, "_run", lambda *facts: ((work/"x.jsonl").write_text("mine"), real(*facts))[1])
    with pytest.raises(UsageError, match="x.jsonl was not written by this command"): run_into_file(work/"docs.jsonl", [], work/"x.jsonl")
    assert (work/"x.jsonl").read_text() == "mine" and not (work/"x.report.json").exists()


@pytest.mark.parametrize("command", [["clean", "x.jsonl", "--out", "x.jsonl"], ["dedup", "docs.jsonl", "x.jsonl", "--out", "x.parquet"], ["collect", "x.removed.jsonl", "--out", "x.jsonl"]])
def test_a_result_is_not_what_is_read(work, command):
    made(work)
    before = bytes_of(work)
    code, _, err = lmnb(*command, cwd=work)
    if command[0] == "dedup": assert code == 0, err                  # another file: only the report beside it is shared
    else: assert code == 2 and len(err.strip().splitlines()) == 1 and "is what is read" in err and bytes_of(work) == before, err


def test_a_result_inside_the_folder_that_is_read_is_not_read(tmp_path):
    for i in range(3): (tmp_path/f"{i}.txt").write_text(f"A good text with the number {i} in it.")
    for _ in range(2):
        code, said, err = lmnb("collect", ".", "--out", "documents.jsonl", cwd=tmp_path)
        assert code == 0 and "3 documents, 0 removed" in said, err
    for i in range(3): (tmp_path/f"{i}.txt").unlink()
    code, _, err = lmnb("collect", ".", "--out", "documents.jsonl", cwd=tmp_path)
    assert code == 3 and "holds nothing but the result itself" in err and len((tmp_path/"documents.jsonl").read_text().splitlines()) == 3


def test_a_second_writer_of_a_file_is_told(work):
    with locked(work/".x.lmnb"):
        code, _, err = lmnb("clean", "docs.jsonl", "--out", "x.jsonl", cwd=work)
    assert code == 2 and len(err.strip().splitlines()) == 1 and f"x.jsonl is being written by process {os.getpid()}" in err, err
    assert lmnb("clean", "docs.jsonl", "--out", "x.jsonl", cwd=work)[0] == 0


def test_a_hidden_folder_of_somebody_else_is_left_alone(work):
    (work/".x.lmnb").mkdir()
    (work/".x.lmnb/mine").write_text("mine")
    code, _, err = lmnb("clean", "docs.jsonl", "--out", "x.jsonl", cwd=work)
    assert code == 2 and "holds other things" in err and (work/".x.lmnb/mine").read_text() == "mine" and not (work/"x.jsonl").exists()


def test_leftovers_of_killed_runs_are_swept(work):
    "Temporary files in the hidden folder, and folders of a version that began anew each time; not what only looks like one."
    (work/".x.lmnb/.work").mkdir(parents=True)
    for name in (".documents-00000.jsonl.abcdefgh", ".work/.00-00000.json.abcdefgh"): (work/".x.lmnb"/name).write_text("half")
    (work/".x.a1b2c3d4/run/.work").mkdir(parents=True)
    (work/".x.mine4567").mkdir()
    assert lmnb("clean", "docs.jsonl", "--out", "x.jsonl", cwd=work)[0] == 0
    assert [path.name for path in work.glob(".*")] == [".x.mine4567"]


def test_a_refusal_leaves_nothing_behind(work):
    (work/"bad.jsonl").write_bytes((work/"docs.jsonl").read_bytes()[:9000] + b'{"id": \n')
    code, _, err = lmnb("clean", "bad.jsonl", "--out", "x.jsonl", cwd=work)
    assert code == 4 and "bad.jsonl is damaged at byte" in err and not list(work.glob("x*")) and not list(work.glob(".x*"))
    code, _, err = lmnb("clean", "nowhere", "--out", "x.jsonl", cwd=work)
    assert code == 3 and not list(work.glob(".x*"))


def test_standard_input_becomes_one_file(tmp_path):
    for _ in range(2):
        process = started("clean", "-", "--out", "x.jsonl", "--workers", 1, cwd=tmp_path, stdin=subprocess.PIPE)
        err = process.communicate("A good text of some words.\n\nshort\n", timeout=120)[1]
        assert process.returncode == 0, err
    assert [doc.source for doc in read_documents(tmp_path/"x.jsonl")] == ["stdin"] and not list(tmp_path.glob(".*"))


def test_half_characters_hurt_no_report_and_no_table(tmp_path):
    import pyarrow.parquet
    write_documents(tmp_path/"docs.jsonl", [Document.of("half \ud800 of it", source="s\udcff/page"), Document.of("half \ud800 of it", source="s\udcff/page", position=1)])
    for stage in ("collect", "dedup"):
        for out in ("x.parquet", "x.jsonl"):
            code, _, err = lmnb(stage, "docs.jsonl", "--out", out, cwd=tmp_path)
            assert code == 0, err
        counted(read_json(tmp_path/"x.report.json"), 2)
    assert pyarrow.parquet.read_table(tmp_path/"x.parquet").to_pylist()[0]["text"] == "half ? of it"


def test_a_table_is_written_in_bounded_groups(tmp_path, monkeypatch):
    import pyarrow.parquet
    monkeypatch.setattr(pipeline, "GROUP", 20_000)
    sizes = [corpus(tmp_path/f"{i}.jsonl", 400, seed=i).stat().st_size for i in range(2)]
    write_parquet(tmp_path/"x.parquet", [tmp_path/"0.jsonl", tmp_path/"1.jsonl"])
    table = pyarrow.parquet.ParquetFile(tmp_path/"x.parquet")
    groups = [table.metadata.row_group(i).total_byte_size for i in range(table.num_row_groups)]
    assert len(groups) == -(-sum(sizes)//20_000) or len(groups) >= sum(sizes)//25_000
    assert max(groups) < 25_000 and table.read().column("text").to_pylist() == texts(400, 0) + texts(400, 1)


# -- endings ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["result.csv", "result.CSV", "result.tsv", "result.json", "result.txt", "result.jsonl.gz", "result.xlsx", "result.zip", "a/b/result.md", "result.ndjson", "result.arrow"])
@pytest.mark.parametrize("stage", ["collect", "clean", "dedup", "tokenize"])
def test_an_ending_that_cannot_be_written_is_refused_before_any_work(tmp_path, stage, name):
    with pytest.raises(UsageError) as error: is_one_file(name, forms=() if stage == "tokenize" else (".jsonl", ".parquet"))
    assert Path(name).suffix in str(error.value) and ("a folder" in str(error.value)) and (".jsonl or .parquet" in str(error.value)) == (stage != "tokenize")


@pytest.mark.parametrize("stage,name", [("collect", "result.csv"), ("clean", "result.csv"), ("dedup", "result.txt"), ("tokenize", "ids.jsonl"), ("tokenize", "ids.bin")])
def test_the_command_refuses_an_ending_in_one_line(tmp_path, stage, name):
    code, said, err = lmnb(stage, "http://127.0.0.1:9/never", "--out", name, cwd=tmp_path)
    assert code == 2 and not said and len(err.strip().splitlines()) == 1 and "a folder" in err and not list(tmp_path.iterdir()), err
    assert (".jsonl or .parquet" in err) == (stage != "tokenize")


def test_a_folder_may_have_a_point_in_its_name(work):
    (work/"old.csv").mkdir()
    for name in ("corpus.v2", "2024.01", "old.csv"):
        code, _, err = lmnb("clean", "docs.jsonl", "--out", name, cwd=work)
        assert code == 0 and (work/name/"manifest.json").is_file(), err
    (work/"notes").write_text("mine")
    code, _, err = lmnb("clean", "docs.jsonl", "--out", "notes", cwd=work)
    assert code == 2 and "notes: it is a file" in err and (work/"notes").read_text() == "mine"
    assert lmnb("clean", "docs.jsonl", "--out", "BIG.JSONL", cwd=work)[0] == 0 and (work/"BIG.JSONL").is_file()


def test_the_help_names_every_kind_of_tokenizer(tmp_path):
    for command, option in (("train", "--tokenizer"), ("tokenize", "--tokenizer"), ("tokenize", "--kind")):
        code, said, _ = lmnb(command, "--help", cwd=tmp_path)
        help = next(part for part in re.split(r"\n  (?=--)", said) if part.startswith(f"{option} "))
        assert code == 0 and all(re.search(rf"\b{kind}\b", help) for kind in KINDS), help


# -- reasons ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("reasons,told", [
    (["too short: 3 of 10 units"], "too short: 3 of 10 units"),
    (["too short: 3 of 10 units", "too short: 9 of 10 units", "too short: 1 of 10 units"], "too short: 1–9 of 10 units"),
    (["letters in 12% of units", "letters in 9% of units"], "letters in 9–12% of units"),
    (["near duplicate (0.83)", "near duplicate (0.80)", "near duplicate (0.98)"], "near duplicate (0.80–0.98)"),
    (["more than 1,000 bytes", "more than 33,554,432 bytes", "more than 900 bytes"], "more than 900–33,554,432 bytes"),
    (["10.0.0.1 is refused: 10.0.0.1 is not public"], "10.0.0.1 is refused: 10.0.0.1 is not public"),
    (["10.0.0.1 is refused", "10.0.0.9 is refused"], "… is refused"),
    (["its id 'a17' is odd", "its id 'a3' is odd"], "its id 'a…' is odd"),
    (["part2/f1.txt has no text", "part2/f20.txt has no text"], "part2/f….txt has no text"),
    (["line 7 of 1–3", "line 9 of 2"], "line 7–9 of 1–3"),
    (["# of lines", "# of lines"], "# of lines"),
])
def test_reasons_that_differ_in_numbers_are_one_line_with_their_range(reasons, told):
    for order in (reasons, reasons[::-1], [*reasons[1:], reasons[0]]):
        count = StepCount("step")
        for reason in order: count.note(reason, 1, reason)
        assert count.reasons == {told: len(reasons)} and count.samples == {told: order[0]}
        parts = [StepCount("step") for _ in order]                       # each in a shard of its own, through JSON
        for part, reason in zip(parts, order): part.note(reason, 1, reason)
        rows = [report_of(json.loads(json.dumps({"steps": [{"step": part.step, "reasons": dict(part.reasons), "samples": part.samples}]}))) for part in parts]
        for row in rows[1:]: rows[0].merge(row)
        assert rows[0].steps[0].reasons == {told: len(reasons)} and rows[0].steps[0].samples == {told: order[0]}


def test_reasons_add_up_however_the_corpus_is_cut():
    docs = [Document.of(text, position=i) for i, text in enumerate(texts(600))]
    whole = run_steps(steps_of("gopher"), docs)[1].to_dict()
    dice = random.Random(0)
    for _ in range(3):
        cuts = sorted(dice.sample(range(1, 600), 4))
        parts = [report_of(run_steps(steps_of("gopher"), docs[a:b])[1].to_dict()) for a, b in zip([0, *cuts], [*cuts, 600])]
        for part in parts[1:]: parts[0].merge(part)
        assert parts[0].to_dict() == whole
    assert any("–" in reason for row in whole["steps"] for reason in row["reasons"]) and not any("#" in reason for row in whole["steps"] for reason in row["reasons"])


def test_a_document_keeps_its_own_reason_and_the_limit_stands_in_the_report(tmp_path):
    (tmp_path/"notes").mkdir()
    for i, text in enumerate(["three short words", "one", "A text with enough words in it stays here."]): (tmp_path/f"notes/{i}.txt").write_text(text)
    code, said, err = lmnb("clean", "notes", "--out", "x.jsonl", cwd=tmp_path)
    assert code == 0 and "too short: 1–3 of 4 units (2)" in said, err
    assert [json.loads(line)["meta"]["reason"] for line in (tmp_path/"x.removed.jsonl").open()] == ["too short: 3 of 4 units", "too short: 1 of 4 units"]
    assert [row["reasons"] for row in read_json(tmp_path/"x.report.json")["steps"] if row["reasons"]] == [{"too short: 1–3 of 4 units": 2}]


def test_no_reason_is_cut(tmp_path):
    long = "this reason is much longer than seventy characters, and its end is what says how the reader can go on: --allow-private"
    count = StepCount("step", entered=5, kept=2, dropped=3)
    for i in range(3): count.note(long if i else f"another one of {i} words, which also has an end", 1, "")
    report = report_of({"steps": [vars(count)]})
    wide = report_lines(report)
    assert len(wide) == 2 and wide[1].endswith(f"{long} (2); another one of 0 words, which also has an end (1)")
    narrow = report_lines(report, 100)
    assert max(map(len, narrow)) <= 100 and len(narrow) > 4
    assert " ".join(" ".join(line[66:] for line in narrow[1:]).split()).endswith(f"{long} (2); another one of 0 words, which also has an end (1)")


# -- exit codes ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("out", ["folder", "x.jsonl", "x.parquet"])
@pytest.mark.parametrize("address", ["http://10.0.0.1/page", "http://127.0.0.1:9/", "http://[::1]/page"])
def test_a_refused_address_ends_with_4(tmp_path, out, address):
    code, said, err = lmnb("collect", address, "--out", out, cwd=tmp_path)
    assert code == 4 and len(err.strip().splitlines()) == 1 and "is not a public address" in err and "--allow-private" in err, err
    assert re.search(r"10\.0\.0\.1|127\.0\.0\.1|::1", err) and not list(tmp_path.glob("x*"))
    if out == "folder": counted(read_json(tmp_path/"folder/report.json"), 1)


def test_a_refused_address_does_not_stop_the_rest(work):
    code, said, err = lmnb("collect", "http://10.0.0.1/page", "docs.jsonl", "--out", "x.jsonl", "--json", cwd=work)
    report = json.loads(said)
    assert code == 0 and report["documents"] == 200 and report["steps"][0]["quarantined"] == 1 and "10.0.0.1 is refused" in next(iter(report["steps"][0]["reasons"])), err
    counted({**report}, 201)


def test_nothing_left_is_an_error_for_machines_too(tmp_path):
    (tmp_path/"a.txt").write_text("one")
    for out in ("folder", "x.jsonl"):
        code, said, err = lmnb("clean", "a.txt", "--out", out, "--json", cwd=tmp_path)
        assert code == 3 and "too short: 1 of 4 units" in err and len(err.strip().splitlines()) == 1, err
    assert read_json(tmp_path/"folder/report.json")["documents"] == 0
