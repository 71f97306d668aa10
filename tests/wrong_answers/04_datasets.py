"""Typical wrong answers to the exercises of 04_datasets; each must be refused."""
WRONG = {
    'check_sums_text': [
        "return ''.join(f'{sha256_of(p)}  {p.name}\\n' for p in sorted(Path(folder).iterdir()))",         # notes.txt too
        "return ''.join(f'{sha256_of(p)} {p.name}\\n' for p in sorted(Path(folder).iterdir())"
        " if p.suffix in ('.tgz', '.zip'))",                                                              # one blank
        "return ''.join(f'{right}  {p.name}\\n'"
        " for p in sorted(Path(folder).iterdir()) if p.suffix in ('.tgz', '.zip'))",                      # one digest for all
        "return ''.join(f'{sha256_of(p)}  {p}\\n' for p in sorted(Path(folder).iterdir())"
        " if p.suffix in ('.tgz', '.zip'))",                                                              # the whole path
    ],
}
