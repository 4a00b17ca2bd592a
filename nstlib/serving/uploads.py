"""Pictures that clients send: decoded off the event loop, and kept for when they come again."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, TypeVar

from torch import Tensor

from nstlib.images import at_size, load_image, resize
from nstlib.serving.problems import Problem, full, stopping, told
from nstlib.serving.settings import Settings

Answer = TypeVar("Answer")
SMALLEST = 16  # px: the shorter side that can be asked for
_THREADS = 2  # each holds a decoded picture of max_pixels for a moment


class KeptPictures:
    """Pictures by what their files hold, as many as fit: the one asked for longest ago goes first.

    Example:
        >>> import torch
        >>> kept = KeptPictures(most_bytes=100)
        >>> a, b = kept.put("a", torch.zeros(10)), kept.put("b", torch.zeros(10))
        >>> kept.get("a") is not None
        True
        >>> c = kept.put("c", torch.zeros(10))
        >>> kept.get("b") is None, kept.get("a") is not None, kept.bytes
        (True, True, 80)
    """

    def __init__(self, most_bytes: int) -> None:
        self._most, self.bytes = most_bytes, 0
        self._pictures: OrderedDict[str, Tensor] = OrderedDict()
        self._one_at_a_time = threading.Lock()

    def get(self, key: str) -> Tensor | None:
        """Return a kept picture, or None."""
        with self._one_at_a_time:
            if key in self._pictures:
                self._pictures.move_to_end(key)
            return self._pictures.get(key)

    def put(self, key: str, picture: Tensor) -> Tensor:
        """Keep a picture, and return it, or the one that has been kept meanwhile.

        One that is larger than the whole is not kept.
        """
        with self._one_at_a_time:
            if picture.nbytes > self._most or key in self._pictures:
                return self._pictures.get(key, picture)
            self._pictures[key] = picture
            self.bytes += picture.nbytes
            while self.bytes > self._most:
                _, oldest = self._pictures.popitem(last=False)
                self.bytes -= oldest.nbytes
            return picture

    def __len__(self) -> int:
        return len(self._pictures)


class Uploads:
    """Reads pictures from bytes, in a few threads of its own.

    Args:
        settings: the limits.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._threads = ThreadPoolExecutor(_THREADS, "nst-pictures")
        self._free = asyncio.Semaphore(_THREADS)
        self.kept = KeptPictures(settings.kept_bytes)

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def photo(self, name: str, file: BinaryIO, size: int | None) -> Tensor:
        """Return a picture (1, 3, H, W) that is to be painted, of a shorter side, or its own size.

        Raises:
            Problem: not a picture, too large, or not to be read in time.
        """
        late = f"{name} could not be read"
        return await self.off_loop(
            late, self._kept, name, file, f"photo at {size}", self._read_photo, size
        )

    async def style(self, name: str, file: BinaryIO) -> Tensor:
        """Return a style picture, at the size that styles are seen at, or its own if that is less."""
        late, size = f"{name} could not be read", self._settings.style_size
        return await self.off_loop(late, self._kept, name, file, "style", self._read_style, size)

    def _kept(
        self,
        name: str,
        file: BinaryIO,
        use: str,
        read: Callable[[str, bytes, int | None], Tensor],
        size: int | None,
    ) -> Tensor:
        # Read here, a file is in memory while a thread works on it, not while it waits for one.
        data = file.read()
        key = f"{hashlib.sha256(data).hexdigest()} {use}"
        picture = self.kept.get(key)
        return self.kept.put(key, read(name, data, size)) if picture is None else picture

    async def off_loop(self, late: str, work: Callable[..., Answer], *given: object) -> Answer:
        """Return what ``work`` does in a thread.

        Raises:
            Problem: it took too long, or no thread came free for as long. (A thread goes on until its
                work is done: no other can end it.)
        """
        loop, seconds = asyncio.get_running_loop(), self._settings.decode_seconds
        try:
            async with asyncio.timeout(seconds):
                await self._free.acquire()
        except TimeoutError as error:
            raise full(math.ceil(seconds)) from error
        try:
            running = self._threads.submit(work, *given)
        except RuntimeError as error:  # they are shut down
            raise stopping() from error
        running.add_done_callback(lambda _: self._freed(loop))
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.wrap_future(running)
        except TimeoutError as error:
            raise Problem(422, f"{late} in {seconds:g} s") from error

    def _freed(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give a thread to the next who waits for one; it is called in that thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(self._free.release)

    def _read_photo(self, name: str, data: bytes, size: int | None) -> Tensor:
        with told(name):
            photo = load_image(data, max_pixels=self._settings.max_pixels)
            height, width = photo.shape[2:]
            shrink = 1.0 if size is None else size / min(height, width)
            most = self._settings.max_painted
            if shrink**2 * height * width > most:
                fits = int(min(height, width) * (most / (height * width)) ** 0.5)
                advice = f"size={fits} fits" if fits >= SMALLEST else "none fits: it is too thin"
                if fits < SMALLEST and height * width <= most:
                    advice = "without size it fits"
                raise Problem(
                    413,
                    f"{name} would be painted at {round(width * shrink)} x {round(height * shrink)} "
                    f"pixels, over max_painted = {most:,}; {advice}",
                )
            return photo if size is None else resize(photo, size)

    def _read_style(self, name: str, data: bytes, size: int | None) -> Tensor:
        with told(name):
            picture = load_image(data, max_pixels=self._settings.max_pixels)
            return at_size(picture, size or self._settings.style_size)
