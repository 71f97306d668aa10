"""Typical wrong answers to the exercises of 02_files; each must be refused."""
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
}
