"""What importing our modules costs over importing what they stand on: fresh processes, interleaved.

    python benchmarks/import_time.py [--rounds 9]
"""
import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from timing import interleaved, machine, median, table  # noqa: E402

ROOT = Path(__file__).parent.parent
# What is timed, and the row that it is compared with.
STATEMENTS = {'torch': None, 'torch, lessonlib.core': 'torch', 'torch, lessonlib.learner': 'torch',
              'torch, lessonlib.data_block': 'torch', 'torch, torchvision': None,
              'torch, torchvision, lessonlib.transfer': 'torch, torchvision'}


def fresh(statement: str):
    path = os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])
    return lambda: subprocess.run([sys.executable, '-c', f'import {statement}'], check=True, cwd=ROOT,
                                  env={**os.environ, 'PYTHONPATH': path})


def cpu_of_children() -> float:
    times = os.times()
    return times.children_user + times.children_system


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=9)
    args = parser.parse_args()
    wall, cpu = interleaved({name: fresh(name) for name in STATEMENTS}, args.rounds,
                            clocks=(time.perf_counter, cpu_of_children))
    wall, cpu = median(wall), median(cpu)
    over = lambda seconds, name, base: f'{seconds[name] - seconds[base]:+.2f}' if base else ''
    rows = [[f'`import {name}`', f'{wall[name]:.2f}', over(wall, name, base), f'{cpu[name]:.2f}', over(cpu, name, base)]
            for name, base in STATEMENTS.items()]
    print(table(rows, ['', 'seconds', 'over the base', 'CPU seconds', 'over the base']))
    print(f'\nThe base is the first row of each kind (torch alone, or torch and torchvision). Median of {args.rounds} '
          f'interleaved rounds, a fresh process each; {machine()}.')


if __name__ == '__main__': main()
