"""What readers hand to the applications: one line in is one line out, bytes are decoded or refused, places count in the text as it was given."""
import io, json, os
from pathlib import Path

import pytest
from tiny import shared_runs

from lmnb import cli
from lmnb.core import InputError, UsageError
from lmnb.inputs import argument, file_text, is_name, json_line, passage_of, pieces, texts_of

CASES = Path(__file__).parent/"cases"
ZH = ["服务很周到,下次还会再来。", "等了一个小时,菜还是凉的。", "", "没有想象中那么差"]


@pytest.fixture
def run(tmp_path_factory, monkeypatch, capfdbinary):
    "A function that gives a command and standard input, and gives back code, lines out (cut at line feeds only) and what was said aside."
    monkeypatch.setenv("LMNB_HOME", str(shared_runs(tmp_path_factory)))

    def call(*arguments, stdin=b""):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        monkeypatch.setattr("sys.argv", ["lmnb", *arguments])
        with pytest.raises(SystemExit) as ended: cli.main()
        out, err = capfdbinary.readouterr()
        return ended.value.code, out.decode().split("\n")[:-1], err.decode()
    return call


class Slowly:
    "A stream that gives what a person types: so many bytes at a time."
    def __init__(self, data, step): self.data, self.step = io.BytesIO(data), step
    def read1(self, size): return self.data.read(self.step)


# -- lines -----------------------------------------------------------------------------------------------------------

CODECS = ["utf-8", "utf-8-sig", "gb18030", "gbk", "utf-16", "utf-16-le", "utf-16-be"]

@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_come_out_as_they_went_in(codec, end):
    for last in (end, ""):
        data = (end.join(ZH) + last).encode(codec)
        assert list(pieces(io.BytesIO(data))) == ZH, (codec, end, last)


@pytest.mark.parametrize("codec", ["utf-8", "gb18030", "utf-8-sig"])
@pytest.mark.parametrize("step", [1, 2, 3, 7])
def test_a_stream_in_small_pieces_is_read_alike(codec, step):
    texts = ["plain English first", "", *ZH, "x\u2028y\x85z\x0b\x0c\x1c\r w", "end"]
    assert list(pieces(Slowly("\n".join(texts).encode(codec), step))) == texts


@pytest.mark.parametrize("data, count", [(b"", 0), (b"\n", 1), (b"\n\n\n", 3), (b"a", 1), (b"a\n", 1), (b"a\n\n", 2), (b"\r\n", 1), (b"a\rb\n", 1), (b" \t\n", 1), (b"\xef\xbb\xbf\na", 2)])
def test_as_many_texts_as_lines(data, count): assert len(list(pieces(io.BytesIO(data)))) == count


def test_a_line_is_given_before_the_next_has_come():
    class Typed:
        def __init__(self): self.lines = [b"one\n", "二\n".encode(), b"three\n"]
        def read1(self, size): return self.lines.pop(0) if self.lines else b""
    stream = Typed()
    found = pieces(stream)
    assert [(next(found), len(stream.lines)) for _ in range(3)] == [("one", 2), ("二", 1), ("three", 0)]


