"""Agreements are followed: taken up whole and checked, never half-written; what is broken or gone changes nothing."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from shared.agreement import Agreement
from shared.agreement.following import LOOK_EVERY, Following, check, judged, read_all, written
from shared.clock import ManualClock
from shared.errors import Refused
from shared.metrics import CommonMetrics
from tests.agreements import SHIPPED, SHIPPED_FILE

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
TEXT = SHIPPED_FILE.read_text("utf-8")
OURS, THEIRS = "hubspot:1", "hubspot:2"
STRANGER = "hubspot:3"
BROKEN = TEXT.replace("wait_for_reply: 3d", "wait_for_reply: soon")
DANGLING = TEXT.replace("to: team:inbound", "to: team:nobody")  # right by itself, and wrong as a whole


def text_of(name: str, tenant: str = "") -> str:
    whose = f"\ntenant: {tenant}" if tenant else ""
    return TEXT.replace('agreement: "Default"', f'agreement: "{name}"{whose}', 1)


class Files:
    """The agreement's files as a person changes them, and a process that follows them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registry = CollectorRegistry()
        self.clock, self.wall = ManualClock(NOW), ManualClock(NOW)
        self.following: Following

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text, "utf-8")
        return path

    def follow(self, place: Path) -> Files:
        metrics = CommonMetrics(self.registry)
        self.following = Following(place, clock=self.clock, wall=self.wall, metrics=metrics)
        return self

    async def looks(self, times: int = 2) -> None:
        for _ in range(times):
            await self.following.look()

    def name_for(self, tenant: str = STRANGER) -> str:
        """Which agreement is in force for a tenant; "" for none."""
        try:
            return self.following.agreements.for_tenant(tenant).name
        except Refused:
            return ""

    @property
    def refused(self) -> list[tuple[str, str]]:
        return [(Path(one.file).name, one.why) for one in self.following.agreements.refused]

    def shown(self, metric: str) -> dict[tuple[str, ...], float]:
        samples = (sample for family in self.registry.collect() for sample in family.samples)
        return {tuple(one.labels.values()): one.value for one in samples if one.name == metric}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def one(files: Files) -> Files:
    """One file for everybody."""
    return files.follow(files.write("agreement.yaml", text_of("first")))


@pytest.fixture
def folder(files: Files) -> Files:
    """One for all others and two tenants' own."""
    files.write("default.yaml", text_of("default"))
    files.write("ours.yaml", text_of("ours", OURS))
    files.write("theirs.yml", text_of("theirs", THEIRS))
    return files.follow(files.folder)


# --- a change ---


async def test_a_changed_file_is_taken_up_when_two_looks_found_the_same(one: Files) -> None:
    one.write("agreement.yaml", text_of("second"))
    await one.looks(1)
    assert one.name_for() == "first"
    await one.looks(1)
    assert one.name_for() == "second"


async def test_nothing_is_swapped_while_nothing_is_said_otherwise(one: Files) -> None:
    before = one.following.agreements.now
    path = one.write("agreement.yaml", text_of("first").replace("# 1. What", "# One. What"))
    os.utime(path, (1, 1))
    await one.looks(3)
    assert one.following.agreements.now is before


async def test_a_file_that_is_still_being_written_is_not_taken_up(one: Files) -> None:
    """Half of it is an agreement without the kpis of part 7: nothing that a check could find."""
    whole = text_of("second")
    half = whole[: whole.index("kpis:")]
    assert written(Path("half"), half.encode()).agreement is not None
    one.write("agreement.yaml", half)
    await one.looks(1)
    one.write("agreement.yaml", whole)
    await one.looks(1)
    assert one.name_for() == "first"
    await one.looks(1)
    assert one.following.agreements.for_tenant(STRANGER).kpis == SHIPPED.kpis


