"Functions run by several processes that train together; a server that has torch loaded makes them, so that it is quick."
import contextlib
import io
import multiprocessing
import os
import pickle
import socket
import sys
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def context():
    "Processes of a server that has the library loaded and has never trained"
    made = multiprocessing.get_context('forkserver')
    made.set_forkserver_preload(['lessonlib.processes', 'lessonlib.tokens', 'lessonlib.transfer', 'torch._dynamo',
                                 'helpers.two_processes'])
    return made


def _run(function, args, env, pipe):
    "In the new process: calls the function, and sends what it gave and what was printed"
    import torch
    os.environ.update(env)
    torch.set_num_threads(1)
    multiprocessing.set_start_method('fork', force=True)   # as elsewhere, for workers of loaders:
    torch.multiprocessing.set_sharing_strategy('file_system')   # the server's folder is not theirs
    out, result, error = io.StringIO(), None, None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try: result = function(*args)
        except BaseException as problem:
            error = f'{type(problem).__name__}: {problem}'
            if not isinstance(problem, SystemExit): traceback.print_exc()
    pipe.send_bytes(pickle.dumps((result, error, out.getvalue())))   # whole tensors, no shared memory
    pipe.close()
    os._exit(1 if error else 0)


def together(function, *args, n=2, seconds=60):
    "For each process (what the function gave, error, what it printed, exit code); all are ended when this returns"
    from torch import distributed
    store = distributed.TCPStore('127.0.0.1', 0, is_master=True, wait_for_workers=False)
    common = dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(store.port), WORLD_SIZE=str(n), LOCAL_WORLD_SIZE=str(n),
                  TORCHELASTIC_USE_AGENT_STORE='True')
    loopback = [name for _, name in socket.if_nameindex() if name.startswith('lo')]
    if loopback: common['GLOO_SOCKET_IFNAME'] = loopback[0]
    made, running, until = context(), [], time.monotonic() + seconds
    try:
        for rank in range(n):
            mine, theirs = made.Pipe(duplex=False)
            env = common | dict(RANK=str(rank), LOCAL_RANK=str(rank))
            process = made.Process(target=_run, args=(function, args, env, theirs))
            process.start()
            theirs.close()
            running.append((process, mine))
        results = []
        for process, pipe in running:
            try: got = pickle.loads(pipe.recv_bytes()) if pipe.poll(max(0, until - time.monotonic())) else (None, 'still running', '')
            except EOFError: got = None, 'ended without a word', ''
            process.join(max(0, min(5, until - time.monotonic())))
            results.append((*got, process.exitcode))
        return results
    finally:
        for process, _ in running:
            if process.is_alive(): process.kill()
            process.join()


def results(function, *args, **how):
    "What the function gave in each process; AssertionError with the error and its lines if one failed"
    got = together(function, *args, **how)
    for rank, (_, error, text, _) in enumerate(got):
        assert error is None, f'process {rank}: {error}\n{text[-3000:]}'
    return [result for result, *_ in got]
