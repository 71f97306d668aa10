"""Typical wrong answers to the exercise of 22_images; each must be refused."""
WRONG = {
    'check_grey': [
        # grey, but with one channel
        "return tuple(x.convert('L') if _kind(x) == 'PIL' else x for x in sample)",
        # only the first part, as if a sample had one picture
        "return (sample[0].convert('L').convert('RGB'), *sample[1:])",
        # the pictures alone: mask and label are lost
        "return tuple(x.convert('L').convert('RGB') for x in sample if _kind(x) == 'PIL')",
        # in training only
        "return tuple(x.convert('L').convert('RGB') if train and _kind(x) == 'PIL' else x for x in sample)",
    ],
}
