"""Base58, the text form of Solana's addresses, block hashes and signatures: bytes as one big-endian number."""

from __future__ import annotations

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_DIGIT = {character: value for value, character in enumerate(ALPHABET)}
_RADIX = len(ALPHABET)
# The longest text for so many bytes is ceil(bytes * log(256) / log(58)); 1.37 is a little above that ratio.
_CHARACTERS_PER_BYTE = (137, 100)


def encode(raw: bytes) -> str:
    """The text of some bytes. Each leading zero byte is a leading "1"."""
    number = int.from_bytes(raw, "big")
    digits: list[str] = []
    while number:
        number, digit = divmod(number, _RADIX)
        digits.append(ALPHABET[digit])
    leading_zeros = len(raw) - len(raw.lstrip(b"\0"))
    return ALPHABET[0] * leading_zeros + "".join(reversed(digits))


def decode(text: str, length: int) -> bytes:
    """The bytes of a text.

    Args:
        length: how many bytes it must stand for: 32 for an address, 64 for a signature.

    Raises:
        ValueError: a character outside the alphabet, or another length.
    """
    wrong = ValueError(f"This is not the base58 text of {length} bytes.")
    more, per = _CHARACTERS_PER_BYTE
    if len(text) > length * more // per + 1:
        raise wrong
    number = 0
    for character in text:
        digit = _DIGIT.get(character)
        if digit is None:
            raise wrong
        number = number * _RADIX + digit
    leading_zeros = len(text) - len(text.lstrip(ALPHABET[0]))
    significant = (number.bit_length() + 7) // 8
    if leading_zeros + significant != length:
        raise wrong
    return number.to_bytes(length, "big")
