"""Tokens a second on real reviews, in one process: ours, fresh and with its memory of words, and fastai's default; then how
far the tokens of both agree.

    python benchmarks/tokens.py [TEXTS.csv] [--column text] [--rounds 5] [--peer PYTHON]
"""
import argparse
import csv
import difflib
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
from lessonlib.tokens import Numericalize, SubwordTokenizer, WordTokenizer  # noqa: E402
from timing import interleaved, machine, median, table  # noqa: E402


PEER = 'fastai, spaCy'


class Peer:
    "fastai in a process of its own, which works when it is told to and waits otherwise"
    def __init__(self, python: str, file: str, column: str):
        self.process = subprocess.Popen([python, '-W', 'ignore', str(Path(__file__).parent/'fastai_tokens.py'), file, column],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def __call__(self, task: str = 'count'):
        self.process.stdin.write(f'{task}\n')
        line = self.process.stdout.readline()
        if not line: sys.exit('fastai stopped; its error is above')
        return json.loads(line)


def differences(ours: list, theirs: list) -> Counter:
    "What stands in ours for what in theirs"
    found = Counter()
    for a, b in zip(ours, theirs):
        if a == b: continue
        for kind, i, j, k, m in difflib.SequenceMatcher(None, a, b, False).get_opcodes():
            if kind != 'equal': found[f'{" ".join(a[i:j])!r} for {" ".join(b[k:m])!r}'] += max(j - i, m - k)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('file', nargs='?', help='a table; without it, the pages of Python\'s manual')
    parser.add_argument('--column', default='text')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--peer', help='a Python that has fastai and spacy')
    args = parser.parse_args()
    if args.file is None:
        from pydoc_data.topics import topics
        work = tempfile.TemporaryDirectory()
        args.file = Path(work.name)/'manual.csv'
        with open(args.file, 'w', newline='', encoding='utf-8') as file:
            csv.writer(file).writerows([[args.column], *([topics[name]] for name in sorted(topics))])
    with open(args.file, newline='', encoding='utf-8') as file: texts = [row[args.column] for row in csv.DictReader(file)]
    known, sub = WordTokenizer(), SubwordTokenizer(vocab_sz=8000).setup(texts)
    docs = known.many(texts)
    num = Numericalize().setup(docs)
    again = lambda: SubwordTokenizer(vocab_sz=8000, alphabet=sub.alphabet, merges=sub.merges)
    contestants = {'ours, fresh': lambda: WordTokenizer().many(texts), 'ours, once more': lambda: known.many(texts),
                   'ours, subwords, fresh': lambda: again().many(texts), 'numbers of the tokens': lambda: num.many(docs)}
    counts = dict.fromkeys(contestants, sum(map(len, docs))) | {'ours, subwords, fresh': sum(map(len, sub.many(texts)))}
    peer = args.peer and Peer(args.peer, args.file, args.column)
    busy = []                                         # CPU seconds of the peer, which knows them best
    if peer: contestants[PEER], counts[PEER] = lambda: busy.append(peer()[1]), peer()[0]
    wall, cpu = interleaved(contestants, args.rounds, clocks=(time.perf_counter, time.process_time))
    if peer: cpu[PEER] = busy[-args.rounds:]
    wall, cpu = median(wall), median(cpu)
    rows = [[name, f'{counts[name]:,}', *(f'{value:.2f}' for seconds in (wall[name], cpu[name])
                                          for value in (seconds, counts[name]/seconds/1e6))] for name in contestants]
    print(table(rows, [f'{len(texts):,} texts', 'tokens', 'seconds', 'million a second', 'CPU seconds', 'million a CPU second']))
    print(f'\nMedian of {args.rounds} interleaved rounds, one process each; {machine()}.')
    if not peer: return
    theirs = peer('tokens')
    found = differences(docs, theirs)
    same = sum(a == b for a, b in zip(docs, theirs))
    print(f'\n{same} of {len(docs)} texts have the same tokens; {found.total():,} of {counts["ours, fresh"]:,} tokens differ. '
          'Most often, ours for theirs:')
    for what, n in found.most_common(25): print(f'    {n:5} {what}')


if __name__ == '__main__': main()
