"""What the factory makes up on the spot: names that Python takes, many of them, some of them kept from training."""

import builtins
import keyword
from random import Random

import pytest

from tinygpt_factory.invented import (
    altered_name,
    altered_phrase,
    invented_class,
    invented_file,
    invented_name,
    invented_number,
    invented_phrase,
    name_like_a_task,
)
from tinygpt_factory.kinds import is_held_out_value
from tinygpt_factory.pools import POOLS
from tinygpt_factory.slots import INVENTED, Pool

NAMES = [invented_name(Random(seed)) for seed in range(3000)]


ALTERED = [altered_name("accounts", Random(seed)) for seed in range(500)]
TASKS = [name_like_a_task(Random(seed)) for seed in range(500)]


@pytest.mark.parametrize("names", [NAMES, ALTERED, TASKS, [invented_class(Random(seed)) for seed in range(500)]])
def test_names_are_names_and_hide_nothing(names: list[str]) -> None:
    for name in names:
        assert name.isidentifier(), name
        assert not keyword.iskeyword(name), name
        assert not hasattr(builtins, name), name


def test_there_are_too_many_names_to_know_by_heart() -> None:
    assert len(set(NAMES)) > 0.9 * len(NAMES)


def test_an_altered_name_begins_as_the_known_one_does_and_seldom_is_it() -> None:
    assert sum(name.startswith("acc") for name in ALTERED) > 0.7 * len(ALTERED)
    assert sum(name == "accounts" for name in ALTERED) < 0.25 * len(ALTERED)
    assert altered_name("xs", Random(0)) == "xs"


def test_some_altered_names_sound_like_a_task_but_no_class_does() -> None:
    assert {"counts", "merged"} < set(TASKS)
    assert 0.04 < sum(name in TASKS for name in ALTERED) / len(ALTERED) < 0.15
    assert all(altered_name("Accounts", Random(seed)).startswith("A") for seed in range(500))


def test_an_altered_phrase_is_another_in_one_word() -> None:
    altered = [altered_phrase("have a nice day", Random(seed)) for seed in range(200)]

    assert {len(phrase.split()) for phrase in altered} == {3, 4, 5}
    assert "have a nice day" not in altered
    assert all(len({"have", "a", "nice", "day"} & set(phrase.split())) >= 3 for phrase in altered)
    assert all(altered_phrase("ready", Random(seed)) for seed in range(50))


def test_about_a_tenth_is_kept_from_training() -> None:
    assert sum(map(is_held_out_value, NAMES)) / len(NAMES) == pytest.approx(0.1, abs=0.02)


def test_the_same_random_state_gives_the_same_value() -> None:
    for invent in (invented_name, invented_class, invented_number, invented_phrase, invented_file(".csv")):
        assert invent(Random(7)) == invent(Random(7))


def test_a_pool_invents_about_as_often_as_it_should() -> None:
    pool = Pool(("listed",), invent=invented_name)
    rng = Random(0)

    invented = sum(pool.draw(rng) != "listed" for _ in range(2000)) / 2000

    assert invented == pytest.approx(INVENTED, abs=0.05)


def test_every_variable_may_be_invented() -> None:
    assert all(pool.invent is not None for pool in POOLS.values() if pool.variable)
