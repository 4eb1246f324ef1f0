"""Fit grades, interest levels and grades by names of one's own, and the matrix that says which two make which."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from pydantic import ValidationError

from shared.agreement import Agreement, check, load
from shared.agreement.diff import diff
from shared.agreement.dump import dump
from shared.agreement.qualification import Fit, Interest
from shared.agreement.reach import world_of
from tests.agreements import SHIPPED, own_grades
from tests.any_agreement import agreements


def problems(path: Path) -> list[tuple[str, str]]:
    return [(problem.key, problem.text) for problem in check(path)]


def fit(**grades: float | str) -> Fit:
    return Fit.model_validate({"grades": grades})


# --- without a word of one's own ---


def test_as_usual_a1_is_best_and_d4_last() -> None:
    names = SHIPPED.qualification.grade_names
    assert (len(names), names[0], names[1], names[4], names[-1]) == (16, "A1", "A2", "B1", "D4")


def test_as_usual_two_grades_as_far_from_the_best_are_as_good() -> None:
    ranks = SHIPPED.qualification.ranks
    assert ranks["A1"] > ranks["A2"] == ranks["B1"] > ranks["A3"] == ranks["B2"] == ranks["C1"] > ranks["D4"]


def test_usual_names_may_stand_in_any_order_and_begin_at_the_same_points() -> None:
    assert [name for name, _ in fit(D="-inf", B=45, A=45, C=20).limits] == ["A", "B", "C", "D"]


# --- names and numbers of one's own ---


def test_the_points_say_which_is_better(tmp_path: Path) -> None:
    qualification = load(own_grades(tmp_path)).qualification
    assert [name for name, _ in qualification.fit.limits] == ["gold", "silver", "rest"]
    assert [name for name, _ in qualification.interest.limits] == ["hot", "warm", "cold"]


def test_fewer_letters_and_numbers_make_grades_as_usual() -> None:
    """The combined score of other tools: A1 to C3."""
    said = SHIPPED.qualification.model_dump()
    said["fit"]["grades"] = {"A": 70, "B": 40, "C": "-inf"}
    said["interest"]["levels"] = {"1": 50, "2": 30, "3": "-inf"}
    names = type(SHIPPED.qualification).model_validate(said).grade_names
    assert names == ("A1", "A2", "A3", "B1", "B2", "B3", "C1", "C2", "C3")


def test_of_words_the_grade_is_both_with_a_space_between(tmp_path: Path) -> None:
    names = load(own_grades(tmp_path, matrix="")).qualification.grade_names
    assert names[:4] == ("gold hot", "gold warm", "gold cold", "silver hot")
    assert problems(own_grades(tmp_path, matrix="")) == []


@pytest.mark.parametrize(
    ("grades", "said"),
    [
        ({"all": "-inf"}, "from 2 to 9 of your own"),
        ({str(n): n for n in range(9)} | {"rest": "-inf"}, "from 2 to 9 of your own"),
        ({"A": 70, "B": 45, "C": 20}, "must have a last one for whatever is left, as C: -inf"),
        ({"gold": 70, "silver": 70, "rest": "-inf"}, "begins where gold does"),
        ({"gold": "nan", "rest": "-inf"}, "must be a number"),
        ({" gold": 70, "rest": "-inf"}, "must be a name of 1 to 40 letters"),
        ({"A": 20, "B": 45, "C": 20, "D": "-inf"}, "must fall from A to D"),
        ({"A": 70, "B": 45, "C": 20, "D": 0}, "must have D: -inf"),
    ],
)
def test_what_nobody_could_grade_by_is_refused(grades: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as wrong:
        fit(**grades)
    (error,) = wrong.value.errors()
    texts = [text for _, text in error.get("ctx", {}).get("problems", [])]
    assert said in " ".join([error["msg"], *texts])


def test_a_name_that_only_another_agreement_has_is_told_wherever_it_stands(tmp_path: Path) -> None:
    told = problems(
        own_grades(
            tmp_path,
            ("grade: [call now], every", "grade: [A1], every"),
            ("unless: {fit: rest}", "unless: {fit: [D, gold]}"),
            ("when: {definition: mql}", "when: {definition: mql, interest: 1}"),
            ("gold: 1h", "A: 1h"),
        )
    )
    assert [key for key, _ in told] == [
        "goals[0].marketing_owes[1].grade[0]",
        "handoff.triggers[0].unless.fit[0]",
        "handoff.triggers[1].when.interest",
        "follow_up.first_touch.A",
    ]
    assert told[2][1] == "1 is none of the interest levels; there are hot, warm, cold"


def test_a_file_that_cannot_be_read_as_a_whole_tells_of_its_grades_all_the_same(tmp_path: Path) -> None:
    told = problems(own_grades(tmp_path, ("{p50: 10m", "{p50: soon"), ("fit: rest", "fit: rset")))
    assert [key for key, _ in told] == ["handoff.triggers[0].unless.fit", "kpis.speed_to_lead.p50"]


def test_a_grade_that_cannot_be_read_makes_no_other_wrong(tmp_path: Path) -> None:
    assert [key for key, _ in problems(own_grades(tmp_path, ("silver: 45", "silver: much")))] == [
        "qualification.fit.grades.silver"
    ]


# --- the matrix ---


def test_a_matrix_says_which_grade_the_two_make_and_its_list_which_is_better(tmp_path: Path) -> None:
    qualification = load(own_grades(tmp_path)).qualification
    assert ("silver", "warm", "call today") in qualification.cells
    assert qualification.grade_names == ("call now", "call today", "warm up", "leave")
    assert sorted(qualification.ranks, key=qualification.ranks.__getitem__) == [*reversed(qualification.grade_names)]


@pytest.mark.parametrize(
    ("old", "new", "key", "said"),
    [
        ("    rest:   {hot: call today, warm: warm up, cold: leave}\n", "", "matrix", "has no row for rest"),
        ("silver: {hot", "slver: {hot", "matrix.slver", "slver is none of the fit grades; did you mean silver?"),
        ("call now, warm: call now, cold: warm up", "call now, cold: warm up", "matrix.gold", "has no grade for warm"),
        ("{hot: call today", "{hto: call today", "matrix.rest.hto", "did you mean hot?"),
        ("warm: call today", "warm: A1", "matrix.silver.warm", "A1 is none of the grades; there are call now"),
        (
            "  grades: [call now, call today, warm up, leave]\n",
            "",
            "matrix",
            "as grades: [call now, warm up",
        ),
        ("call today, warm up, leave]", "call today, warm up, leave, leave]", "grades[4]", "stands here twice"),
        ("call today, warm up, leave]", "call today, warm up, leave, ' ']", "grades[4]", "must be a name"),
    ],
)
def test_a_matrix_that_leaves_somebody_without_a_grade_is_refused(
    tmp_path: Path, old: str, new: str, key: str, said: str
) -> None:
    ((at, text),) = problems(own_grades(tmp_path, (old, new)))
    assert at == f"qualification.{key}"
    assert said in text


def test_grades_without_a_matrix_are_refused(tmp_path: Path) -> None:
    told = problems(own_grades(tmp_path, matrix="  grades: [call now, call today]\n"))
    assert ("qualification.grades", "are of no use without a matrix that says who gets which") in told


@pytest.mark.parametrize(
    ("old", "new", "key", "said"),
    [
        ("silver: {hot: call now", "silver: {hot: leave", "matrix.silver.hot", "leave is worse than call today, which"),
        ("warm up, leave]", "warm up, rest, leave]", "grades[3]", "nobody gets rest: it stands nowhere in the matrix"),
    ],
)
def test_a_matrix_that_is_hardly_meant_is_told(tmp_path: Path, old: str, new: str, key: str, said: str) -> None:
    path = own_grades(tmp_path, (old, new))
    assert load(path)
    told = dict(problems(path))
    assert said in told[f"qualification.{key}"]


def test_a_grade_that_only_cells_out_of_reach_have_is_told(tmp_path: Path) -> None:
    path = own_grades(tmp_path, ("{hot: 50, warm: 20", "{hot: 500, warm: 20"), ("warm: call now", "warm: call today"))
    told = dict(problems(path))
    assert told["qualification.grades[0]"] == "nobody gets call now: the points on offer are not enough"
    assert {cell.level for cell in world_of(load(path).qualification).grades or ()} == {"warm", "cold"}


def test_what_a_condition_asks_is_proved_by_the_matrix(tmp_path: Path) -> None:
    path = own_grades(tmp_path, ("when: {definition: mql}", "when: {grade: call now, fit: rest}"))
    assert dict(problems(path))["handoff.triggers[1].when"] == (
        "can never hold: the grade is call now and the fit is rest"
    )


# --- kept and compared ---


def test_an_agreement_without_names_of_its_own_has_the_version_that_it_had() -> None:
    """Services take another version for another agreement, and judge everybody again."""
    assert json.loads(SHIPPED.content)["qualification"].keys() == {"fit", "interest"}


def test_from_its_content_the_order_comes_back(tmp_path: Path) -> None:
    agreement = load(own_grades(tmp_path))
    again = Agreement.from_content(agreement.content)
    assert again.qualification.cells == agreement.qualification.cells
    assert again.qualification.grade_names == agreement.qualification.grade_names
    assert "    grades: {gold: 70, silver: 45, rest: -inf}" in dump(again).splitlines()
    assert "    gold: {hot: call now, warm: call now, cold: warm up}" in dump(again).splitlines()


def test_a_cell_that_is_another_is_told_in_words(tmp_path: Path) -> None:
    old = load(own_grades(tmp_path))
    new = load(own_grades(tmp_path, ("warm: call today", "warm: call now")))
    (change,) = diff(old, new)
    assert change.path == "qualification.matrix.silver.warm"
    assert change.text == "Grade of fit silver, interest warm: call today → call now"


def test_a_new_matrix_is_told_row_by_row(tmp_path: Path) -> None:
    old, new = load(own_grades(tmp_path, matrix="")), load(own_grades(tmp_path))
    told = [change.text for change in diff(old, new) if change.path.startswith("qualification.")]
    assert told[0] == "Grades, the best first: now call now, call today, warm up, leave"
    assert told[1] == "Grade of fit gold: now hot: call now, warm: call now, cold: warm up"


@settings(max_examples=60, deadline=None)
@given(agreement=agreements)
def test_every_combination_has_one_grade_which_is_listed_and_ranked(agreement: Agreement) -> None:
    qualification = agreement.qualification
    halves = [(cell.fit, cell.level) for cell in qualification.cells]
    assert len(set(halves)) == len(halves) == len(qualification.fit.grades) * len(qualification.interest.levels)
    assert {cell.grade for cell in qualification.cells} <= set(qualification.grade_names) == set(qualification.ranks)
    assert qualification.ranks[qualification.grade_names[0]] == max(qualification.ranks.values())


def test_interest_levels_are_of_ones_own_as_fit_grades_are() -> None:
    said = {**SHIPPED.qualification.interest.model_dump(), "levels": {"hot": 50, "cold": "-inf"}}
    assert Interest.model_validate(said).limits[0] == ("hot", 50.0)
