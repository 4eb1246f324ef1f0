"""The names of all countries in many languages, as the CLDR has them: shared/agreement/data/countries.txt.

    pip install babel; python -m tests.house.countries

writes it anew from the installed babel. It is kept as a file because babel is thirty megabytes and
takes a third of a second to read them, in each of the services (docs/decisions/0017).
"""

from __future__ import annotations

from pathlib import Path

FILE = Path(__file__).parents[2] / "shared" / "agreement" / "data" / "countries.txt"
LANGUAGES = """
en af ar az be bg bn bs ca cs cy da de el es et eu fa fi fil fr ga gl gu he hi hr hu hy id is it ja ka kk ko lb lt lv
mk ml mr ms mt nb nl nn pl pt pt_PT ro ru sk sl sq sr sr_Latn sv sw ta te th tr uk ur uz vi zh zh_Hant
"""
NO_COUNTRIES = frozenset({"AC", "CP", "CQ", "DG", "EA", "EU", "EZ", "IC", "QO", "TA", "UN", "XA", "XB", "ZZ"})
HEAD = """\
# Countries and territories by ISO 3166-1: both codes, the English name, and the names in other languages.
# Written by `python -m tests.house.countries` from babel {version}.
# Do not edit: names of ours are in more_country_names.txt.
#
# The names are of the Unicode CLDR. Copyright © 2004-2026 Unicode, Inc. Distributed under the Unicode License V3
# (https://www.unicode.org/license.txt), SPDX-License-Identifier: Unicode-3.0. Permission is granted, free of charge,
# to deal in the data files without restriction, provided that this notice appears with all copies. THE DATA FILES ARE
# PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED; the copyright holder is liable for nothing.
"""


# Codes of countries that are no more, which the CLDR takes for one that is.
RETIRED = frozenset({"BUR", "DDR", "FXX", "TMP", "YMD", "ZAR"})


def text() -> str:
    """What the file has to be, by the babel that is installed."""
    import babel
    from babel import localedata
    from babel.core import get_global

    threes = {
        named[0]: code
        for code, named in get_global("territory_aliases").items()
        if len(code) == 3 and code.isalpha() and len(named) == 1 and code not in RETIRED
    }
    names = [localedata.load(language)["territories"] for language in LANGUAGES.split()]
    countries = sorted(code for code in names[0] if len(code) == 2 and code not in NO_COUNTRIES)
    lines = [_line(code, threes[code], [known[code] for known in names if code in known]) for code in countries]
    return HEAD.format(version=babel.__version__) + "".join(lines)


def _line(two: str, three: str, names: list[str]) -> str:
    return f"{two} {three}: {' | '.join(dict.fromkeys(names))}\n"


if __name__ == "__main__":
    FILE.write_text(text(), "utf-8")
