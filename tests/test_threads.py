"""How many threads: one where there is no room, the fastest where there is, and a run that keeps its number."""
import itertools

import pytest
import torch

import lmnb.threads
from lmnb.checkpoint import Config, TaskConfig
from lmnb.models.zoo import preset
from lmnb.threads import Threads, fixed, room, said, threads_of
from lmnb.tokenize import Tokenizer
from lmnb.train import Recipe, Run, read_metrics, train

ROWS = [{"text": "the cat sat on the mat. 猫坐在垫子上。 "*60}]


@pytest.fixture
def machine(monkeypatch):
    "A machine of four cores whose room and clock the test decides; nothing is really set."
    state = {"room": 4, "now": 0.0}
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(lmnb.threads, "room", lambda: state["room"])
    monkeypatch.setattr(lmnb.threads, "cores", lambda: 4)
    monkeypatch.setattr(lmnb.threads.time, "monotonic", lambda: state["now"])
    return state


def steps(work, cost, count=60, machine=None):
    "Steps that take `cost(threads)` seconds -> the numbers of threads taken."
    taken = []
    for _ in range(count):
        work.now = work.choose()
        taken.append(work.now)
        work.learn(cost(work.now))
        if machine:
            machine["now"] += cost(work.now)
    return taken


@pytest.mark.parametrize("cost, best", [
    (lambda n: .02/n, 4), (lambda n: .01, 1), (lambda n: .01 if n == 1 else .3, 1), (lambda n: {1: .02, 2: .012, 4: .03}[n], 2), (lambda n: 3/n, 4)])
def test_the_fastest_is_taken(machine, cost, best):
    taken = steps(Threads(), cost)
    assert taken[-1] == best and taken[0] == 1
    assert sum(cost(n) for n in taken if n != best) < 40*min(map(cost, (1, 2, 4))) + 3*cost(1)      # trying costs little


def test_where_there_is_no_room_nothing_is_tried(machine):
    machine["room"] = 1
    work = Threads()
    assert {*steps(work, lambda n: .01/n)} == {1} and "busy" in work.told


def test_a_room_that_is_not_known_yet_means_one(machine):
    machine["room"] = None
    assert {*steps(Threads(), lambda n: .01/n)} == {1}


def test_a_machine_that_becomes_busy_and_quiet_again(machine):
    work = Threads()
    assert steps(work, lambda n: .02/n, machine=machine)[-1] == 4
    machine["room"] = 1
    taken = steps(work, lambda n: .02*n, 800, machine)
    assert taken[-1] == 1
    machine["room"] = 4
    assert steps(work, lambda n: .02/n, 2000, machine)[-1] == 4


def test_a_steady_machine_is_asked_more_and_more_rarely(machine):
    work = Threads()
    rooms = itertools.cycle([4, 4, 4, 3])
    lmnb.threads.room = lambda: next(rooms)
    taken = steps(work, lambda n: .02/n, 60_000, machine)
    assert taken.count(1) < 100


def test_what_the_reader_has_set_counts(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert fixed() == 3 and Threads().n == 3 and Threads().settled and Threads(2).n == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "4,2")
    assert fixed() is None


def test_the_room_is_between_one_and_all():
    for _ in range(5):
        torch.randn(300, 300) @ torch.randn(300, 300)
        assert room() in (None, *range(1, lmnb.threads.cores() + 1))


def test_a_model_keeps_its_number(machine):
    model = torch.nn.Linear(2, 2)
    assert threads_of(model) is threads_of(model)
    steps(threads_of(model), lambda n: .02/n)
    assert said() == threads_of(model).told and "4 of 4 threads" in said()


def case(folder, **fields):
    tokenizer = Tokenizer.train("char", [ROWS[0]["text"]])
    config = Config(task=TaskConfig(name="lm", length=16, carry=True), model=preset("gru-tiny", task="lm", vocab_size=tokenizer.vocab_size))
    return folder, config, tokenizer, ROWS, ROWS, Recipe(steps=12, batch=4, scores=3, **fields)


def test_measuring_changes_nothing(tmp_path, monkeypatch):
    "The losses of a run that tried several numbers are those of one that did not."
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(lmnb.threads, "room", lambda: 2)
    notes = []
    try:
        tried = train(*case(tmp_path/"a"), on_note=notes.append)
        torch.set_num_threads(1)
        plain = train(*case(tmp_path/"b", threads=1))
    finally:
        torch.set_num_threads(before)
    assert len(notes) == 1 and "threads" in notes[0]
    losses = [[row["dev_loss"] for row in read_metrics(run)] for run in (tried, plain)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_resumed_run_has_the_number_it_had(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    class Stop(Exception): pass
    def stop(facts):
        if facts["step"] == 8: raise Stop
    try:
        monkeypatch.setattr(lmnb.threads, "room", lambda: 1)
        with pytest.raises(Stop):
            train(*case(tmp_path/"a"), on_step=stop)
        run = Run(*case(tmp_path/"a"))
        run.threads.n = 7
        run.restore(8)
        assert run.threads.n == 1 and run.threads.settled
    finally:
        torch.set_num_threads(before)
