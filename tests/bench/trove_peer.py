"""The stages of pipeline.py built from datatrove; run by its own interpreter: PYTHON trove_peer.py INPUT OUT TOKENIZER WORKERS.

Extraction (trafilatura), ftfy, language id, Gopher's repetition and quality rules, MinHash deduplication, tokenization. The language model of datatrove's own
filter is a download, so the id comes from py3langid, as in lmnb. English and Chinese have their own word splitters in datatrove (spaCy, jieba), and for Chinese
the limits of word length and stop words are those that a language without spaces needs.
"""
import sys
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.extractors import Trafilatura
from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter, LambdaFilter
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.pipeline.formatters import FTFYFormatter
from datatrove.pipeline.readers import JsonlReader, WarcReader
from datatrove.pipeline.tokens import DocumentTokenizer
from datatrove.pipeline.writers import JsonlWriter

STOP = ["的", "是", "在", "了", "和", "有", "不", "我"]


def in_languages(doc):
    "English or Chinese, and said so in the metadata."
    import py3langid
    code = py3langid.classify(doc.text[:600])[0]
    doc.metadata["language"] = code
    return code in ("en", "zh")


class ByLanguage(BaseFilter):
    "One filter for each language."
    name = "by language"

    def __init__(self, **filters):
        super().__init__(None)
        self.filters = filters

    def filter(self, doc): return self.filters[doc.metadata["language"]].filter(doc)


def main(source, out, tokenizer, workers):
    out, files = Path(out), len(list(Path(source).glob("*.jsonl"))) + len(list(Path(source).glob("*.warc")))
    shared = dict(workers=workers, logging_dir=None)
    config = MinhashConfig()
    def run(name, pipeline, tasks): LocalPipelineExecutor(pipeline=pipeline, tasks=tasks, workers=min(workers, tasks), logging_dir=str(out/"logs"/name)).run()
    run("clean", [WarcReader(source, glob_pattern="*.warc", compression=None), Trafilatura(timeout=10), JsonlReader(source, glob_pattern="*.jsonl", compression=None), FTFYFormatter(),
                  LambdaFilter(in_languages), ByLanguage(en=GopherRepetitionFilter(), zh=GopherRepetitionFilter(language="cmn")),
                  ByLanguage(en=GopherQualityFilter(), zh=GopherQualityFilter(language="cmn", min_avg_word_length=1, stop_words=STOP)),
                  JsonlWriter(str(out/"clean"), compression=None)], files)
    kept = len(list((out/"clean").glob("*.jsonl")))
    run("signatures", [JsonlReader(str(out/"clean"), compression=None), MinhashDedupSignature(str(out/"signatures"), config)], kept)
    run("buckets", [MinhashDedupBuckets(str(out/"signatures"), str(out/"buckets"), config=config)], config.num_buckets)
    run("clusters", [MinhashDedupCluster(str(out/"buckets"), str(out/"remove"), config=config)], 1)
    run("tokens", [JsonlReader(str(out/"clean"), compression=None), MinhashDedupFilter(str(out/"remove")),
                   DocumentTokenizer(str(out/"tokens"), tokenizer, eos_token="<eos>", shuffle_documents=False)], kept)


if __name__ == "__main__": main(*sys.argv[1:4], int(sys.argv[4]))
