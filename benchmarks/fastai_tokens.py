"""The peer's side of tokens.py, run by a Python that has fastai and spaCy: tokenises when told to on standard input.

Each line that arrives is `count` or `tokens`; each answer is a line of JSON: the number of tokens and the CPU seconds, or
all tokens.
"""
import csv
import json
import sys
import time

if __name__ == '__main__':
    from fastai.text.core import SpacyTokenizer, TokenizeWithRules

    with open(sys.argv[1], newline='', encoding='utf-8') as file: texts = [row[sys.argv[2]] for row in csv.DictReader(file)]
    tokenizer = TokenizeWithRules(SpacyTokenizer('en'))
    for line in sys.stdin:
        start = time.process_time()
        docs = [list(doc) for doc in tokenizer(texts)]
        if line.strip() == 'tokens': docs = [['xxbos'] * (doc[:1] != ['xxbos']) + doc for doc in docs]
        counted = sum(map(len, docs)), time.process_time() - start
        print(json.dumps(docs if line.strip() == 'tokens' else counted), flush=True)
