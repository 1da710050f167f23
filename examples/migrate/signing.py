"""The work of all programs here: sign a text."""

import hashlib

KEY = b"a secret key"
MOST_ROUNDS = 1_000_000  # half a second


def sign(line: bytes) -> bytes:
    """Return `SIGNATURE TEXT` for `ROUNDS TEXT`."""
    number, _, text = bytes(line).partition(b" ")
    rounds = int(number) if number.isdigit() else 0
    if not 1 <= rounds <= MOST_ROUNDS:
        return b"error: write ROUNDS TEXT"
    key = hashlib.pbkdf2_hmac("sha256", text, KEY, rounds)
    return key.hex().encode() + b" " + text


sign.idempotent = True  # executors may call it twice for a line
