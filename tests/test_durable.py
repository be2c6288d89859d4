"""Work is never lost: killed at any moment, a run goes on as if nothing had happened; what is damaged is refused; a full disk harms nothing."""
import ctypes, errno, json, multiprocessing, os, random, resource, shutil, signal, subprocess, sys, time
from collections import namedtuple
from pathlib import Path

import psutil
import pytest
import torch

import lmnb.checkpoint
import lmnb.train
from lmnb.batch import buckets
from lmnb.checkpoint import Config, TaskConfig, load_checkpoint, open_checkpoint, pointed, save_checkpoint, saved_steps, verify
from lmnb.core import CorruptError, InputError, Interrupted, LmnbError, UsageError, sha256_file
from lmnb.models.heads import build_model
from lmnb.models.zoo import preset
from lmnb.task import task_of
from lmnb.tokenize import Tokenizer
from lmnb.train import Recipe, Run, STATE, go_back, memory_kept, read_metrics, train

TEXT = [{"text": "the cat sat on the mat, and the dog sat on the log; 猫坐在垫子上,狗坐在木头上。 "*60}]
LABELLED = [{"text": f"{word} {'fine' if good else 'bad'} day"*(1 + number % 3), "label": "good" if good else "bad"} for number, word in enumerate("abcdefghijklmnopq") for good in (0, 1)]
TALK = [{"user": f"hello {word}"*(1 + number % 2), "answer": f"hi {word}!"} for number, word in enumerate("abcdefghijklmnopqrstu")]
TOKENIZER = Tokenizer.train("char", [TEXT[0]["text"], *(row["text"] for row in LABELLED), *(row["user"] + row["answer"] for row in TALK)])
Case = namedtuple("Case", "config rows dev")


def case_of(architecture, **task):
    "A tiny model with dropout: a recurrent language model that carries its state, a classifier, or (the Transformer) a chat with noisy prompts."
    name = task.pop("name", {"rnn": "classify", "transformer": "chat"}.get(architecture, "lm"))
    fields = {"length": 24, "labels": ["bad", "good"] if name == "classify" else [], "carry": name == "lm" and architecture != "transformer"}
    task = TaskConfig(name=name, **fields | task)
    model = preset(f"{architecture}-tiny", task=name, vocab_size=TOKENIZER.vocab_size, dropout=0.2)
    rows = {"lm": TEXT, "classify": LABELLED, "chat": TALK}[name]
    return Case(Config(task=task, model=model), rows, [{"text": TEXT[0]["text"][:200]}] if name == "lm" else rows[:8])


def run_of(folder, case, recipe): return Run(folder, case.config, TOKENIZER, case.rows, case.dev, recipe)


def train_case(folder, case, recipe, **options):
    return train(folder, case.config, TOKENIZER, case.rows, case.dev, recipe, **options)


def outcome(folder, steps):
    "What must be the same: the last weights, and every line of the log but for the seconds."
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(folder)]
    return sha256_file(Path(folder)/"checkpoints"/f"step-{steps}"/"model.safetensors"), rows


def hidden(folder): return [path.name for path in Path(folder).rglob(".*")]


class Stopped(Exception): pass


# -- stopped and resumed ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("architecture, name, optimizer, workers", [
    ("rnn", "lm", "adamw", 0), ("gru", "lm", "sgd", 2), ("lstm", "lm", "adamw", 2), ("lstm", "classify", "adamw", 1),
    ("transformer", "lm", "adamw", 0), ("transformer", "chat", "muon", 2), ("mingru", "lm", "muon", 0), ("bag", "lm", "adamw", 0)])
def test_resumed_is_uninterrupted(architecture, name, optimizer, workers, tmp_path):
    "Bit for bit, with dropout, momentum, a carried state, and batches prepared by threads."
    case, recipe = case_of(architecture, name=name), Recipe(steps=12, batch=4, rate=0.01, optimizer=optimizer, scores=3, workers=workers)
    def stop(facts):
        if facts["step"] == 8: raise Stopped
    train_case(tmp_path/"whole", case, recipe.model_copy(update={"workers": 0}))
    with pytest.raises(Stopped): train_case(tmp_path/"parts", case, recipe, on_step=stop)
    train_case(tmp_path/"parts", case, recipe, resume=True)
    assert outcome(tmp_path/"whole", 12) == outcome(tmp_path/"parts", 12) and len(read_metrics(tmp_path/"parts")) == 3


