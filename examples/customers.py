"""Write customers.csv, a made-up table with personal data, for docs/tutorials/table.md. Needs the extra `table`.

usage: python examples/customers.py [--rows 1500] [--out customers.csv]
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from faker import Faker

COLUMNS = ("name", "email", "city", "age", "plan", "monthly", "calls", "joined", "cancelled")
CITIES = {"Oslo": 0.45, "Bergen": 0.25, "Trondheim": 0.18, "Tromso": 0.12}
PLANS = {"basic": 9.9, "plus": 19.9, "family": 34.9}


def customers(rows: int, seed: int = 0) -> Iterator[list[object]]:
    """Yield the rows: dear plans from middle age on, more calls before a cancellation, three people in Alta."""
    random, people = np.random.default_rng(seed), Faker("no_NO")
    people.seed_instance(seed)
    for number in range(rows):
        name = people.name()
        city = "Alta" if number in (100, 500, 900) else str(random.choice(list(CITIES), p=list(CITIES.values())))
        age = int(np.clip(random.normal(44, 15), 18, 90))
        shares = np.array([1.2, 1.0 + (age > 30), 0.3 + 1.5 * (30 < age < 55)])
        plan = str(random.choice(list(PLANS), p=shares / shares.sum()))
        joined = date(2019, 1, 1) + timedelta(days=int(random.integers(0, 1800)))
        leaves = random.random() < (0.35 if plan == "basic" else 0.15)
        calls = int(random.poisson(4 if leaves else 1))
        cancelled = joined + timedelta(days=int(random.gamma(2, 150)) + 30) if leaves else ""
        email = f"{name.lower().replace(' ', '.')}@example.no"
        yield [name, email, city, age, plan, f"{PLANS[plan] + 2.5 * (calls > 5):.2f}", calls, joined, cancelled]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1500)
    parser.add_argument("--out", type=Path, default=Path("customers.csv"))
    arguments = parser.parse_args()
    with arguments.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(customers(arguments.rows))
    print(f"wrote {arguments.rows} rows to {arguments.out}")


if __name__ == "__main__":
    main()