async def test_a_file_written_again_with_its_old_times_and_size_is_seen(one: Files) -> None:
    path = one.folder / "agreement.yaml"
    before = path.stat()
    one.write("agreement.yaml", text_of("other"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    await one.looks()
    assert one.name_for() == "other"


async def test_a_file_that_another_takes_the_place_of_is_seen(one: Files) -> None:
    one.write("agreement.yaml.new", text_of("second")).replace(one.folder / "agreement.yaml")
    await one.looks()
    assert one.name_for() == "second"


async def test_a_folder_that_a_link_leads_to_is_seen_when_the_link_leads_elsewhere(files: Files) -> None:
    """As Kubernetes swaps a ConfigMap: ..data leads to another folder, all files at once."""
    for n, name in enumerate(("first", "second")):
        (files.folder / f"..{n}").mkdir()
        files.write(f"..{n}/agreement.yaml", text_of(name))
    (files.folder / "..data").symlink_to("..0")
    (files.folder / "agreement.yaml").symlink_to("..data/agreement.yaml")
    files.follow(files.folder)
    (files.folder / "..new").symlink_to("..1")
    (files.folder / "..new").rename(files.folder / "..data")
    await files.looks()
    assert files.name_for() == "second"


async def test_it_looks_by_the_clock_on_the_wall_and_notes_business_time(one: Files) -> None:
    import asyncio

    swapped = asyncio.Event()
    one.following.agreements.after_swap(swapped.set)
    task = asyncio.create_task(one.following.run())
    one.write("agreement.yaml", text_of("second"))
    one.clock.advance(timedelta(days=1))
    async with asyncio.timeout(30):
        while not swapped.is_set():
            one.wall.advance(LOOK_EVERY)
            await asyncio.sleep(0)
    task.cancel()
    assert one.following.agreements.now.of(STRANGER).at == NOW + timedelta(days=1)


# --- what cannot be used ---


@pytest.mark.parametrize("text", [BROKEN, DANGLING, "", "agreement: [", "\0", TEXT * 200], ids=range(6))
async def test_what_cannot_be_used_is_refused_and_the_old_one_stays(one: Files, text: str) -> None:
    before = one.following.agreements.now
    one.write("agreement.yaml", text)
    await one.looks()
    assert one.following.agreements.now is before
    assert one.refused == [("agreement.yaml", "invalid")]
    assert one.shown("leadpact_agreement_refused") == {(): 1.0}


async def test_a_refusal_is_logged_once_with_its_place_and_without_what_was_said(
    one: Files, caplog: pytest.LogCaptureFixture
) -> None:
    one.write("agreement.yaml", TEXT.replace("jonas@example.com: 1", "jonas@example.com: much"))
    await one.looks(5)
    lines = [record for record in caplog.records if record.getMessage() == "agreement_refused"]
    assert [line.levelno for line in lines] == [logging.ERROR]
    fields: dict[str, Any] = lines[0].__dict__["fields"]
    assert (fields["why"], fields["problems"]) == ("invalid", 1)
    assert f"line {TEXT[: TEXT.index('jonas@')].count(chr(10)) + 1}," in fields["detail"]
    assert "jonas" not in str(fields)


async def test_what_was_mended_is_taken_up_and_refused_no_more(one: Files) -> None:
    one.write("agreement.yaml", BROKEN)
    await one.looks()
    one.write("agreement.yaml", text_of("second"))
    await one.looks()
    assert (one.name_for(), one.refused) == ("second", [])
    assert one.shown("leadpact_agreement_refused") == {(): 0.0}


async def test_a_broken_file_that_is_as_it_was_again_is_refused_no_more(one: Files) -> None:
    before = one.following.agreements.now
    one.write("agreement.yaml", BROKEN)
    await one.looks()
    one.write("agreement.yaml", text_of("first"))
    await one.looks()
    assert (one.following.agreements.now is before, one.refused) == (True, [])


async def test_of_a_file_that_is_gone_what_it_said_stays_in_force(one: Files) -> None:
    (one.folder / "agreement.yaml").unlink()
    await one.looks()
    assert (one.name_for(), one.refused) == ("first", [("agreement.yaml", "gone")])
    one.write("agreement.yaml", text_of("second"))
    await one.looks()
    assert (one.name_for(), one.refused) == ("second", [])


async def test_what_nobody_foresaw_in_one_file_is_a_problem_of_that_file(
    folder: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shared.agreement import following

    def failing(content: bytes | str, file: str) -> Any:
        if file.endswith("ours.yaml"):
            raise ZeroDivisionError
        return read(content, file)

    read = following.read
    monkeypatch.setattr(following, "read", failing)
    folder.write("ours.yaml", text_of("ours again", OURS))
    folder.write("theirs.yml", text_of("theirs again", THEIRS))
    await folder.looks()
    assert (folder.name_for(OURS), folder.name_for(THEIRS)) == ("ours", "theirs again")
    assert folder.refused == [("ours.yaml", "invalid")]


# --- whose it is ---


def test_each_tenant_has_its_own_or_that_of_all_others(folder: Files) -> None:
    assert [folder.name_for(tenant) for tenant in (OURS, THEIRS, STRANGER)] == ["ours", "theirs", "default"]


def test_without_one_for_all_others_a_stranger_has_none(files: Files) -> None:
    files.write("ours.yaml", text_of("ours", OURS))
    files.follow(files.folder)
    with pytest.raises(Refused) as refused:
        files.following.agreements.for_tenant(STRANGER)
    assert refused.value.code == "no_agreement"


async def test_a_tenant_s_agreement_that_is_new_in_the_folder_is_taken_up(folder: Files) -> None:
    folder.write("stranger.yaml", text_of("stranger", STRANGER))
    await folder.looks()
    assert folder.name_for(STRANGER) == "stranger"


async def test_one_broken_file_keeps_its_own_tenant_s_and_no_other_from_changing(folder: Files) -> None:
    folder.write("ours.yaml", BROKEN)
    folder.write("theirs.yml", text_of("theirs again", THEIRS))
    await folder.looks()
    assert [folder.name_for(tenant) for tenant in (OURS, THEIRS, STRANGER)] == ["ours", "theirs again", "default"]


async def test_a_file_that_was_renamed_is_not_missed(folder: Files) -> None:
    (folder.folder / "ours.yaml").rename(folder.folder / "renamed.yaml")
    await folder.looks()
    assert (folder.name_for(OURS), folder.refused) == ("ours", [])


async def test_a_file_that_is_for_another_tenant_now_gives_up_the_first(folder: Files) -> None:
    folder.write("ours.yaml", text_of("strangers'", STRANGER))
    await folder.looks()
    assert [folder.name_for(tenant) for tenant in (OURS, STRANGER)] == ["default", "strangers'"]


async def test_a_second_file_for_a_tenant_is_refused_with_the_first_and_both_are_named(folder: Files) -> None:
    folder.write("also.yaml", text_of("also ours", OURS))
    await folder.looks()
    assert folder.name_for(OURS) == "ours"
    assert sorted(folder.refused) == [("also.yaml", "ambiguous"), ("ours.yaml", "ambiguous")]
    said = " ".join(map(str, folder.following.agreements.refused))
    assert "ours.yaml" in said
    assert "also.yaml" in said
    assert OURS in said


async def test_a_folder_that_is_gone_changes_nothing(folder: Files, tmp_path: Path) -> None:
    folder.folder.rename(tmp_path.with_name("elsewhere"))
    await folder.looks()
    assert [folder.name_for(tenant) for tenant in (OURS, STRANGER)] == ["ours", "default"]
    assert {why for _, why in folder.refused} == {"gone"}


async def test_hidden_files_and_others_are_no_agreements(folder: Files) -> None:
    for name in (".ours.yaml.swp", ".#ours.yaml", "ours.yaml~", "README.md"):
        folder.write(name, BROKEN)
    (folder.folder / "old.yaml").mkdir()
    await folder.looks()
    assert folder.refused == []


async def test_the_metrics_name_what_is_in_force_and_nothing_else(folder: Files) -> None:
    folder.write("ours.yaml", text_of("ours again", OURS))
    await folder.looks()
    versions = {one.tenant or "": one.version for one in folder.following.agreements.now.agreements}
    assert folder.shown("leadpact_agreement_info") == dict.fromkeys(versions.items(), 1.0)
    assert versions.keys() == {"", OURS, THEIRS}


# --- the start ---


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "has no file"),
        ({"a.yaml": text_of("a"), "b.yaml": BROKEN}, "b.yaml:"),
        ({"a.yaml": text_of("a"), "b.yaml": text_of("b")}, "all others"),
        ({"a.yaml": text_of("a", OURS), "b.yaml": text_of("b", OURS)}, OURS),
    ],
)
def test_a_folder_with_anything_wrong_stops_the_start_and_says_what(
    files: Files, given: dict[str, str], said: str
) -> None:
    for name, text in given.items():
        files.write(name, text)
    for start in (read_all, files.follow):
        with pytest.raises(Refused, match=said) as refused:
            start(files.folder)
        assert refused.value.code == "agreement_invalid"
    assert check(files.folder)


