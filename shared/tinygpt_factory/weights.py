"""How often training asks for each family: what people type every day weighs more than what they rarely do."""

from __future__ import annotations

from tinygpt_factory.family import Family
from tinygpt_factory.kinds import TRAIN, Kind

COMPOSED = 0.6
"""Compositions have so much in common that training needs fewer of each."""
EVERYDAY = 2.0

_EVERYDAY_TASKS = """
numbers: is_even is_odd square power absolute round remainder add subtract multiply divide average_of_two larger smaller
numbers: digit_sum square_root to_int to_float to_string to_binary from_binary is_prime gcd celsius_to_fahrenheit
numbers: fahrenheit_to_celsius double half random_between largest_of_three reverse_digits
strings: upper lower title capitalize swap_case strip reverse length count_letter count_text count_words count_vowels
strings: remove_vowels replace_text remove_spaces split_words split_separator join starts_with ends_with contains repeat
strings: first_letters last_letters letter_at is_number is_palindrome concatenate letters reverse_words longest_word
strings: is_anagram first_letter last_letter first_word last_word is_empty
lists: reverse first last item_at length sum product largest smallest average count_value count_item contains_value
lists: contains_item contains_word first_items last_items append append_item insert_start remove_value remove_item
lists: pop_last clear is_empty concatenate copy without_duplicates has_duplicates common_items pairs swap second_largest
lists: flatten without_first without_last remove_all pop_first append_word remove_word count_word most_common
lists: random_item shuffle remove_at
dicts: keys values items lookup get_default has_key set_key delete_key length merge invert largest_key sum_values
dicts: from_lists count_items count_letters sort_by_value sort_by_key sort_pairs_by_value
sets: from_list union intersection difference add discard unique_letters
tuples: to_list from_list swap
loops: count_up count_down print_items print_dict repeat_message times_table total print_letters
conditions: compare_number between even_or_odd leap_year is_none
comprehensions: keep_even keep_odd keep_positive keep_negative keep_above keep_below square double add multiply upper
comprehensions: lower to_ints
functions: greet rectangle_area circle_area
sorting: ascending descending by_length in_place
searching: index_of_value index_of_item index_of_max index_of_word longest
files: read_text read_lines write_text
dates: today now
json: parse dump
printing: message variable two_variables one_line separated
formatting: decimals
"""
_EVERYDAY = frozenset(
    f"{topic}.{name}"
    for topic, _, names in (line.partition(": ") for line in _EVERYDAY_TASKS.split("\n"))
    for name in names.split()
)


def weight_of(family: Family, kind: Kind) -> float:
    """The family's share of the rows of a kind, beside the other families' weights."""
    if kind != TRAIN:
        return family.weight
    if family.name.startswith("compositions."):
        return COMPOSED * family.weight
    return EVERYDAY * family.weight if family.name in _EVERYDAY else family.weight
