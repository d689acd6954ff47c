"""The behaviours of a recipient, one function each: what is sent when, and how it counts.

An answer is noted before it is sent, since the client may act upon it at once. That it reached nobody shows later.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from scripts.faults.recipient_exchange import Exchange, answer

_PIECE: Final = bytes(16384)
_PIECE_SECONDS: Final = 0.02
_HEAD: Final = "HTTP/1.1 {} Recorded\r\n{}\r\n"
_INTERIM: Final = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
_MEBIBYTE: Final = 1 << 20
_TEBIBYTE: Final = 1 << 40
_CROSSING_SECONDS: Final = 1.0

Act = Callable[[Exchange], None]


def _head(exchange: Exchange, fields: str = "") -> bytes:
    return _HEAD.format(exchange.behaviour.code, fields).encode()


def _answer(exchange: Exchange) -> None:
    exchange.finish()
    exchange.send(exchange.answer)
    exchange.close_unless_kept()


def _delay(exchange: Exchange) -> None:
    exchange.after(exchange.behaviour.pause, partial(_answer, exchange))


def _late(exchange: Exchange) -> None:
    def answer_late() -> None:
        exchange.finish_ambiguously("answered late")
        exchange.send(exchange.answer)
        exchange.spoil()

    exchange.after(exchange.behaviour.pause, answer_late)


def _silent(exchange: Exchange) -> None:
    del exchange


def _slow_headers(exchange: Exchange) -> None:
    data = exchange.answer

    def send_byte(at: int) -> None:
        last = at + 1 == len(data)
        if last:
            exchange.finish()
        else:
            exchange.begin_answer()
        exchange.send(data[at : at + 1])
        if not last:
            exchange.after(exchange.behaviour.pause, partial(send_byte, at + 1))

    send_byte(0)


def _slow_body(exchange: Exchange) -> None:
    exchange.begin_answer()
    exchange.send(_head(exchange, f"Content-Length: {_MEBIBYTE}\r\n"))
    exchange.repeat(b"x", exchange.behaviour.pause)


def _endless(fields: str, piece: bytes) -> Act:
    def act(exchange: Exchange) -> None:
        exchange.finish_ambiguously("answered without end")
        exchange.send(_head(exchange, fields))
        exchange.spoil()
        exchange.repeat(piece, _PIECE_SECONDS)

    return act


def _early(exchange: Exchange) -> None:
    exchange.send(exchange.answer)
    exchange.read_later(exchange.behaviour.pause)


def _reset_at(exchange: Exchange) -> None:
    data = exchange.answer
    cut = exchange.next_cut(len(data))

    def reset() -> None:
        if cut == len(data):
            exchange.finish_ambiguously("reset after its answer")
        exchange.reset()

    if cut:
        exchange.begin_answer()
        exchange.send(data[:cut])
    exchange.when_sent(reset)


def _close(exchange: Exchange) -> None:
    _answer(exchange)
    exchange.close()


def _unframed(exchange: Exchange) -> None:
    exchange.finish()
    exchange.send(_head(exchange) + b"ok")
    exchange.close()


def _interim(exchange: Exchange) -> None:
    exchange.finish_ambiguously("answered after interim answers")
    exchange.send(_INTERIM * 3 + exchange.answer)


def _interim_flood(exchange: Exchange) -> None:
    exchange.repeat(_INTERIM * 100, _PIECE_SECONDS)


def _garbage(exchange: Exchange) -> None:
    exchange.send(b"\x00\x01\xff\xfe 200 OK\r\n\r\n" * 100)


def _redirect(exchange: Exchange) -> None:
    exchange.finish()
    exchange.send(answer(exchange.behaviour.code, exchange.behaviour.retry_after, exchange.own_url))
    exchange.close_unless_kept()


def _huge_header(exchange: Exchange) -> None:
    exchange.finish_ambiguously("answered with a huge header")
    exchange.send(_head(exchange, f"X-Huge: {'x' * _MEBIBYTE}\r\nContent-Length: 2\r\n") + b"ok")


def _endless_headers(exchange: Exchange) -> None:
    exchange.begin_answer()
    exchange.send(f"HTTP/1.1 {exchange.behaviour.code} Recorded\r\n".encode())
    exchange.repeat(b"X: y\r\n" * 1000, _PIECE_SECONDS)


def _length_too_long(exchange: Exchange) -> None:
    exchange.begin_answer()
    exchange.send(_head(exchange, "Content-Length: 100\r\n") + b"half of it")
    exchange.close()


def _length_too_short(exchange: Exchange) -> None:
    exchange.finish_ambiguously("answered with more than its length")
    exchange.send(exchange.answer + b"k" * 100)
    exchange.spoil()


def _extra(exchange: Exchange) -> None:
    exchange.finish_ambiguously("answered twice")
    exchange.send(exchange.answer + answer(200))
    exchange.spoil()


def _extra_idle(exchange: Exchange) -> None:
    def send_extra() -> None:
        exchange.send(answer(200))
        exchange.spoil(_CROSSING_SECONDS)

    _answer(exchange)
    exchange.after(exchange.behaviour.pause, send_extra)


def _early_is_whole(exchange: Exchange) -> None:
    exchange.finish_ambiguously("answered before it was read")


AT_HEAD: Final[dict[str, Act]] = {
    "early": _early,
    "reset-before-body": Exchange.reset,
}
"""What is done when the head of a request has been read."""

AT_END: Final[dict[str, Act]] = {
    "ok": _answer,
    "status": _answer,
    "delay": _delay,
    "late": _late,
    "silent": _silent,
    "slow-headers": _slow_headers,
    "slow-body": _slow_body,
    "endless-chunked": _endless("Transfer-Encoding: chunked\r\n", b"4000\r\n" + _PIECE + b"\r\n"),
    "endless-length": _endless(f"Content-Length: {_TEBIBYTE}\r\n", _PIECE),
    "endless-unframed": _endless("", _PIECE),
    "early": _early_is_whole,
    "reset-at": _reset_at,
    "reset-before-body": _silent,
    "close": _close,
    "unframed": _unframed,
    "interim": _interim,
    "interim-flood": _interim_flood,
    "garbage": _garbage,
    "redirect": _redirect,
    "huge-header": _huge_header,
    "endless-headers": _endless_headers,
    "length-too-long": _length_too_long,
    "length-too-short": _length_too_short,
    "extra": _extra,
    "extra-idle": _extra_idle,
}
"""What is done when the whole request has been read."""
