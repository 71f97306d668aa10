"""What importing lessonlib.learner costs over importing torch: fresh processes, interleaved.

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
STATEMENTS = {'torch': 'import torch', 'lessonlib.core': 'import torch, lessonlib.core',
              'lessonlib.learner': 'import torch, lessonlib.learner'}


def fresh(statement: str):
    path = os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])
    return lambda: subprocess.run([sys.executable, '-c', statement], check=True, cwd=ROOT,
                                  env={**os.environ, 'PYTHONPATH': path})


def cpu_of_children() -> float:
    times = os.times()
    return times.children_user + times.children_system


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=9)
    args = parser.parse_args()
    wall, cpu = interleaved({name: fresh(s) for name, s in STATEMENTS.items()}, args.rounds,
                            clocks=(time.perf_counter, cpu_of_children))
    wall, cpu = median(wall), median(cpu)
    rows = [[name, f'{wall[name]:.2f}', f'{wall[name] - wall["torch"]:+.2f}', f'{cpu[name]:.2f}',
             f'{cpu[name] - cpu["torch"]:+.2f}'] for name in wall]
    print(table(rows, ['import', 'seconds', 'over torch', 'CPU seconds', 'over torch']))
    print(f'\nMedian of {args.rounds} interleaved rounds, a fresh process each; {machine()}.')


if __name__ == '__main__': main()