@pytest.mark.parametrize("data", [b"good\n\xff\xfe\xfd\xfc\x80\n", "好的\n".encode()*3 + "不好\n".encode("gbk"), b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"one\0two three\n", b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x01", bytes(range(256))])
def test_what_is_no_text_is_refused(data):
    with pytest.raises(InputError) as said: list(pieces(io.BytesIO(data)))
    assert "\n" not in str(said.value) and "�" not in str(said.value)


def test_texts_of_many_lines():
    assert list(pieces(io.BytesIO("一\n二\0three\r\n\0\0".encode()), "\0")) == ["一\n二", "three\r\n", ""]
    assert list(pieces(io.BytesIO("一\n二\0三".encode("gbk")), "\0")) == ["一\n二", "三"]


def test_arguments_in_another_encoding(monkeypatch):
    assert argument(os.fsdecode("服务很周到".encode("gbk"))) == "服务很周到" and argument("\ufeff好") == "好"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(UsageError, match="twice"): list(texts_of("a", null=True))
    with pytest.raises(UsageError, match="exclude"): list(texts_of(None, null=True, jsonl=True))
    with pytest.raises(InputError, match="empty"): list(texts_of(None))


# -- the commands ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("command, name", [("translate", "translate_en_zh/lstm-tiny"), ("classify", "sentiment_en/lstm-tiny"), ("summarize", "summarize_docs/lstm-tiny"), ("chat", "chat/lstm-tiny"), ("generate", "pydocs/lstm-tiny")])
def test_one_line_in_is_one_line_out(command, name, run):
    for case, blank in (("five.txt", [1, 3]), ("seps.txt", [])):
        data = (CASES/"11-stdin-lines"/case).read_bytes()
        code, lines, err = run(command, name, *["--most", "20"]*(command == "generate"), stdin=data)
        assert (code, len(lines), err) == (0, data.count(b"\n"), ""), (lines, err)
        assert all(lines[i] == "" for i in blank) and all(len(line.splitlines()) <= 1 for line in lines)
        code, lines, err = run(command, name, "--json", stdin=data)
        rows = [json.loads(line) for line in lines]
        texts = data.decode().split("\n")[:-1]
        assert [next(iter(row.values())) for row in rows] == texts and [not row["result"] for row in rows if not next(iter(row.values())).strip()] == [True]*len(blank)


def test_encodings_are_decoded_or_refused(run):
    for name, texts in (("gbk.txt", ZH[:2]), ("utf16.txt", ["The room was clean."]), ("bom.txt", ["The room was clean."])):
        code, lines, _ = run("classify", "sentiment_zh/lstm-tiny", "--json", stdin=(CASES/"12-stdin-encoding"/name).read_bytes())
        assert code == 0 and [json.loads(line)["text"] for line in lines] == texts
    code, lines, err = run("classify", "sentiment_zh/lstm-tiny", "--json", stdin=b"fine\n\x81\x20\xff\n")
    assert code == 3 and len(err.splitlines()) == 1 and "�" not in "".join(lines)


def test_texts_of_many_lines_have_a_way_in(run, tmp_path):
    (tmp_path/"a.txt").write_bytes("First line.\r\n\r\nSecond line.".encode("utf-16")); (tmp_path/"b.txt").write_text("Another\ntext.")
    a, b = str(tmp_path/"a.txt"), str(tmp_path/"b.txt")
    code, lines, _ = run("summarize", "summarize_docs/lstm-tiny", "--file", a, "--file", b, "--json")
    assert code == 0 and [json.loads(line)["text"] for line in lines] == ["First line.\r\n\r\nSecond line.", "Another\ntext."]
    code, lines, _ = run("summarize", "summarize_docs/lstm-tiny", "--file", "-", "--json", stdin=b"one\n\ntwo\n")
    assert code == 0 and json.loads(lines[0])["text"] == "one\n\ntwo\n" and len(lines) == 1
    code, lines, _ = run("summarize", "summarize_docs/lstm-tiny", "-0", "--json", stdin=b"one\ntwo\0three\0")
    assert code == 0 and [json.loads(line)["text"] for line in lines] == ["one\ntwo", "three"]
    rows = b'{"text": "one\\ntwo"}\n"three"\n\n{"prompt": "x"}\n'
    code, lines, _ = run("generate", "pydocs/lstm-tiny", "--jsonl", "--json", "--most", "5", stdin=rows)
    assert code == 0 and [json.loads(line)["prompt"] for line in lines] == ["one\ntwo", "three", "", "x"]
    code, lines, _ = run("generate", "pydocs/lstm-tiny", "--null", "--most", "5", stdin=b"one\ntwo\0three")
    assert code == 0 and "\n".join(lines + [""]).count("\0") == 0 or "\0" in "\n".join(lines)
    for wrong in ('{"body": "x"}', "[1]", "{", '"\\ud800"'):
        code, lines, err = run("summarize", "summarize_docs/lstm-tiny", "--jsonl", stdin=wrong.encode())
        assert (code, lines, len(err.splitlines())) == (3, [], 1)
    for arguments, expected in ((["x", "--file", a], 2), (["--file", str(tmp_path)], 3), (["--file", str(tmp_path/"no.txt")], 3), (["--null", "--jsonl"], 2)):
        code, lines, err = run("summarize", "summarize_docs/lstm-tiny", *arguments)
        assert (code, lines, len(err.splitlines())) == (expected, [], 1), (arguments, code, err)


@pytest.mark.parametrize("command", ["summarize", "generate", "translate", "classify", "chat"])
def test_help_says_how_many_lines_go_in(command, run):
    code, lines, _ = run(command, "--help")
    assert code == 0 and all(name in "\n".join(lines) for name in ("--file", "--null", "--jsonl"))


# -- passages ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["long_zh.txt", "long_en.txt", "paragraphs.txt", "gbk.txt", "bom.txt"])
def test_places_count_in_the_passage_as_it_was_given(name, run):
    path = CASES/"10-qa-passage"/name
    data = path.read_bytes()
    text = data.decode("gbk") if name == "gbk.txt" else data.decode("utf-8-sig")
    ways = [(["--passage", str(path)], b""), (["--file", str(path)], b""), ([], data), (["--file", "-"], data), (["--passage", os.fsdecode(data)], b""), (["--passage-text", os.fsdecode(data)], b"")]
    found = []
    for arguments, stdin in ways:
        code, lines, err = run("answer", "answer/lstm-tiny", "Who?", *arguments, "--json", stdin=stdin)
        assert code == 0, err
        found.append(json.loads(lines[0]))
        assert text[found[-1]["start"]:found[-1]["end"]] == found[-1]["text"]
    assert all(one == found[0] for one in found)
    crlf = text.replace("\n", "\r\n")
    code, lines, _ = run("answer", "answer/lstm-tiny", "Who?", "--json", stdin=b"\xef\xbb\xbf\r\n\r\n" + crlf.encode())
    one = json.loads(lines[0])
    assert ("\r\n\r\n" + crlf)[one["start"]:one["end"]] == one["text"]


def test_the_name_of_a_file_is_not_a_passage(run, tmp_path):
    for name in ("pasage.txt", "/no/such/file", "notes/passage", "my notes.txt", "文章.txt", "passage_en", "C:\\a b.txt", "https://example.org/a", str(tmp_path)):
        code, lines, err = run("answer", "answer/lstm-tiny", "Who?", "--passage", name)
        assert (code, lines, len(err.splitlines())) == (3, [], 1), (name, code, err)
    assert run("answer", "answer/lstm-tiny", "Who?", "--passage-text", "pasage.txt")[0] == 0
    assert run("answer", "answer/lstm-tiny", "Who?", "--passage", "a text", "--file", "b")[0] == 2
    for text in ("Danish is da. It is spoken.", "货币代码 THB 指的是泰铢。", "塔上的老钟停了九年", "See a/b, or c.", "Paris.", "word " * 3000): assert not is_name(text) and passage_of(text) == text
    (tmp_path/"empty.txt").write_bytes(b"\n")
    with pytest.raises(InputError, match="holds no text"): file_text(tmp_path/"empty.txt")


def test_json_stands_on_one_line_for_everybody(): assert len(json_line({"a": "x\u2028y\x85z\u2029\x0b\x0c\x1c\n"}).splitlines()) == 1