def test_a_run_that_dies_while_it_scores_scores_again(tmp_path):
    "The line of the log, and which checkpoint is the best, are those of the undisturbed run."
    case, recipe = case_of("gru"), Recipe(steps=9, batch=4, rate=0.01, scores=3)
    train_case(tmp_path/"whole", case, recipe)
    for at in (3, 6, 9):
        run = run_of(tmp_path/"parts", case, recipe)
        go_back(run)
        run.log = lambda **_: (_ for _ in ()).throw(Stopped)                 # after the save and the score, before the line
        if run.due: del run.log; run.look(); run.log = lambda **_: (_ for _ in ()).throw(Stopped)
        with pytest.raises(Stopped): run.go()
        assert run.step == at
    train_case(tmp_path/"parts", case, recipe, resume=True)
    assert outcome(tmp_path/"whole", 9) == outcome(tmp_path/"parts", 9)
    assert pointed(tmp_path/"whole").name == pointed(tmp_path/"parts").name


def test_saving_between_scores(tmp_path):
    case = case_of("bag")
    run = run_of(tmp_path, case, Recipe(steps=9, batch=4, scores=1, save_minutes=0))
    run.go()
    assert saved_steps(tmp_path) == [9, 8] and len(read_metrics(tmp_path)) == 1
    run = run_of(tmp_path/"other", case, Recipe(steps=9, batch=4, scores=1))
    run.go()
    assert saved_steps(tmp_path/"other") == [9]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_leaves(number, tmp_path):
    case, recipe = case_of("lstm"), Recipe(steps=12, batch=4, rate=0.01, scores=3, workers=2)
    train_case(tmp_path/"whole", case, recipe)
    for step in (2, 4, 7):                                                   # 4: where a score is due
        run = run_of(tmp_path/"parts", case, recipe)
        go_back(run)
        advance = run.advance
        def asked(advance=advance, run=run, step=step):
            loss = advance()
            if run.step == step: os.kill(os.getpid(), number)
            return loss
        run.advance = asked
        with pytest.raises(Interrupted, match="everything is saved") as error: run.go()
        assert error.value.exit_code == 75 and load_checkpoint(pointed(tmp_path/"parts", "last")).path.name == f"step-{step}"
    train_case(tmp_path/"parts", case, recipe, resume=True)
    assert outcome(tmp_path/"whole", 12) == outcome(tmp_path/"parts", 12)


def test_another_model_or_other_data_is_refused(tmp_path):
    recipe = Recipe(steps=2, batch=4, scores=1)
    train_case(tmp_path/"run", case_of("gru"), recipe)
    with pytest.raises(UsageError, match="model.architecture = 'gru', not 'lstm'"): train_case(tmp_path/"run", case_of("lstm"), recipe, resume=True)
    with pytest.raises(UsageError, match="task.length = 24, not 25"): train_case(tmp_path/"run", case_of("gru", length=25), recipe, resume=True)
    other = case_of("gru")
    other.config.data["hash"] = "other"
    with pytest.raises(UsageError, match="other data"): train_case(tmp_path/"run", other, recipe, resume=True)
    for name, value in (("optimizer", "sgd"), ("precision", "fp16"), ("batch", 5)):          # the saved state would mean something else
        with pytest.raises(UsageError, match=name): train_case(tmp_path/"run", case_of("gru"), recipe.model_copy(update={name: value}), resume=True)
    letters = "".join(TOKENIZER.decode([i]) for i in range(8, TOKENIZER.vocab_size))
    case, another = case_of("gru"), Tokenizer.train("char", [letters + letters[-1]])         # the same size, in another order
    assert another.vocab_size == TOKENIZER.vocab_size
    with pytest.raises(UsageError, match="another tokenizer"): train(tmp_path/"run", case.config, another, case.rows, case.dev, recipe, resume=True)
    train_case(tmp_path/"run", case, recipe.model_copy(update=dict(steps=4, accumulate=2)), resume=True)


