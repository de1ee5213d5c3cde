"""Running a function in several processes that join, for tests."""

import gc
import multiprocessing
import os
import socket
from collections.abc import Callable
from contextlib import nullcontext
from multiprocessing.connection import Connection
from typing import Any

import torch

from astseg._core import processes

MAX_SECONDS = 300
"""A busy machine may need many; a test that hangs must end."""


def leave_garbage_to_parent() -> None:
    """Let a process that was forked collect nothing that its parent made.

    To close a video, PyAV stops threads that decode, and these a fork does not have: it would crash or stand still.
    """
    gc.freeze()


def run_together(work: Callable[..., Any], count: int, *arguments: Any, joined: bool = True) -> list[Any]:
    """Return what a function returns in each of several processes that have joined, or its error.

    Args:
        work: the function.
        count: the number of processes.
        arguments: of the function.
        joined: False if the function has them join by itself.
    """
    context = multiprocessing.get_context("fork")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    receivers, children = [], []
    for rank in range(count):
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(target=_work, args=(sender, rank, count, port, work, arguments, joined))
        child.start()
        sender.close()
        receivers.append(receiver)
        children.append(child)
    try:
        return [_received(receiver) for receiver in receivers]
    finally:
        for child in children:
            child.kill()
            child.join()


def _received(receiver: Connection) -> Any:
    assert receiver.poll(MAX_SECONDS), "a process hangs"
    try:
        return receiver.recv()
    except EOFError:
        return None  # killed


def _work(
    sender: Connection,
    rank: int,
    count: int,
    port: int,
    work: Callable[..., Any],
    arguments: tuple[Any, ...],
    joined: bool,
) -> None:
    leave_garbage_to_parent()
    torch.set_num_threads(1)
    places = {"RANK": rank, "WORLD_SIZE": count, "LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in places.items()})
    try:
        with processes.joined(torch.device("cpu")) if joined else nullcontext():
            result = work(*arguments)
    except Exception as error:
        result = error
    sender.send(result)
    sender.close()
    os._exit(0)
