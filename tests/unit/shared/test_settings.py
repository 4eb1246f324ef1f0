"""Settings: what is missing or wrong stops the start by name, and a secret is never shown."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from shared.errors import Broken, WrongSetting
from shared.settings import CommonSettings, Settings, boolean, integer, setting, url, words

SECRET = "hunter2"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shop(Settings):
    """Settings for these tests."""

    owner: str = setting("SHOP_OWNER", str, doc="whose shop it is")
    key: str = setting("SHOP_KEY", str, default="", doc="opens the safe", secret=True)
    seats: int = setting("SHOP_SEATS", integer(1, 9), default=4, doc="for guests")
    open: bool = setting("SHOP_OPEN", boolean, default=True, doc="whether guests may come in")


def described(**environ: str) -> dict[str, tuple[str, str]]:
    """Key → value as shown, and the problem."""
    return {one.key: (one.value, one.problem) for one in Shop.described(environ)}


def test_what_is_not_set_is_its_default() -> None:
    shop = Shop.read({"SHOP_OWNER": "Ana"})
    assert shop == Shop(owner="Ana", key="", seats=4, open=True)


def test_blanks_are_as_good_as_nothing_and_are_cut_off() -> None:
    shop = Shop.read({"SHOP_OWNER": " Ana ", "SHOP_SEATS": "  "})
    assert (shop.owner, shop.seats) == ("Ana", 4)


def test_what_is_missing_stops_the_start_and_is_named_with_its_meaning() -> None:
    with pytest.raises(WrongSetting) as wrong:
        Shop.read({})
    assert wrong.value.key == "SHOP_OWNER"
    assert str(wrong.value) == "SHOP_OWNER: is not set; whose shop it is"
    assert isinstance(wrong.value, Broken)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("SHOP_SEATS", "many", "must be a whole number from 1 to 9"),
        ("SHOP_SEATS", "0", "must be a whole number from 1 to 9"),
        ("SHOP_SEATS", "10", "must be a whole number from 1 to 9"),
        ("SHOP_SEATS", "2.5", "must be a whole number from 1 to 9"),
        ("SHOP_OPEN", "maybe", "must be true or false"),
    ],
)
def test_what_is_wrong_is_named_with_what_would_be_right(key: str, value: str, said: str) -> None:
    with pytest.raises(WrongSetting) as wrong:
        Shop.read({"SHOP_OWNER": "Ana", key: value})
    assert str(wrong.value) == f"{key}: {said}"
    assert described(SHOP_OWNER="Ana", **{key: value})[key] == ("", said)


def test_everything_is_described_also_what_is_missing() -> None:
    assert described(SHOP_SEATS="7") == {
        "SHOP_OWNER": ("", "is not set; whose shop it is"),
        "SHOP_KEY": ("", ""),
        "SHOP_SEATS": ("7", ""),
        "SHOP_OPEN": ("True", ""),
    }


def test_a_secret_is_neither_described_nor_printed() -> None:
    environ = {"SHOP_OWNER": "Ana", "SHOP_KEY": SECRET}
    assert described(**environ)["SHOP_KEY"] == ("(set)", "")
    assert SECRET not in repr(Shop.read(environ))


@pytest.mark.parametrize("value", [f"mysql://ana:{SECRET}@db", f"ana:{SECRET}"])
def test_a_wrong_secret_is_not_quoted(value: str) -> None:
    with pytest.raises(WrongSetting) as wrong:
        CommonSettings.read({"LEADPACT_DATABASE": value})
    assert wrong.value.key == "LEADPACT_DATABASE"
    assert SECRET not in str(wrong.value)


def test_without_any_setting_everything_is_embedded() -> None:
    common = CommonSettings.read({})
    assert (common.bus, common.database, common.tokens) == ("embedded", "embedded", ())
    assert common.agreement == Path("deploy/agreement.yaml")


@pytest.mark.parametrize(
    ("key", "value"),
    [("LEADPACT_BUS", "redis://x"), ("LEADPACT_BUS", "127.0.0.1:9092"), ("LEADPACT_DATABASE", "sqlite://x")],
)
def test_an_address_of_something_else_is_refused(key: str, value: str) -> None:
    with pytest.raises(WrongSetting, match=key):
        CommonSettings.read({key: value})


@pytest.mark.parametrize(("text", "value"), [("TRUE", True), ("yes", True), ("0", False), ("No", False)])
def test_true_and_false_have_several_words(text: str, value: bool) -> None:
    assert boolean(text) is value


def test_words_are_parted_by_commas() -> None:
    assert words(" a , b,, ") == ("a", "b")


def test_an_address_loses_the_slash_at_its_end() -> None:
    assert url("https://x.example/") == "https://x.example"
    with pytest.raises(ValueError, match="http"):
        url("x.example")