def test_a_folder_that_cannot_be_looked_into_stops_the_start(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(_: Path) -> Any:
        raise PermissionError

    monkeypatch.setattr(Path, "iterdir", refusing)
    with pytest.raises(Refused, match="cannot be read"):
        files.follow(files.folder)


def test_a_check_of_a_good_folder_finds_nothing(folder: Files) -> None:
    assert check(folder.folder) == []


# --- any life of a folder ---

STATES = st.sampled_from(["good", "other", "broken", "gone"])


def said(path: Path, state: str) -> str:
    return BROKEN if state == "broken" else text_of(state, f"hubspot:{path.stem}")


@pytest.fixture(scope="module")
def known() -> Callable[[Path, str], Any]:
    """Files as they are read, each once."""
    read: dict[tuple[Path, str], Any] = {}

    def known(path: Path, state: str) -> Any:
        if (path, state) not in read:
            read[path, state] = written(path, said(path, state).encode())
        return read[path, state]

    return known


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lives=st.lists(st.tuples(STATES, STATES, STATES), min_size=1, max_size=6))
def test_whatever_becomes_of_files_each_tenant_has_the_last_that_could_be_used(
    known: Callable[[Path, str], Any], lives: list[tuple[str, ...]]
) -> None:
    paths = [Path(f"{n}.yaml") for n in range(3)]
    held: dict[Path, Agreement] = {}
    last: dict[Path, str] = {}
    for states in lives:
        now = dict(zip(paths, states, strict=True))
        found = judged({path: known(path, state) for path, state in now.items() if state != "gone"}, held)
        held = dict(found.held)
        last |= {path: state for path, state in now.items() if state in ("good", "other")}
        assert {path: one.name for path, one in held.items()} == last
        broken = {str(path) for path, state in now.items() if state == "broken"}
        gone = {str(path) for path, state in now.items() if state == "gone" and path in last}
        assert {one.file for one in found.refused} == broken | gone
