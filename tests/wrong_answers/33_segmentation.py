"""Usual wrong answers to the exercises of 33_segmentation; each must be refused."""
WRONG = {
    'check_one_iou': [
        'T, P = truth == code, guess == code\nunion = (T | P).sum().item()\n'
        'return (T & P).sum().item() / union if union else None',
        'counts = truth != void\nT, P = (truth == code) & counts, (guess == code) & counts\n'
        'return (T & P).sum().item() / max(1, (T | P).sum().item())',
        'counts = truth != void\nT, P = (truth == code) & counts, (guess == code) & counts\n'
        'both = (T.sum() + P.sum()).item()\nreturn 2 * (T & P).sum().item() / both if both else None',
    ],
    'check_organ_block': [
        "return MaskBlock(['background', 'organ'], void=255)",
        "return MaskBlock(['background', 'organ'], values=(0, 128))",
        "return MaskBlock(['background', 'organ', 'unsure'], values=(0, 128, 255))",
    ],
    'check_batch_that_fits': [
        'return max(1, int(.9 * free / bytes_a_picture))',
        'needed = bytes_a_picture * height * width / (96 * 128)\nreturn int(.9 * free / needed)',
        'needed = bytes_a_picture * (height + width) / (96 + 128)\nreturn max(1, int(.9 * free / needed))',
    ],
}
