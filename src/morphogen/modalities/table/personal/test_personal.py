"""Personal data: recognised in several languages and for a reason, made anew alike, agreeing within a row, and new."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import numpy as np
import pytest

from morphogen.modalities.table.personal.checksums import CHECKSUMS, plain
from morphogen.modalities.table.personal.exclusion import Exclusion
from morphogen.modalities.table.personal.keys import KeyForm, find_form
from morphogen.modalities.table.personal.lists import match_names
from morphogen.modalities.table.personal.make import make_columns, make_different
from morphogen.modalities.table.personal.recipe import Recipe, find_recipe
from morphogen.modalities.table.personal.recognise import recognise
from morphogen.modalities.table.personal.words import form_of_name, is_called_code, is_called_person_key, person_of

faker = pytest.importorskip("faker")


def fakes(method: str, locale: str = "en_US", count: int = 60) -> list[str]:
    """Return what Faker makes."""
    make = faker.Faker(locale)
    make.seed_instance(1)
    return [str(getattr(make, method)()).replace("\n", ", ") for _ in range(count)]


def form(name: str, values: list[str], **options: Any) -> str:
    recognised = recognise(name, values, **options)
    return recognised.form if recognised else ""


def words(count: int) -> Any:
    return np.random.default_rng(0).integers(0, 2**63, count).astype(np.uint64)


@pytest.mark.parametrize(
    "locale",
    [
        "en_US",
        "de_DE",
        "fr_FR",
        "es_ES",
        "it_IT",
        "pt_BR",
        "nl_NL",
        "tr_TR",
        "ru_RU",
        "el_GR",
        "ar_AA",
        "zh_CN",
        "ko_KR",
    ],
)
def test_names_are_recognised_by_their_values_in_a_column_called_anything(locale: str) -> None:
    names = fakes("name", locale)
    assert form("x", names) == "name"
    assert form("x", names[:4] * 20, repeated=True) == "name"
    assert form("x", [f"Dr. {name}" for name in names]) == "name"
    assert match_names(names).locale[:2] == locale[:2]


@pytest.mark.parametrize(
    ("expected", "names"),
    [
        ("first name", "first_name FirstName Vorname prénom voornaam primer_nombre имя"),
        (
            "last name",
            "last_name surname Nachname nom_de_famille apellidos cognome sobrenome achternaam soyadı фамилия",
        ),
        ("email", "email e-mail E-Mail-Adresse correo courriel eposta"),
        ("phone", "phone Tel telefono téléphone Handynummer Telefonnummer celular cep_telefonu gsm"),
        ("address", "address street Straße adresse dirección indirizzo endereço straat adresi"),
        ("national id", "SSN dni nif codice_fiscale cpf bsn tc_kimlik steuer_id Reisepass passport_no"),
        ("name", "full_name customerName nom_complet nombre_completo nome_completo volledige_naam ad_soyad ФИО 姓名"),
    ],
)
def test_names_of_columns_in_several_languages(expected: str, names: str) -> None:
    for name in names.split():
        assert form_of_name(name) == expected, name
    assert person_of("patient_email") == person_of("patient_name") == "patient"
    assert person_of("email") == person_of("first_name") == ""


@pytest.mark.parametrize(
    ("expected", "method", "locale"),
    [
        ("email", "email", "en_US"), ("phone", "phone_number", "de_DE"), ("phone", "phone_number", "fr_FR"),
        ("iban", "iban", "de_DE"), ("uuid", "uuid4", "en_US"), ("ip", "ipv4", "en_US"), ("national id", "ssn", "en_US"),
        ("national id", "ssn", "it_IT"), ("national id", "ssn", "tr_TR"), ("national id", "cpf", "pt_BR"),
        ("national id", "nif", "es_ES"), ("address", "street_address", "en_US"), ("address", "street_address", "de_DE"),
        ("address", "street_address", "fr_FR"), ("address", "address", "it_IT"), ("address", "street_address", "nl_NL"),
    ],
)  # fmt: skip
def test_values_are_recognised_without_the_name_of_the_column(expected: str, method: str, locale: str) -> None:
    assert form("x", fakes(method, locale)) == expected


def test_what_is_no_personal_data() -> None:
    for name, values in {
        "race": ["White", "Black", "Asian-Pac-Islander", "Amer-Indian-Eskimo", "Other"],
        "city": fakes("city"),
        "city_name": ["Austin", "Madison", "Jackson", "Lincoln", "Houston", "Charlotte", "Florence", "Aurora"] * 3,
        "company": fakes("company"),
        "job": fakes("job"),
        "country": fakes("country"),
        "product_name": ["Rose", "Lily", "Daisy", "Iris", "Violet", "Jasmine", "Olive", "Ruby", "Pearl", "Amber"],
        "date": ["2017-04-28", "2018-01-02", "2019-11-30"] * 9,
        "day": ["28.04.2017", "02.01.2018", "30.11.2019"] * 9,
        "version": ["1.2.3", "2.0.1", "10.4.2"],
        "client": ["retail", "corporate", "public"],
        "amount": [str(n * 1234567) for n in range(1, 60)],
        "color": ["Red", "Green", "Brown", "Black", "White", "Gray", "Blue", "Pink"],
    }.items():
        assert form(name, values, repeated=True) == "", name
    assert form("amount", [str(n * 1234567) for n in range(1, 60)], are_numbers=True) == ""
    assert form("mobile", [str(491510000000 + 77 * n) for n in range(50)], are_numbers=True) == "phone"
    assert [is_called_code(name) for name in ("ZIP", "Postleitzahl", "zipper")] == [True, True, False]
    names = ("patient_id", "Kundennummer", "product_id", "patient_age")
    assert [is_called_person_key(name) for name in names] == [True, True, False, False]


def test_dishes_in_a_column_called_name_are_no_people_where_they_repeat() -> None:
    dishes = [
        f"{a} {b}" for a in ("Pork", "Bean", "Rice", "Fish", "Corn") for b in ("Soup", "Pie", "Stew", "Salad", "Roll")
    ]
    assert form("name", dishes, repeated=True) == ""
    assert form("name", dishes) == "name"  # different in every row: people until a user says otherwise


@pytest.mark.parametrize(
    ("method", "locale"),
    [("iban", "de_DE"), ("credit_card_number", "en_US"), ("ssn", "it_IT"), ("ssn", "tr_TR"), ("cpf", "pt_BR"),
     ("nif", "es_ES"), ("ssn", "fr_FR"), ("pesel", "pl_PL"), ("ssn", "nl_NL")],
)  # fmt: skip
def test_made_numbers_pass_the_checksum_that_the_real_ones_pass(method: str, locale: str) -> None:
    real = [one for one in fakes(method, locale, 200) if any(rule.is_valid(plain(one)) for rule in CHECKSUMS)]
    recognised = recognise("x", real)
    assert recognised is not None
    recipe = find_recipe(recognised.form, real, rows=200, person="", rare=5, locale="")
    made = make_columns({"x": recipe}, {"x": words(100)}, range(100))["x"]
    (rule,) = [one for one in CHECKSUMS if one.words == recipe.checksum]
    assert all(value is None or rule.is_valid(plain(value)) for value in made)
    assert not set(made) & set(real)
    assert {len(one) for one in made if one} <= {len(one) for one in real}


def test_the_values_of_a_person_agree_and_are_nobodys() -> None:
    first, last = fakes("first_name", "de_DE", 300), fakes("last_name", "de_DE", 300)
    full = [f"{b.upper()}, {a.upper()}" for a, b in zip(first, last, strict=True)]
    columns = {"first_name": first, "last_name": last, "name": full, "email": fakes("email", "de_DE", 300)}
    forms = {"first_name": "first name", "last_name": "last name", "name": "name", "email": "email"}
    recipes = {
        name: find_recipe(forms[name], values, rows=400, person="", rare=5, locale="de_DE")
        for name, values in columns.items()
    }
    recipes = {name: Recipe.from_state(json.loads(json.dumps(one.state()))) for name, one in recipes.items()}
    made = make_columns(recipes, {name: words(400) for name in recipes}, range(400))
    rows = [row for row in zip(*made.values(), strict=True) if None not in row]
    assert 0.15 < 1 - len(rows) / 400 < 0.85  # a quarter of each column is missing
    for own_first, own_last, own_full, email in rows:
        assert own_full == f"{own_last}, {own_first}".upper()
        assert email.endswith(("@example.com", "@example.org", "@example.net"))
        plain_last = re.sub(r"[^a-z]", "", own_last.lower())
        assert plain_last[:3] in email or not own_last.isascii()
    for name, values in columns.items():
        own = [value for value in made[name] if value is not None]
        assert not set(own) & set(values), name
        assert 0.65 < len(own) / 400 < 0.85
        assert len(set(own)) > 100


def test_titles_and_prefixes_stay_where_enough_rows_have_them() -> None:
    names = [f"Dr. {name}" for name in fakes("name", count=40)] + [f"Prof. {name}" for name in fakes("name", count=3)]
    recipe = find_recipe("name", names, rows=43, person="", rare=5, locale="")
    assert recipe.styles == ("Dr. {first} {last}|",)
    phones = [f"+49 151 {n * 7919 % 10**7:07d}" for n in range(100)] + ["+1 (555) 010-9999"]
    recipe = find_recipe("phone", phones, rows=101, person="", rare=5, locale="")
    made = make_columns({"x": recipe}, {"x": words(300)}, range(300))["x"]
    assert all(re.fullmatch(r"\+49 151 \d{7}", value or "") for value in made)
    assert not set(made) & set(phones)


def test_people_in_many_rows_have_as_many_pseudonyms() -> None:
    names = fakes("name", "tr_TR", 50)
    recipe = find_recipe("name", names * 6, rows=300, person="", rare=5, locale="", repeated=True)
    made = make_different(recipe, 50)
    assert len(set(made)) == 50
    assert not set(made) & set(names)


@pytest.mark.parametrize(
    "keys",
    [
        [f"P{n:03d}" for n in range(1, 801)],
        [str(n) for n in range(1, 801)],
        [f"AB-{n * 7919 % 10**6:06d}" for n in range(600)],
        [chr(65 + n // 26) + chr(65 + n % 26) for n in range(600)],
        [f"{n * 0x9E3779B97F4A7C15 % 2**64:016x}" for n in range(500)],
        [f"客户{n}" for n in range(300)],
        [f"😀{n}" for n in range(300)],
        [f"Ж-{n:04d}" for n in range(300)],
    ],
)
def test_keys_are_new_and_different(keys: list[str]) -> None:
    form = find_form(keys, 5)
    form = KeyForm.from_state(json.loads(json.dumps(form.state())))
    made = [form.make(seed) for seed in [*range(5000), 10**9, 2**62]]
    assert len(set(made)) == len(made)
    assert not set(made) & set(keys)
    shape = Counter(re.sub(r"\d", "9", key)[:2] for key in keys)
    assert all(re.sub(r"\d", "9", key)[:1] in {one[:1] for one in shape} or key[:1].isalnum() for key in made[:50])


@pytest.mark.parametrize(
    ("keys", "form"),
    [
        ([f"12345678901234{n:04d}.78" for n in range(200)], r"\d{18}\.78"),
        ([f"{n:04d}.{n % 100:02d}" for n in range(200)], r"\d+\.\d\d"),
        ([f"{n},5" for n in range(200)], r"\d+,5"),
        ([f"A{n:03d}-2024" for n in range(200)], r"A\d+-2024"),
        ([chr(65 + n // 26) + chr(65 + n % 26) + ".pdf" for n in range(200)], r"[A-Z]+\.pdf"),
        ([f"{n:05d}-{n * 7919 % 10**5:05d}/x" for n in range(200)], r"\d{5}-\d{5}\d*/x"),
    ],
)
def test_made_keys_end_as_all_real_ones_do(keys: list[str], form: str) -> None:
    made_form = find_form(keys, 5)
    made_form = KeyForm.from_state(json.loads(json.dumps(made_form.state())))
    made = [made_form.make(seed) for seed in range(3000)]
    assert all(re.fullmatch(form, key) for key in made)
    assert len(set(made)) == len(made)
    assert not set(made) & set(keys)
    far = [made_form.make(seed) for seed in range(10**12, 10**12 + 50)]
    assert len({*far, *made}) == 3050
    assert all(key[-2:] == keys[0][-2:] for key in far) or form.endswith(r"\d\d")


def test_numbers_as_keys_stay_clear_of_the_real_ones() -> None:
    form = find_form([str(n) for n in range(1, 801)], 5, whole=True)
    assert form.make(0) == "880"
    sparse = [str(100000 + n * 7919 % 900000) for n in range(500)]
    form = find_form(sparse, 5, whole=True)
    made = [form.make(seed) for seed in range(1000)]
    assert {len(key) for key in made} == {6}
    assert not set(made) & set(sparse)
    assert not any(key.startswith("0") for key in made)


def test_an_exclusion_excludes_all_it_holds_and_half_of_all_others() -> None:
    held, others = [f"name {n}" for n in range(2000)], [f"other {n}" for n in range(2000)]
    exclusion = Exclusion.from_state(json.loads(json.dumps(Exclusion.of(held).state())))
    assert all(one.upper() in exclusion for one in held)
    assert 0.45 < sum(one in exclusion for one in others) / 2000 < 0.55
    assert "x" not in Exclusion.of([])


@pytest.mark.parametrize("name", ["login_status", "handle_type", "phone type", "Login Typ", "username_verified"])
def test_what_is_said_about_personal_data_is_none(name: str) -> None:
    assert recognise(name, ["active", "inactive", "locked"], repeated=True) is None
    addresses = [f"anna{number}@mail.org" for number in range(30)]
    assert recognise(name, addresses) is not None, "values alone tell"


def test_addresses_of_machines_have_bytes() -> None:
    assert recognise("x", [f"10.0.{number}.255" for number in range(30)]) == ("ip", "values look like IP addresses")
    assert recognise("x", [f"1.9.{number}.999" for number in range(30)]) is None