def test_more_parts_may_be_asked_for_and_fewer_are_not_taken(tmp_path):
    case = case_of("gru")
    train_case(tmp_path/"run", case, Recipe(steps=2, batch=4, scores=1, accumulate=2))
    for asked, found in ((4, 4), (1, 2)):
        run = run_of(tmp_path/"run", case, Recipe(steps=4, batch=4, scores=1, accumulate=asked))
        go_back(run)
        assert run.parts == found


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="only glibc can be told to keep memory")
def test_memory_is_kept_while_a_training_lasts_and_then_given_back():
    held, size = psutil.Process().memory_info, 2**28
    def used():
        "What the process holds more, after a large tensor came and went."
        before = held().rss
        torch.ones(size, dtype=torch.uint8)
        return held().rss - before
    assert used() < size/2
    with memory_kept():
        assert used() > size/2
        kept = held().rss
    assert held().rss < kept - size/2 and used() < size/2


def test_halved_parts_stay_halved(tmp_path):
    "Where memory was short before, a resumed run computes in the same parts: the sums are rounded the same way."
    case, recipe = case_of("lstm"), Recipe(steps=4, batch=8, scores=2)
    run = run_of(tmp_path, case, recipe)
    run.parts = 4
    run.advance(); run.keep()
    again = run_of(tmp_path, case, recipe)
    go_back(again)
    assert again.parts == 4


# -- damage ----------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    "A run with three checkpoints: steps 8, 10 and 12."
    folder = tmp_path_factory.mktemp("finished")/"run"
    train_case(folder, case_of("gru"), Recipe(steps=12, batch=4, scores=6, rate=0.01, save_minutes=0))
    return folder


@pytest.fixture
def copy(finished, tmp_path): return Path(shutil.copytree(finished, tmp_path/"run"))


def resumed(folder, steps=12):
    run = run_of(folder, case_of("gru"), Recipe(steps=steps, batch=4, scores=6, rate=0.01))
    go_back(run)
    return run


@pytest.mark.parametrize("part", ["", ".state"])
@pytest.mark.parametrize("how", ["flip", "cut", "gone", "no folder"])
def test_a_damaged_last_checkpoint_falls_back_to_an_older_one(copy, part, how):
    "And the end is the same as without the damage."
    whole, newest, older = outcome(copy, 12), *saved_steps(copy)[:2]
    place = copy/"checkpoints"/f"step-{newest}{part}"
    file = place/("state.safetensors" if part else "model.safetensors")
    content = bytearray(file.read_bytes())
    content[-5] ^= 16
    if how == "no folder": shutil.rmtree(place)
    elif how == "gone": file.unlink()
    else: file.write_bytes(content if how == "flip" else content[:-7])
    assert resumed(copy).step == older < newest == 12
    assert saved_steps(copy)[0] == older and not (copy/"checkpoints"/"step-12.state").exists()
    train_case(copy, case_of("gru"), Recipe(steps=12, batch=4, scores=6, rate=0.01), resume=True)
    assert outcome(copy, 12) == whole


@pytest.mark.parametrize("content", [b"", b"{", b'{"step": 7}', b'{"step": "x"}', b"\xff\xfe"])
def test_damaged_pointers_do_not_hinder(copy, content):
    "Resuming looks at the folders; using a run whose pointer is damaged is refused in one line."
    for name in ("best", "last"): (copy/"checkpoints"/name).write_bytes(content)
    with pytest.raises(LmnbError) as error: open_checkpoint(copy)
    assert "\n" not in str(error.value)
    assert resumed(copy).step == 12 and open_checkpoint(copy).path.name in {f"step-{step}" for step in saved_steps(copy)}


def test_nothing_whole_is_said_and_not_begun_anew(copy):
    for step in saved_steps(copy): (copy/"checkpoints"/f"step-{step}"/"config.json").write_text("{}")
    with pytest.raises(CorruptError, match="none of the .* checkpoints"): resumed(copy)


def test_every_flipped_bit_and_every_cut_is_refused_before_a_weight_is_used(copy, monkeypatch):
    "1,000 single bits and 200 cuts over all files of a checkpoint and its state."
    dice, run = random.Random(4), run_of(copy, case_of("gru"), Recipe(steps=12, batch=4))
    before = [p.detach().clone() for p in run.model.parameters()]
    place = copy/"checkpoints"/"step-12"
    for module in (lmnb.checkpoint, lmnb.train): monkeypatch.setattr(module, "load_file", lambda path: pytest.fail(f"{path} was read"))
    files = [*sorted(place.iterdir()), *sorted(place.with_name("step-12.state").iterdir())]
    assert len(files) == 4 + 3
    for number in range(1200):
        file = files[number % len(files)]
        content = file.read_bytes()
        changed, at = bytearray(content), dice.randrange(len(content))
        if number < 1000: changed[at] ^= 1 << dice.randrange(8)
        else: del changed[at:]
        file.write_bytes(changed)
        with pytest.raises(LmnbError) as error: run.restore(12)
        assert error.value.exit_code in (3, 4) and "\n" not in str(error.value)
        if file.parent == place:
            with pytest.raises(LmnbError): load_checkpoint(place)
        file.write_bytes(content)
    assert all(torch.equal(a, b) for a, b in zip(before, run.model.parameters()))
    monkeypatch.undo()
    run.restore(12)


