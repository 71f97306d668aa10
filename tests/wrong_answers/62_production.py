"""Typical wrong answers to the exercises of 62_production; each must be refused."""
WRONG = {
    'check_classes_of': [
        'with open(file, "rb") as opened:\n'
        '    header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))\n'
        'recipe = json.loads(header["__metadata__"]["lessonlib"])\n'
        'return recipe["learner"]["data"]["blocks"]',                            # the blocks, not their names
        'with open(file, "rb") as opened:\n'
        '    header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))\n'
        'recipe = json.loads(header["__metadata__"]["lessonlib"])\n'
        'return sorted(recipe["learner"]["data"]["blocks"][-1]["vocab"], reverse=True)',   # another order
        'with open(file, "rb") as opened: return json.loads(opened.read())',     # all of it is no JSON
    ],
    'check_careful': [
        'label, number, probabilities = learn.predict(item)\n'
        'return label if probabilities[number] > least else None',               # exactly `least` is enough
        'label, number, probabilities = learn.predict(item)\n'
        'return label if probabilities[0] >= least else None',                   # always the first class
        'return learn.predict(item)[0]',                                         # never in doubt
    ],
    'check_fingerprint': [
        'return hash(file.read_bytes())',                                        # another number each day
        'with open(file, "rb") as opened: return hashlib.sha256(opened.read(2**20)).hexdigest()',   # its beginning
        'return hashlib.sha256(str(file).encode()).hexdigest()',                 # of the name
    ],
}
