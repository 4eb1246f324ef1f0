"""Past leads from a file: columns are properties, or named by a mapping; what is wrong is said with its place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.commands.evaluating import from_csv
from services.commands.evaluating.history import History, PastLead
from shared.errors import Broken

WINDOW = timedelta(days=30)
END = datetime(2026, 6, 30, tzinfo=UTC)
HEADER = "lead,date,converted,jobtitle,forms,pages"


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def of(text: str, mapping: str = "", until: datetime | None = END, encoding: str = "utf-8") -> History:
        file, columns = tmp_path / "leads.csv", tmp_path / "columns.yaml"
        file.write_bytes(text.encode(encoding))
        columns.write_text(mapping, "utf-8")
        return from_csv.read(file, columns if mapping else None, WINDOW, until)

    return of


def only(found: History) -> PastLead:
    (lead,) = found.leads
    return lead


def test_columns_are_properties_by_their_own_names(read: Any) -> None:
    lead = only(read(f"{HEADER}\n7,2026-03-01,yes,CEO,,\n"))
    assert (lead.key, lead.converted) == ("7", True)
    assert lead.known.properties["jobtitle"].value == "CEO"
    assert not lead.known.forms


def test_an_empty_cell_is_not_known(read: Any) -> None:
    assert only(read(f"{HEADER}\n7,2026-03-01,no,,,\n")).known.properties == {}


@pytest.mark.parametrize("said", ["yes", "TRUE", "1", "2026-03-20", "2026-03-20T10:00:00+02:00"])
def test_these_mean_converted(read: Any, said: str) -> None:
    assert only(read(f"date,converted\n2026-03-01,{said}\n")).converted


@pytest.mark.parametrize("said", ["no", "False", "0", "", "2026-05-20"])
def test_these_mean_not_converted_in_time(read: Any, said: str) -> None:
    assert not only(read(f"date,converted\n2026-03-01,{said}\n")).converted


def test_acts_count_from_their_own_time_and_those_after_the_hand_off_do_not(read: Any) -> None:
    acts = "ebook@2026-02-01T10:00;demo-request@2026-03-02;/pricing,https://www.example.com/pricing?a=b@2026-02-20"
    lead = only(read(f"{HEADER}\n7,2026-03-01,no,CEO,{acts}\n"))
    assert [act.form for act in lead.known.forms] == ["ebook", "/pricing"]
    assert [act.page for act in lead.known.pages] == ["www.example.com/pricing"]
    assert lead.known.forms[0].at == datetime(2026, 2, 1, 10, tzinfo=UTC).timestamp()


def test_a_day_alone_is_its_end(read: Any) -> None:
    lead = only(read(f"{HEADER}\n7,2026-03-01,2026-03-01,CEO,demo@2026-03-01T18:00,\n"))
    assert lead.converted
    assert lead.known.forms


def test_a_mapping_names_the_columns_and_how_dates_are_written(read: Any) -> None:
    mapping = """