# -- every point of a save -------------------------------------------------------------------------------------------

class Dead(BaseException): "The process is no more."


class Crash:
    "From the n-th write, sync, rename or removal on nothing happens any more; a file that was being written is half there."
    def __init__(self, monkeypatch, at):
        self.calls, self.at = 0, at
        for name in ("replace", "fsync", "mkdir", "unlink", "rmdir"): monkeypatch.setattr(os, name, self.guard(getattr(os, name)))
        for module in (lmnb.checkpoint, lmnb.train): monkeypatch.setattr(module, "save_file", self.half(module.save_file))
        fdopen = os.fdopen
        monkeypatch.setattr(os, "fdopen", lambda *args, **options: self.half_open(fdopen(*args, **options)))

    def tick(self):
        self.calls += 1
        return self.calls >= self.at

    def guard(self, function):
        def guarded(*args, **options):
            if self.tick(): raise Dead
            return function(*args, **options)
        return guarded

    def half(self, save_file):
        def saved(tensors, path, **options):
            if self.tick():
                if self.calls == self.at: save_file(tensors, path, **options); os.truncate(path, Path(path).stat().st_size//2)
                raise Dead
            save_file(tensors, path, **options)
        return saved

    def half_open(self, file):
        if not hasattr(file, "mode") or "w" not in file.mode: return file
        crash = self
        class Half:
            def __enter__(self): return self
            def __exit__(self, *_): file.close()
            def __getattr__(self, name): return getattr(file, name)
            def write(self, data):
                if crash.tick():
                    if crash.calls == crash.at: file.write(data[:len(data)//2]); file.flush()
                    raise Dead
                return file.write(data)
        return Half()


def sweep(monkeypatch, act, check):
    "Act, dying at the first, second, third ... point, until it gets through; check what is left each time. Returns how many points there are."
    at = 1
    while True:
        with monkeypatch.context() as patches:
            crash = Crash(patches, at)
            try: act(); through = True
            except Dead: through = False
        check()
        if through: return at - 1
        at += 1


def test_every_point_of_a_save_in_a_run(tmp_path, monkeypatch):
    "Saving, scoring, moving the pointers and pruning: whatever stands is whole, and the run goes on to the same end."
    case, recipe = case_of("gru"), Recipe(steps=8, batch=4, scores=4, rate=0.01)
    train_case(tmp_path/"whole", case, recipe)
    def stop(facts):
        if facts["step"] == 6: raise Stopped
    with pytest.raises(Stopped): train_case(tmp_path/"base", case, recipe, on_step=stop)
    folder = tmp_path/"parts"

    def prepared():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tmp_path/"base", folder)
        run = run_of(folder, case, recipe)
        go_back(run)
        run.look()                                                           # the score of step 6: going back took its line away
        for _ in range(2): run.window.append(run.advance())
        return run

    def check():
        for step in saved_steps(folder):
            verify(folder/"checkpoints"/f"step-{step}"); verify(folder/"checkpoints"/f"step-{step}.state", STATE)
        assert open_checkpoint(folder) and load_checkpoint(pointed(folder, "last"))
        train_case(folder, case, recipe, resume=True)
        assert outcome(folder, 8) == outcome(tmp_path/"whole", 8) and not hidden(folder)
        ready.append(prepared())

    ready = [prepared()]
    points = sweep(monkeypatch, lambda: ready[-1].look(), check)
    assert points > 40


def test_every_point_of_a_replaced_checkpoint(tmp_path, monkeypatch):
    "A folder that is written over: its reader always gets the old one or the new one."
    config, folder = case_of("gru").config, tmp_path/"step-1"
    old, new = build_model(config.model, seed=1), build_model(config.model, seed=2)
    weight = lambda model: model.backbone.embedding.weight
    save_checkpoint(folder, old, TOKENIZER, config)
    def check():
        found = weight(load_checkpoint(folder).model)
        assert torch.equal(found, weight(old)) or torch.equal(found, weight(new))
        lmnb.checkpoint.tidy(tmp_path)
        assert torch.equal(weight(load_checkpoint(folder).model), found) and not hidden(tmp_path)
        save_checkpoint(folder, old, TOKENIZER, config)
    assert sweep(monkeypatch, lambda: save_checkpoint(folder, new, TOKENIZER, config), check) > 15


def test_tidying_leaves_what_is_not_its_own(tmp_path):
    for name in (".gitignore", ".step-3", ".notes.markdown"): (tmp_path/name).write_text("mine")
    (tmp_path/".step-3.abcd1234").mkdir(); (tmp_path/".last.abcd1234").write_text("")
    lmnb.checkpoint.tidy(tmp_path)
    assert sorted(hidden(tmp_path)) == [".gitignore", ".notes.markdown", ".step-3"]


# -- a full disk -----------------------------------------------------------------------------------------------------

def test_a_full_disk_is_told_before_writing(copy, monkeypatch):
    run, before = resumed(copy), saved_steps(copy)
    run.advance()
    usage = shutil.disk_usage(copy)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(InputError, match=r"it takes [\d,]+ bytes, 1,000 are free, [\d,]+ bytes are missing") as error: run.keep()
    numbers = [int(word.replace(",", "")) for word in str(error.value).split() if word.replace(",", "").isdigit()]
    assert numbers[0] - numbers[1] == numbers[2] > 0
    assert saved_steps(copy) == before and load_checkpoint(pointed(copy, "last")) and not hidden(copy)


def test_a_disk_that_fills_up_on_the_way(copy):
    "The system takes only so many bytes in one file: a write that fails in the middle."
    run, before = resumed(copy), saved_steps(copy)
    run.advance()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(InputError, match="the system takes no more: .*File too large"): run.keep()
    finally: resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert saved_steps(copy) == before and load_checkpoint(pointed(copy, "last")) and not hidden(copy)
    run.keep()
    assert saved_steps(copy)[0] == 13


@pytest.fixture
def small_disk(tmp_path):
    "A file system of 3 MB, or a skip."
    (tmp_path/"disk").mkdir()
    if os.name == "nt" or os.geteuid(): pytest.skip("mounting a small file system needs root")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", tmp_path/"disk"], capture_output=True, text=True)
    if done.returncode: pytest.skip(f"mount: {done.stderr.strip()}")
    yield tmp_path/"disk"
    subprocess.run(["umount", tmp_path/"disk"], check=True)


def test_a_disk_that_is_really_full(small_disk):
    case, recipe = case_of("gru"), Recipe(steps=6, batch=4, scores=3)
    def fill(facts):
        if facts["step"] == 2: (small_disk/"other").write_bytes(b"0"*(shutil.disk_usage(small_disk).free - 300_000))
    with pytest.raises(InputError, match="bytes are missing"): train_case(small_disk/"run", case, recipe, on_step=fill)
    assert saved_steps(small_disk/"run") == [2] and open_checkpoint(small_disk/"run")
    (small_disk/"other").unlink()
    train_case(small_disk/"run", case, recipe, resume=True)
    assert saved_steps(small_disk/"run")[0] == 6


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["fsync", "replace", "mkdir"])
def test_any_call_may_find_the_disk_full(copy, monkeypatch, call, number):
    run, before = resumed(copy), saved_steps(copy)
    run.advance()
    def full(*_, **__): raise OSError(number, os.strerror(number))
    with monkeypatch.context() as patches:
        patches.setattr(os, call, full)
        with pytest.raises(InputError, match="the system takes no more"): run.keep()
    assert saved_steps(copy) == before and load_checkpoint(pointed(copy, "last")) and not hidden(copy)


# -- kill -9 ---------------------------------------------------------------------------------------------------------

def train_traced(folder, case, recipe, trace):
    "Train or go on; each step writes a line: step, loss as hex, what it saw."
    torch.set_num_threads(1)
    advance, fitting, seen = Run.advance, Run.fitting, {}
    def fitted(self, batch, state):
        seen["now"] = list(batch.rows) or batch.inputs["ids_BT"].tolist()
        return fitting(self, batch, state)
    def traced(self):
        step, loss = self.step, advance(self)
        os.write(file, (json.dumps([step, loss.hex(), seen["now"]]) + "\n").encode())
        return loss
    Run.advance, Run.fitting = traced, fitted
    file = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    train_case(folder, case, recipe, resume=(folder/"metrics.jsonl").exists())


def in_process(*args):
    "A fresh process for each try; all are forked from one that has imported lmnb and done nothing else."
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lmnb.train"])
    process = context.Process(target=train_traced, args=args)
    process.start()
    return process


def lines(trace): return trace.read_bytes().count(b"\n") if trace.exists() else 0


def killed(process, folder, trace, dice, inside):
    "Wait for one to three more steps, then kill: at any moment, or inside a save. Returns whether it was still running."
    most, moment = lines(trace) + dice.randint(1, 3), dice.random()*0.02
    while lines(trace) < most and process.is_alive(): time.sleep(0.0005)
    if inside:
        while not any((folder/"checkpoints").glob(".step-*")) and process.is_alive(): pass
    else: time.sleep(moment)
    alive = process.is_alive()
    process.kill(); process.join()
    assert process.exitcode == -signal.SIGKILL or not alive or process.exitcode == 0
    return process.exitcode == -signal.SIGKILL


def storm(tmp_path, architecture, accumulate, workers, *, kills, inside, steps):
    "Kill a run again and again, let it end, and compare everything with a run that was left alone."
    case, dice = case_of(architecture), random.Random(f"{architecture} {accumulate} {workers}")
    recipe = Recipe(steps=steps, batch=6, rate=0.01, scores=4, accumulate=accumulate, workers=workers)
    whole = in_process(tmp_path/"whole", case, recipe, tmp_path/"whole.trace")
    whole.join()
    assert whole.exitcode == 0
    folder, trace, count, cut = tmp_path/"parts", tmp_path/"parts.trace", 0, 0
    while count < kills:
        some = recipe.model_copy(update={"save_minutes": dice.choice([0.0, 0.0003]) if count >= inside else 0.0})   # at each step, or every 18 ms
        was_killed = killed(in_process(folder, case, some, trace), folder, trace, dice, count < inside)
        assert was_killed, f"the run ended after {count} kills: more steps are needed"
        count += 1
        cut += bool(list((folder/"checkpoints").glob(".step-*")))
    assert cut >= inside
    last = in_process(folder, case, recipe, trace)
    last.join()
    assert last.exitcode == 0 and not hidden(folder)
    assert outcome(folder, steps) == outcome(tmp_path/"whole", steps)
    told = [json.loads(line) for line in trace.read_text().splitlines()]
    once = [json.loads(line) for line in (tmp_path/"whole.trace").read_text().splitlines()]
    assert [step for step, _, _ in once] == list(range(steps))
    assert all(once[step] == [step, loss, seen] for step, loss, seen in told) and {step for step, _, _ in told} == set(range(steps))
    assert len(told) > steps                                                 # some steps were lost, and done again
    every_sample_once(case, [seen for _, _, seen in once])


def every_sample_once(case, seen):
    "Each epoch shows every sample exactly once, in the order that (seed, epoch) gives; streams are read without a gap."
    task = task_of(case.config.task, TOKENIZER)
    examples = task.examples(case.rows)
    size = (len(examples) - 1)//6//24 if case.config.task.name == "lm" else task.per_epoch(examples, 6)
    assert len(seen) >= size
    for epoch in range(len(seen)//size):
        part = seen[epoch*size:(epoch + 1)*size]
        if case.config.task.name == "lm":
            B, piece = len(part[0]), (len(examples) - 1)//len(part[0])
            for row in range(B): assert sum((ids[row] for ids in part), []) == examples[row*piece:][:size*24].tolist()
        else:
            assert sorted(sum(part, [])) == list(range(len(examples)))
            assert part == [list(map(int, b)) for b in buckets([task.length(e) for e in examples], 6, seed=0, epoch=epoch)]


@pytest.mark.parametrize("architecture, accumulate, workers", [("lstm", 4, 2), ("transformer", 1, 0)])
def test_a_small_kill_storm(tmp_path, architecture, accumulate, workers):
    storm(tmp_path, architecture, accumulate, workers, kills=2, inside=1, steps=30)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("accumulate", [1, 4])
@pytest.mark.parametrize("architecture", ["rnn", "lstm", "transformer"])
def test_a_kill_storm(tmp_path, architecture, accumulate, workers):
    storm(tmp_path, architecture, accumulate, workers, kills=20, inside=5, steps=120)
