"How colours look to people who lack one kind of cone, and how far apart two colours look"
import itertools

import numpy as np

# Machado, Oliveira and Fernandes (2009), severity 1.0: linear RGB of most people -> linear RGB of these
MACHADO = {
    'everybody': np.eye(3),
    'protan': np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    'deutan': np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
    'tritan': np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]),
}
TO_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])
WHITE = TO_XYZ.sum(1)


def lab(colours, eyes='everybody'):
    "CIE Lab (D65) of sRGB colours from 0 to 1, as these eyes see them"
    rgb = np.asarray(colours, float)
    linear = np.where(rgb <= .04045, rgb / 12.92, ((rgb + .055) / 1.055) ** 2.4)
    x, y, z = (((linear @ MACHADO[eyes].T).clip(0, 1) @ TO_XYZ.T) / WHITE).T
    f = [np.where(part > .008856, np.cbrt(part), 7.787 * part + 16 / 116) for part in (x, y, z)]
    return np.stack([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])], -1)


def nearest(colours):
    "The two colours that some eyes tell apart least: (distance in Lab, eyes, their numbers)"
    found = []
    for eyes in MACHADO:
        seen = lab(colours, eyes)
        for i, j in itertools.combinations(range(len(seen)), 2):
            found.append((float(np.linalg.norm(seen[i] - seen[j])), eyes, (i, j)))
    return min(found)
