from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layers.challenges import Challenge, parse_challenges

_TCHARS = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def bearer(**parameters):
    return Challenge("bearer", parameters)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", []),
        (" , ,, ", []),
        ("Negotiate", [Challenge("negotiate")]),
        ('Bearer realm="https://h/t",service=gcr.io',
         [bearer(realm="https://h/t", service="gcr.io")]),
        ('Bearer error="",scope="repository:a/b:pull,push"',
         [bearer(error="", scope="repository:a/b:pull,push")]),
        ("Bearer realm=https://h/t?a=b,scope=", [bearer(realm="https://h/t?a=b", scope="")]),
        ('BEARER  Realm = "x" ,\tSERVICE\t=\ts', [bearer(realm="x", service="s")]),
        (r'Basic realm="a \"quoted\", \\ and more"',
         [Challenge("basic", {"realm": 'a "quoted", \\ and more'})]),
        ('Basic realm="r", Bearer realm="https://h/t",scope="s"',
         [Challenge("basic", {"realm": "r"}), bearer(realm="https://h/t", scope="s")]),
        ('Bearer realm="https://h/t", Basic realm="r"',
         [bearer(realm="https://h/t"), Challenge("basic", {"realm": "r"})]),
        ('Negotiate, Basic realm="r", charset="UTF-8"',
         [Challenge("negotiate"), Challenge("basic", {"realm": "r", "charset": "UTF-8"})]),
        ('Negotiate YWJj/+==, NTLM , Basic realm="r"',
         [Challenge("negotiate", {}, "YWJj/+=="), Challenge("ntlm"),
          Challenge("basic", {"realm": "r"})]),
        ('Bearer , realm="x",, service="s"', [bearer(realm="x", service="s")]),
        ('Bearer realm="a",realm="b"', [bearer(realm="b")]),
    ],
)  # fmt: skip
def test_challenges_as_registries_write_them(header, expected):
    assert parse_challenges(header) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('realm="of nothing", Basic realm="r"', [Challenge("basic", {"realm": "r"})]),
        ('Bearer realm="not closed', [bearer(realm="not closed")]),
        ('Bearer realm="not closed\\', [bearer(realm="not closed")]),
        ('Bearer realm="x"; service="a,b", scope=s', [bearer(realm="x", scope="s")]),
        ('"quoted, Digest", Basic realm="r"', [Challenge("basic", {"realm": "r"})]),
        ('Bearer a b c, Basic realm="r"', [bearer(), Challenge("basic", {"realm": "r"})]),
        ('=, ?, Basic realm="r"', [Challenge("basic", {"realm": "r"})]),
    ],
)
def test_what_breaks_the_grammar_hides_nothing_else(header, expected):
    assert parse_challenges(header) == expected


@given(st.text(alphabet=st.sampled_from('Bearer="\\, \tx?/\x00é\n'), max_size=60))
def test_anything_at_all_is_read_without_an_error(header):
    parse_challenges(header)


# Whatever the grammar allows is read as it was meant.

_VALUE = "\t " + "".join(map(chr, range(0x21, 0x7F))) + "éÿ"
_tokens = st.text(_TCHARS, min_size=1, max_size=8)
_token68 = st.builds(
    str.__add__,
    st.text("abcXYZ019-._~+/", min_size=1, max_size=8),
    st.sampled_from(["", "=", "=="]),
)
_names = _tokens.map(str.lower)
_challenges = st.one_of(
    st.builds(Challenge, _names, st.dictionaries(_names, st.text(_VALUE, max_size=12), max_size=4)),
    st.builds(Challenge, _names, st.just({}), _token68),
)


class Spelling:
    """Writes challenges in any way that RFC 9110 allows."""

    def __init__(self, seed):
        self._random = random.Random(seed)

    def header(self, challenges):
        return self._list([self._challenge(one) for one in challenges])

    def _challenge(self, challenge):
        scheme = self._any_case(challenge.scheme)
        if challenge.token68:
            return f"{scheme} {challenge.token68}"
        parameters = [self._parameter(*pair) for pair in challenge.parameters.items()]
        return f"{scheme}{' ' * self._random.randint(1, 3)}{self._list(parameters)}"

    def _parameter(self, name, value):
        return f"{self._any_case(name)}{self._space()}={self._space()}{self._value(value)}"

    def _value(self, value):
        if value and set(value) <= set(_TCHARS) and self._random.random() < 0.5:
            return value
        pairs = (f"\\{c}" if c in '"\\' or self._random.random() < 0.2 else c for c in value)
        return f'"{"".join(pairs)}"'

    def _list(self, elements):
        """Elements with commas between them, and empty elements here and there (5.6.1)."""
        text = "".join(
            f"{self._space()}{self._random.choice([',', ',,', ', ,'])}{self._space()}{element}"
            for element in elements
        )
        return text if self._random.random() < 0.1 else text.lstrip(" \t,")

    def _any_case(self, text):
        return self._random.choice([text, text.upper(), text.capitalize()])

    def _space(self):
        return self._random.choice(["", "", " ", "\t", " \t"])


@given(st.lists(_challenges, min_size=1, max_size=4), st.integers(0, 1 << 32))
def test_every_legal_spelling_is_read_as_it_was_meant(challenges, seed):
    assert parse_challenges(Spelling(seed).header(challenges)) == challenges
