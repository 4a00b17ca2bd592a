"""One thread that paints what waits, several pictures of equal size at once; what waits is bounded."""

from __future__ import annotations

import math
import statistics
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nstlib.memory import allocation_named
from nstlib.styles import Style
from nstlib.stylist import KeepColor, Stylist

_REMEMBERED = 32  # of the last passes, to say how long the next will take


@dataclass(frozen=True)
class Painted:
    """A picture, and how long it took to come to it."""

    image: Tensor  # (1, 3, H, W) in [0, 1]
    waited: float  # seconds
    painted: float  # seconds of the pass, in which ``together`` pictures were painted
    together: int


@dataclass(frozen=True, eq=False)
class Order:
    """What is to be painted: the arguments of :meth:`Stylist.stylize`.

    Args:
        photo: (1, 3, H, W) in [0, 1].
        styles: encoded, or pictures where they are to be recoloured.
        weights: one for each style, which sum to 1.
        alpha: in [0, 1].
        keep_color: see :meth:`Stylist.stylize`.
    """

    photo: Tensor
    styles: Sequence[Style | Tensor]
    weights: Sequence[float]
    alpha: float
    keep_color: KeepColor | None
    since: float = field(default_factory=time.perf_counter)
    answer: Future[Painted] = field(default_factory=Future)

    @property
    def kind(self) -> tuple[object, ...]:
        """What is alike in orders that can be painted in one pass."""
        # A recoloured style is of one photo: such an order has a pass of its own.
        alone = id(self) if self.keep_color == "match" else None
        return tuple(self.photo.shape), self.keep_color, alone


class Painter:
    """Paints orders in the order they come in; those of equal size that wait go in one pass.

    Nobody waits for a pass to fill: a lone order is painted at once, and under a load passes fill by
    themselves.

    Args:
        stylist: which paints, on the painter's thread alone.
        places: how many orders it holds, with those that are painted.
        batch: how many it paints in one pass at most.
    """

    def __init__(self, stylist: Stylist, places: int, batch: int) -> None:
        self._stylist, self._places, self._batch = stylist, places, batch
        self._waiting: deque[Order] = deque()
        self._changed = threading.Condition()
        self._is_over = False
        self._seconds: deque[float] = deque([0.2], _REMEMBERED)  # of a picture; a guess at first
        self._thread = threading.Thread(target=self._work, name="nst-painter", daemon=True)
        self._in_hand: list[Order] = []

    @property
    def painting(self) -> int:
        """How many orders are painted right now."""
        return len(self._in_hand)

    @property
    def waiting(self) -> int:
        """How many orders wait to be painted."""
        return len(self._waiting)

    def start(self) -> None:
        """Begin to paint."""
        self._thread.start()

    def stop(self) -> None:
        """Paint no more; what waits is cancelled."""
        with self._changed:
            self._is_over = True
            for order in self._waiting:
                order.answer.cancel()
            self._waiting.clear()
            self._changed.notify()
        self._thread.join()

    def put(self, order: Order) -> bool:
        """Take an order, whose ``answer`` will be its picture; or return False: no place is left."""
        with self._changed:
            if self._is_over or len(self._waiting) + self.painting >= self._places:
                return False
            self._waiting.append(order)
            self._changed.notify()
        return True

    def withdraw(self, order: Order) -> None:
        """Give up an order, and its place; one that is painted already is painted to the end."""
        with self._changed:
            if order.answer.cancel() and order in self._waiting:
                self._waiting.remove(order)

    def seconds_to_wait(self) -> int:
        """Return in how many seconds a picture that is not taken now should come again."""
        with self._changed:
            ahead = self.waiting + self.painting
            return max(1, math.ceil(ahead * statistics.median(self._seconds)))

    def _work(self) -> None:
        while self._pass():
            pass

    def _pass(self) -> bool:
        """Paint what can be painted together, and answer; False at the end."""
        made: Sequence[Painted | Exception]
        try:
            made = self._painted() if self._take() else []
        except Exception as error:  # whatever it is, it is the answer, and the next one is painted
            made = [error] * self.painting
        except BaseException as error:  # even an exit: nobody is to wait for a thread that is gone
            made = [RuntimeError(f"painting was ended by {error!r}")] * self.painting
        with self._changed:  # who has an answer has left its place
            orders, self._in_hand = self._in_hand, []
        for order, one in zip(orders, made, strict=True):
            if isinstance(one, Exception):
                order.answer.set_exception(one)
            else:
                order.answer.set_result(one)
        return bool(orders)

    def _take(self) -> bool:
        """Wait for orders, and take those of the next pass in hand; False at the end."""
        with self._changed:
            while not self._is_over:
                while self._waiting and not self._in_hand:
                    self._take_one(self._waiting[0])
                if self._in_hand:
                    self._take_alike(self._in_hand[0])
                    return True
                self._changed.wait()
        return False

    def _take_alike(self, first: Order) -> None:
        """Take others that can be painted with the first one, as many as there may be."""
        alike = [order for order in self._waiting if order.kind == first.kind]
        for order in alike[: self._batch - 1]:
            self._take_one(order)

    def _take_one(self, order: Order) -> None:
        """Take an order in hand that waits, if it is still wanted: its client may have gone."""
        self._waiting.remove(order)
        if order.answer.set_running_or_notify_cancel():
            self._in_hand.append(order)

    def _painted(self) -> Sequence[Painted]:
        """Return what is made of the orders in hand, in one pass."""
        orders, started = self._in_hand, time.perf_counter()
        with allocation_named():
            pictures = together(self._stylist, orders).cpu()  # waits for the device
        seconds = time.perf_counter() - started
        with self._changed:
            self._seconds.append(seconds / len(orders))
        return [
            Painted(picture[None], started - order.since, seconds, len(orders))
            for order, picture in zip(orders, pictures, strict=True)
        ]


def together(stylist: Stylist, orders: Sequence[Order]) -> Tensor:
    """Return the pictures of orders of one :attr:`Order.kind`, in one pass: (N, 3, H, W).

    The pass knows the styles of all orders; each picture has a row of weights for them, in which
    those of other orders have none.

    Example:
        >>> from nstlib.adain import load_adain
        >>> stylist, photo = Stylist(load_adain()), torch.rand(1, 3, 32, 40)
        >>> a, b = (stylist.style(torch.rand(1, 3, 32, 32)) for _ in range(2))
        >>> orders = [Order(photo, [a], [1.0], 1.0, None), Order(photo, [a, b], [0.5, 0.5], 0.5, None)]
        >>> tuple(together(stylist, orders).shape)
        (2, 3, 32, 40)
    """
    styles = {id(style): style for order in orders for style in order.styles}
    column = {key: index for index, key in enumerate(styles)}
    weights = torch.zeros(len(orders), len(styles))
    for row, order in enumerate(orders):
        for style, weight in zip(order.styles, order.weights, strict=True):
            weights[row, column[id(style)]] += weight
    first = orders[0]
    return stylist.stylize(
        [order.photo for order in orders],
        list(styles.values()),
        weights=weights,
        alpha=[order.alpha for order in orders],
        keep_color=first.keep_color,
    )