lead: Record ID
date: Became MQL
converted: Stage
converted_when: [Customer, Closed won]
date_format: "%d.%m.%Y"
forms: Forms
properties: {jobtitle: Job Title}
"""
    text = "Record ID;Became MQL;Stage;Job Title;Owner;Forms\n1;01.03.2026;closed WON;CEO;Ana;demo-request@20.02.2026\n"
    lead = only(read(text, mapping))
    assert lead.converted
    assert set(lead.known.properties) == {"jobtitle"}
    assert lead.known.forms[0].form == "demo-request"
    assert lead.at.date().isoformat() == "2026-03-01"


def test_the_time_of_an_act_may_be_iso_where_the_dates_are_not(read: Any) -> None:
    mapping = 'date_format: "%d.%m.%Y"\nforms: forms\npages: pages'
    acts = "ebook@2026-02-01T10:00;demo-request@2026-03-02,/pricing@27.02.2026"
    lead = only(read(f"{HEADER}\n7,01.03.2026,no,CEO,{acts}\n", mapping))
    assert [act.form for act in lead.known.forms] == ["ebook"]
    assert lead.known.forms[0].at == datetime(2026, 2, 1, 10, tzinfo=UTC).timestamp()
    assert lead.known.pages[0].at == datetime(2026, 2, 27, tzinfo=UTC).timestamp()


def test_an_at_sign_that_no_date_follows_is_a_part_of_the_name(read: Any) -> None:
    lead = only(read(f"{HEADER}\n7,2026-03-01,no,CEO,Meet us @ 2026 Berlin;a@b,\n"))
    assert [act.form for act in lead.known.forms] == ["Meet us @ 2026 Berlin", "a@b"]


def test_who_has_no_date_was_never_handed_off_and_is_counted(read: Any) -> None:
    found = read("lead,date,converted\n1,2026-03-01,no\n2,,yes\n3,,\n4, ,2026-03-01\n")
    assert len(found.leads) == 1
    assert (found.left_out.never_handed_off, found.left_out.converted_without_handoff) == (3, 2)


def test_a_file_of_a_spreadsheet_is_read(read: Any) -> None:
    assert only(read('date;converted;company\n2026-03-01;1;"A; B"\n\n', encoding="utf-8-sig")).converted


def test_the_record_ends_with_its_last_date(read: Any) -> None:
    found = read("date,converted\n2026-03-01,no\n2026-05-01,no\n", until=None)
    assert found.until.date().isoformat() == "2026-05-01"
    assert (len(found.leads), found.left_out.too_young) == (1, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "leads.csv:1: has no column date; name it in --mapping, as date: Became MQL"),
        (
            "date,jobtitle\n",
            "has no column converted; name it in --mapping, as converted: Lifecycle Stage",
        ),
        ("date,converted,Job Title\n", "leads.csv:1:3: Job Title: is no CRM property's internal name"),
        ("date,converted\n1.3.2026,yes\n", "leads.csv:2:1: date: must be a date, as 2026-03-01"),
        ("date,converted\n2026-03-01,perhaps\n", "leads.csv:2:2: converted: must be yes, no, empty, or the date"),
        ('date,converted\n"2026-03-01","no"\n\n2026-03-01\n', "leads.csv:4: has 1 cells, the header 2"),
        ('date,converted,company\n2026-03-01,no,"a\nb"\nx,no,c\n', "leads.csv:4:1: date: must be a date"),
        ("date,converted\n", "has no line with a lead"),
        ("date,converted\n,yes\n", "has no line with a lead that was handed off"),
        ("date,converted\n,perhaps\n", "leads.csv:2:2: converted: must be yes, no, empty, or the date"),
        (f"{HEADER}\n7,2026-03-01,no,,ebook@1.2.26,\n", "leads.csv:2:5: forms: what follows an @ must be a date"),
        ("date,date,converted\n2026-03-01,2026-03-01,no\n", "leads.csv:1:2: date: stands here twice"),
    ],
)
def test_what_is_wrong_is_said_with_file_line_and_column(read: Any, text: str, said: str) -> None:
    with pytest.raises(Broken) as error:
        read(text)
    assert said in error.value.message


def test_every_problem_is_told_at_once_and_no_value_of_a_cell(read: Any) -> None:
    with pytest.raises(Broken) as error:
        read("date,converted\nada@example.com,maybe\n2026-03-01,grace@example.com\n" + "x,no\n" * 30)
    assert error.value.message.count("leads.csv:") == 20
    assert "and 13 more" in error.value.message
    assert "@" not in error.value.message


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ("- date", "must be a mapping, as date: Became MQL"),
        ("dates: x", "dates: is not known; here can stand lead, date, converted"),
        ("properties: [a]", "properties: must be a mapping, as jobtitle: Job Title"),
        ("properties: {Job Title: x}", "properties.Job Title: must be a property's internal name"),
        ("date: {", "is not YAML"),
        ("properties: {jobtitle: Title}", "leads.csv:1: has no column Title"),
    ],
)
def test_a_wrong_mapping_is_refused(read: Any, mapping: str, said: str) -> None:
    with pytest.raises(Broken) as error:
        read("date,converted\n2026-03-01,no\n", mapping)
    assert said in error.value.message


def test_what_is_no_utf_8_or_not_there_is_said(read: Any, tmp_path: Path) -> None:
    with pytest.raises(Broken, match="is no UTF-8"):
        read("date,converted\n2026-03-01,é\n", encoding="latin-1")
    with pytest.raises(Broken, match="cannot be read: No such file"):
        from_csv.read(tmp_path / "none.csv", None, WINDOW, None)
