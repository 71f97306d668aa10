"""Typical wrong answers to the exercise of 37_ways_in; each must be refused."""
START = 'def is_fifth(file): return int(file.stem.rpartition("_")[2]) % 5 == 0\n'
LABEL = r".label_from_re(r'(.+)_\d+\.jpg$')"
WRONG = {
    'check_by_number': [
        # a fifth, but a random one
        f'return ImageList.from_folder(folder).split_by_rand_pct(.2, seed=1){LABEL}'
        '.transform(size=32).databunch(bs=8)',
        # the wrong way round
        START + 'return (ImageList.from_folder(folder).split_by_valid_func(lambda file: not is_fifth(file))'
        f'{LABEL}.transform(size=32).databunch(bs=8))',
        # the folder is the same for all
        START + 'return (ImageList.from_folder(folder).split_by_valid_func(is_fifth)'
        '.label_from_folder().transform(size=32).databunch(bs=8))',
        # batches as they come
        START + f'return ImageList.from_folder(folder).split_by_valid_func(is_fifth){LABEL}'
        '.transform(size=32).databunch()',
        # labelled before it is split
        START + f'return ImageList.from_folder(folder){LABEL}.split_by_valid_func(is_fifth)'
        '.transform(size=32).databunch(bs=8)',
    ],
}
