"Interleaved timing: every contestant once, then every contestant again, so that a busy minute hits all alike."
import os
import platform
import statistics
import time
from collections.abc import Callable


def interleaved(
    contestants: dict[str, Callable],  # name -> what is timed, called without arguments
    rounds: int = 9,  # timed calls of each
    warm_up: int = 1,  # calls of each before that, not counted
    clocks: tuple = (time.perf_counter,),  # time.process_time too: less disturbed by a busy machine
) -> list[dict[str, list]]:
    "For each clock: seconds of every round, by name"
    for _ in range(warm_up):
        for run in contestants.values(): run()
    seconds = [{name: [] for name in contestants} for _ in clocks]
    for _ in range(rounds):
        for name, run in contestants.items():
            starts = [clock() for clock in clocks]
            run()
            for clock, start, kept in zip(clocks, starts, seconds): kept[name].append(clock() - start)
    return seconds


def median(seconds: dict[str, list]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in seconds.items()}


def paired_ratio(
    seconds: dict[str, list],
    base: str,  # the contestant that all are divided by, round by round
) -> dict[str, float]:
    "Median over rounds of each contestant's time over that of `base` in the same round"
    return {name: statistics.median(a / b for a, b in zip(values, seconds[base]))
            for name, values in seconds.items()}


def table(rows: list[list], head: list[str]) -> str:
    "A markdown table"
    lines = [head, ['---'] + ['---:'] * (len(head) - 1), *rows]
    return '\n'.join('| ' + ' | '.join(str(cell) for cell in line) + ' |' for line in lines)


def machine() -> str:
    import torch
    return (f'Python {platform.python_version()}, torch {torch.__version__}, '
            f'{torch.get_num_threads()} threads, {os.cpu_count()} cores ({platform.machine()})')
