"""What columns of personal data are called, in several languages."""

from __future__ import annotations

import re
import unicodedata

# By form: words that say so by themselves, without accents and in small letters. A phrase holds in this order.
_WORDS: dict[str, tuple[str, ...]] = {
    "email": (
        "email", "e mail", "mail", "correo", "courriel", "eposta", "e posta", "mel", "электронная почта", "почта",
    ),
    "phone": (
        "phone", "telephone", "tel", "telefon", "telefono", "telefone", "telefoon", "mobile", "mobil", "handy", "cell",
        "cellulare", "celular", "movil", "telemovel", "gsm", "fax", "rufnummer", "handynummer", "telefonnummer",
        "phonenumber", "cep telefonu", "cep no", "telefonnr", "whatsapp", "телефон", "电话", "電話", "전화",
    ),
    "address": (
        "address", "addr", "street", "adresse", "anschrift", "strasse", "str", "rue", "direccion", "domicilio", "calle",
        "indirizzo", "endereco", "morada", "rua", "adres", "straat", "sokak", "adresi", "wohnadresse", "адрес", "улица",
        "διευθυνση", "地址", "住所", "주소", "العنوان",
    ),
    "national id": (
        "ssn", "social security", "national id", "nationalid", "tax id", "steuer id", "steuernummer", "svnr", "nss",
        "sozialversicherungsnummer", "nir", "securite sociale", "dni", "nie", "nif", "codice fiscale", "cpf", "bsn",
        "burgerservicenummer", "tc kimlik", "tckn", "kimlik no", "personnummer", "pesel", "cedula", "curp", "rut",
        "versichertennummer", "passport", "reisepass", "passeport", "pasaporte", "passaporto", "passaporte",
        "paspoort", "pasaport", "ausweis", "license plate", "licence plate", "kennzeichen", "plaka", "inn", "snils",
        "паспорт", "инн", "снилс", "medical record number", "mrn",
    ),
    "iban": ("iban",),
    "credit card": (
        "credit card", "creditcard", "card number", "kreditkarte", "carte bancaire", "tarjeta", "carta di credito",
        "cartao de credito", "kredi karti", "kart no", "kreditkartennummer",
    ),
    "username": (
        "username", "user name", "login", "nickname", "benutzername", "usuario", "utente", "utilisateur",
        "gebruikersnaam", "kullanici adi", "handle", "screen name",
    ),
    "name": (
        "full name", "fullname", "patient name", "customer name", "client name", "employee name", "contact name",
        "maiden name", "middle name", "person name", "patientenname", "kundenname", "vollstandiger name",
        "nom complet", "nombre completo", "nome completo", "nome e cognome", "volledige naam", "ad soyad", "adsoyad",
        "isim soyisim", "imie i nazwisko", "фио", "姓名", "氏名", "名前", "이름", "성명", "الاسم",
    ),
    "first name": (
        "first name", "firstname", "given name", "givenname", "forename", "vorname", "prenom", "nombre de pila",
        "primer nombre", "primeiro nome", "voornaam", "adi", "imie", "fornamn", "fornavn", "etunimi", "имя", "ονομα",
        "الاسم الاول",
    ),
    "last name": (
        "last name", "lastname", "surname", "family name", "familyname", "nachname", "familienname", "zuname",
        "nom de famille", "apellido", "apellidos", "cognome", "sobrenome", "apelido", "achternaam", "soyad", "soyadi",
        "soyisim", "nazwisko", "efternamn", "etternavn", "sukunimi", "фамилия", "επωνυμο", "اسم العائلة", "姓",
    ),
}  # fmt: skip
# Words of a person: the column is one of names if its values may be names, too.
_PERSONS = """
name names patient patientin customer client employee doctor physician nurse teacher student owner author contact
passenger guest tenant person user holder manager seller arzt arztin kunde kundin mitarbeiter mitarbeiterin
ansprechpartner lehrer schuler gast mieter nom medecin patiente employe nombre medico paciente cliente empleado
contacto nome dipendente paziente funcionario naam arts klant medewerker huisarts isim ad doktor hasta musteri
calisan navn namn nimi врач пациент клиент сотрудник ιατρος γιατρος ασθενης طبيب مريض 医生 患者 医師 의사 환자
"""
# Words beside which a name is not one of a person.
_THINGS = """
product file company brand country city state event column table item category class species model firm produkt
firma land stadt produit entreprise pays ville producto empresa pais ciudad prodotto azienda paese citta produto
cidade bedrijf stad urun sirket ulke sehir host domain organisation organization school hospital store department
project campaign drug song album movie title type status id code count number of nr num no
"""
# Last words of a column about personal data, which holds none: `login status`, `phone type`.
_ATTRIBUTES = """
type kind status state count category class level method source result reason format verified valid flag date time day
typ art anzahl datum zeit tipo estado fecha clase statut genre stato classe data soort tur durum
"""
_CODES = (
    "zip", "zipcode", "zip code", "postal code", "postalcode", "postcode", "plz", "postleitzahl", "code postal",
    "codigo postal", "codice postale", "cep", "cap", "posta kodu", "kod pocztowy", "postnummer", "почтовый индекс",
)  # fmt: skip
_ID = """
id key uuid guid no nr number index rownum num code kod codigo codice numero nummer numara
"""


