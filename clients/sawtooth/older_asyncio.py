"""Gives Python's asyncio back what the Sawtooth SDK of 2021 uses and Python has taken away since (3.9 to 3.11).

The SDK itself is the published one, unchanged. Import this before it.
"""

import asyncio
import functools
import inspect
import types


def coroutine(function):
    """A generator or a plain function, as something to be awaited."""
    awaitable = types.coroutine(function) if inspect.isgeneratorfunction(function) else None

    @functools.wraps(function)
    async def call(*args, **kwargs):
        return await awaitable(*args, **kwargs) if awaitable else function(*args, **kwargs)

    return call


class Queue(asyncio.Queue):
    def __init__(self, maxsize=0, *, loop=None):
        super().__init__(maxsize)


class Task(asyncio.Task):
    all_tasks = staticmethod(asyncio.all_tasks)


if not hasattr(asyncio, "coroutine"):
    asyncio.coroutine = coroutine
    asyncio.Queue = Queue
    asyncio.Task = Task
