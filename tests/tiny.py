"""Small runs of every task, made in seconds, for the tests of the surfaces: nobody waits for a good model to test a page."""
import os
from pathlib import Path

from lmnb.collect import DataSet

MANUAL = ["Return the number of items in the list.", "Raise an error if the file is missing.", "This function opens a file and reads its lines.",
          "The default value of the argument is zero.", "If the argument is not a string, it is converted."]
TOPICS = [("Open a connection to the server.", "Internet"), ("Return the square root of a number.", "Numbers"), ("Write the data to a file.", "Files"),
          ("Send a request to the host.", "Internet"), ("Round the number down.", "Numbers"), ("Remove the file from the folder.", "Files")]
ENGLISH = [("A warm and honest film.", "positive"), ("The soup was cold.", "negative"), ("I smiled all the way home.", "positive"), ("Do not buy this.", "negative")]
CHINESE = [("服务很周到。", "positive"), ("菜是凉的。", "negative"), ("下次还会再来。", "positive"), ("等了一个小时。", "negative")]
PAIRS = [("Open a file", "打开文件"), ("Close all tabs", "关闭所有标签页"), ("May 14, 2026", "2026年5月14日"), ("three apples", "三个苹果")]
FACTS = [("Python was created by Guido van Rossum.", "Who created Python?", "Guido van Rossum", "en"), ("HTTP 状态码 404 表示找不到页面。", "404 表示什么？", "找不到页面", "zh")]
SUMMARIES = [("Return the number of items in the list. Zero if it is empty.", "Count the items."), ("Open the file and read all lines of it.", "Read a file.")]
TALK = [("hello", "Hello! How can I help?", "en"), ("what is a token", "A token is a piece of text.", "en"), ("你好", "你好！", "zh"), ("什么是词元", "词元是文本的最小单位。", "zh")]

ROWS = {   # data set -> task, languages, rows
    "pydocs": ("lm", ("en",), [{"text": text} for text in MANUAL]),
    "topics": ("classify", ("en",), [{"text": text, "label": label, "language": "en"} for text, label in TOPICS]),
    "sentiment_en": ("classify", ("en",), [{"text": text, "label": label, "language": "en"} for text, label in ENGLISH]),
    "sentiment_zh": ("classify", ("zh",), [{"text": text, "label": label, "language": "zh"} for text, label in CHINESE]),
    "translate_en_zh": ("translate", ("en", "zh"), [{"source": source, "target": target, "kind": "interface"} for source, target in PAIRS]),
    "answer": ("answer", ("en", "zh"), [{"passage": p, "question": q, "answer": a, "start": p.index(a), "language": code} for p, q, a, code in FACTS]),
    "summarize_docs": ("summarize", ("en",), [{"text": text, "summary": summary, "name": "f"} for text, summary in SUMMARIES]),
    "chat": ("chat", ("en", "zh"), [{"user": user, "answer": answer, "language": code, "subject": "talk"} for user, answer, code in TALK]),
}


def dataset(name):
    "A few rows under an embedded set's name, the same in every part."
    task, languages, rows = ROWS[name]
    return DataSet(name, task, languages, "Apache-2.0", {part: rows*8 for part in ("train", "dev", "test")})


def make_runs(home):
    "An LSTM and a Transformer for each set (an RNN and a bag beside them where they apply), a few steps each, in `home`; returns `home`."
    import torch
    from lmnb.serve import evaluate_baselines, evaluate_run, runs_dir
    from lmnb.train import fit
    before, threads = os.environ.get("LMNB_HOME"), torch.get_num_threads()
    os.environ["LMNB_HOME"] = str(home)
    torch.set_num_threads(1)                 # such small models only get in each other's way
    try:
        for name in ROWS:
            data, extra = dataset(name), {"pydocs": ("rnn-tiny",), "topics": ("bag-tiny",)}.get(name, ())
            for model in ("lstm-tiny", "transformer-tiny", *extra):
                fit(runs_dir()/name/model, task=data.task, model=model, data=data, steps=12, batch=8, scores=3)
                if name in ("pydocs", "topics"): evaluate_run(runs_dir()/name/model, data)
            if name in ("pydocs", "topics"): evaluate_baselines(data)
    finally:
        torch.set_num_threads(threads)
        os.environ.pop("LMNB_HOME") if before is None else os.environ.update(LMNB_HOME=before)
    return Path(home)


MADE = []


def shared_runs(tmp_path_factory):
    "The same small runs for every test module of a session."
    if not MADE: MADE.append(make_runs(tmp_path_factory.mktemp("tiny")))
    return MADE[0]