def words_of(name: str) -> list[str]:
    """Return the words of a column's name: small letters, no accents, cut at capitals and signs."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    plain = unicodedata.normalize("NFKD", split.replace("ß", "ss").replace("ı", "i").replace("İ", "I"))
    letters = "".join(one for one in plain if not unicodedata.combining(one))
    return re.findall(r"[^\W_]+", letters.casefold())


def form_of_name(name: str) -> str:
    """Return the form of personal data that a column's name says; empty where it says none."""
    words = words_of(name)
    text = f" {' '.join(words)} "
    for form, phrases in _WORDS.items():
        for phrase in phrases:
            singular = text.replace("names ", "name ").replace("numbers ", "number ")
            if f" {phrase} " in singular or (len(phrase) > 4 and f" {phrase}" in text and " " not in phrase):
                return form
    return ""


def is_called_person(name: str) -> bool:
    """Return whether a column may hold names of persons by what it is called."""
    words = set(words_of(name))
    return bool(words & set(_PERSONS.split())) and not words & set(_THINGS.split())


def is_called_person_key(name: str) -> bool:
    """Return whether a column is one of numbers of persons: `patient_id`, `Kundennummer`."""
    words = words_of(name)
    joined = [(person, word[len(person) :]) for word in words for person in _PERSONS.split() if word.startswith(person)]
    ids = set(_ID.split())
    return bool(set(words) & set(_PERSONS.split()) and words[-1] in ids) or any(
        rest.removeprefix("en").removeprefix("n") in ids for _, rest in joined if rest
    )


def is_called_thing(name: str) -> bool:
    """Return whether a column is one of things, by what it is called: `city`, `product name`."""
    return bool(set(words_of(name)) & set(_THINGS.split()))


def is_called_attribute(name: str) -> bool:
    """Return whether a column is about personal data without holding any, by its last word: `phone type`."""
    words = words_of(name)
    return len(words) > 1 and words[-1] in _ATTRIBUTES.split()


def is_called_code(name: str) -> bool:
    """Return whether the numbers of a column are codes, by what it is called: `zip`, `PLZ`."""
    text = f" {' '.join(words_of(name))} "
    return any(f" {code} " in text for code in _CODES)


def is_called_key(name: str) -> bool:
    """Return whether a column is called as one of keys: `customer_id`, `Nr`."""
    words = words_of(name)
    return bool(words) and words[-1] in _ID.split()


def person_of(name: str) -> str:
    """Return which person of a row a column is about: `patient` of `patient_name`; empty where it does not say."""
    generic = {"name", "names", "nom", "nombre", "nome", "naam", "isim", "ad", "navn", "namn", "nimi"}
    return " ".join(word for word in words_of(name) if word in set(_PERSONS.split()) - generic)
