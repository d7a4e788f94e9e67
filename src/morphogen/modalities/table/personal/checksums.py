"""Numbers of persons and accounts whose last digits check the others."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

_DNI = "TRWAGMYFPDXBNJZSQVHLCKE"  # letters of the Spanish identity card, Orden INT/2058/2008


class Checksum(NamedTuple):
    """A rule that valid numbers satisfy; `places` are the characters (without spaces and signs) that it determines."""

    form: str
    words: str
    is_valid: Callable[[str], bool]
    places: tuple[int, ...]
    digits: Callable[[str], str] | None = None  # what stands there, where a formula says so


def plain(value: str) -> str:
    """Return the letters and digits of a value, letters as capitals."""
    return re.sub(r"[\W_]", "", value).upper()


def _iban(text: str) -> bool:
    """ISO 13616: with the first four characters moved to the end, the number is 1 modulo 97."""
    if not re.fullmatch(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}", text):
        return False
    return int("".join(str(int(one, 36)) for one in text[4:] + text[:4])) % 97 == 1


def _iban_digits(text: str) -> str:
    return f"{98 - int(''.join(str(int(one, 36)) for one in text[4:] + text[:2] + '00')) % 97:02d}"


def _luhn(text: str) -> bool:
    """ISO/IEC 7812-1, of payment cards."""
    if not re.fullmatch(r"[2-6]\d{11,18}", text):
        return False
    doubled = [sum(divmod(2 * int(one), 10)) for one in text[-2::-2]]
    return (sum(doubled) + sum(map(int, text[-1::-2]))) % 10 == 0


def _dni(text: str) -> bool:
    """Spain: a letter by the number modulo 23; of foreigners X, Y or Z stands for 0, 1 or 2."""
    if not re.fullmatch(r"[XYZ\d]\d{7}[A-Z]", text):
        return False
    return _DNI[int(text[:-1].replace("X", "0").replace("Y", "1").replace("Z", "2")) % 23] == text[-1]


def _nir(text: str) -> bool:
    """France: 97 minus the first thirteen digits modulo 97."""
    if not re.fullmatch(r"[12]\d{2}(0[1-9]|1[0-2]|[2-9]\d)\d(\d|[AB])\d{8}", text):
        return False
    return 97 - int(text[:13].replace("2A", "19").replace("2B", "18")) % 97 == int(text[13:])


def _tckn(text: str) -> bool:
    """Turkey: the tenth and the eleventh digit check the nine before."""
    if not re.fullmatch(r"[1-9]\d{10}", text):
        return False
    digits = [int(one) for one in text]
    tenth = (7 * sum(digits[0:9:2]) - sum(digits[1:8:2])) % 10
    return tenth == digits[9] and sum(digits[:10]) % 10 == digits[10]


def _cpf(text: str) -> bool:
    """Brazil: two digits, each of all before it, modulo 11."""
    if not re.fullmatch(r"\d{11}", text) or len(set(text)) == 1:
        return False
    return all(
        sum(int(one) * (length + 1 - at) for at, one in enumerate(text[:length])) * 10 % 11 % 10 == int(text[length])
        for length in (9, 10)
    )


def _bsn(text: str) -> bool:
    """The Netherlands: weights 9 to 2 and -1, modulo 11."""
    if not re.fullmatch(r"\d{9}", text) or not int(text):
        return False
    return sum(int(one) * weight for one, weight in zip(text, (9, 8, 7, 6, 5, 4, 3, 2, -1), strict=True)) % 11 == 0


def _steuer_id(text: str) -> bool:
    """Germany: ISO 7064, MOD 11, 10."""
    if not re.fullmatch(r"[1-9]\d{10}", text):
        return False
    product = 10
    for one in text[:10]:
        product = 2 * ((int(one) + product) % 10 or 10) % 11
    return (11 - product) % 10 == int(text[10])


def _pesel(text: str) -> bool:
    """Poland: weights 1, 3, 7, 9, modulo 10."""
    if not re.fullmatch(r"\d{11}", text):
        return False
    weights = (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)
    return sum(int(one) * weight for one, weight in zip(text, weights, strict=True)) % 10 == 0


def _codice_fiscale(text: str) -> bool:
    """Italy: a letter by the values of the odd and the even characters, modulo 26."""
    if not re.fullmatch(r"[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]", text):
        return False
    odd = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)
    values = [int(one) if one.isdigit() else ord(one) - 65 for one in text[:15]]
    total = sum(odd[value] if at % 2 == 0 else value for at, value in enumerate(values))
    return chr(65 + total % 26) == text[15]


CHECKSUMS = (
    Checksum("iban", "an IBAN, by its checksum", _iban, (2, 3), _iban_digits),
    Checksum("credit card", "a card number, by its checksum", _luhn, (-1,)),
    Checksum("national id", "a Spanish DNI, by its letter", _dni, (-1,)),
    Checksum("national id", "a French NIR, by its checksum", _nir, (-2, -1)),
    Checksum("national id", "an Italian codice fiscale, by its letter", _codice_fiscale, (-1,)),
    Checksum("national id", "a Turkish identity number, by its checksum", _tckn, (-2, -1)),
    Checksum("national id", "a Brazilian CPF, by its checksum", _cpf, (-2, -1)),
    Checksum("national id", "a German tax number, by its checksum", _steuer_id, (-1,)),
    Checksum("national id", "a Polish PESEL, by its checksum", _pesel, (-1,)),
    Checksum("national id", "a Dutch BSN, by its checksum", _bsn, (-1,)),
)
