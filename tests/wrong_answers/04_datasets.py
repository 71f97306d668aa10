"""Typical wrong answers to the exercises of 04_datasets; each must be refused."""
WRONG = {
    'check_rest_header': [
        "return {'Range': f'bytes={have + 1}-'} if have and have < size else {} if not have else None",   # off by one
        "return {'Range': f'bytes={have}-'} if have else {}",                                             # forgets 'complete'
        "return None if have == size else {'Range': f'bytes=0-{have}'} if have else {}",                  # asks for what it has
    ],
    'check_stays_inside': [
        "return '..' not in name",                                           # suspects cat..1.jpg, lets /etc/passwd pass
        "return not name.startswith(('/', '..'))",                           # does not see pets/../../x
        "return '..' not in name.split('/')",                                # forgets the root
        "return True",
    ],
    'check_sums_text': [
        "return ''.join(f'{sha256_of(p)}  {p.name}\\n' for p in sorted(Path(folder).iterdir()))",         # notes.txt too
        "return ''.join(f'{sha256_of(p)} {p.name}\\n' for p in sorted(Path(folder).iterdir())"
        " if p.suffix in ('.tgz', '.zip'))",                                                              # one blank
        "return ''.join(f'{hashlib.sha256(p.name.encode()).hexdigest()}  {p.name}\\n'"
        " for p in sorted(Path(folder).iterdir()) if p.suffix in ('.tgz', '.zip'))",                      # the name's digest
        "return ''.join(f'{sha256_of(p)}  {p}\\n' for p in sorted(Path(folder).iterdir())"
        " if p.suffix in ('.tgz', '.zip'))",                                                              # the whole path
    ],
}
