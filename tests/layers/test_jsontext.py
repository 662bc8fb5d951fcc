from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layers.jsontext import DEPTH_MAX, parse, parse_exact


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (rb'"\ud800"', "\ufffd"),
        (rb'"a\uDFFFb"', "a\ufffdb"),
        (rb'"\ud83d\ude00"', "\U0001f600"),
        (rb'"\ud800\ud83d\ude00"', "\ufffd\U0001f600"),
        (rb'"\\ud800"', r"\ud800"),
        (rb'{"\ud800": [{"a": "\udc00"}]}', {"\ufffd": [{"a": "\ufffd"}]}),
        (b'"\xed\xa0\x80"', "\ufffd\ufffd\ufffd"),
        (b'"\xff"', "\ufffd"),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'{"a": {"b": 1, "c": {"d": 1}}, "a": {"c": {"e": 2}}}',
         {"a": {"b": 1, "c": {"d": 1, "e": 2}}}),
        (b'{"a": {"b": 1}, "a": [2]}', {"a": [2]}),
        (b"1e308", 1e308),
        (b"-5", -5),
    ],
)  # fmt: skip
def test_it_is_read_as_go_reads_it(raw, value):
    assert parse(raw) == value


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ("{}".encode("utf-16"), "Expecting value"),
        (b"NaN", "it holds NaN, which JSON does not have"),
        (b"[-Infinity]", "it holds -Infinity, which"),
        (b"1e400", "it holds the number 1e400, which is too large"),
        (b"9" * 5000, "it holds a number of 5,000 digits"),
        (b"[" * 100_000, "nested more than 100 deep"),
        (b"[" * 101 + b"]" * 101, "nested more than 100 deep"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, "nested more than 100 deep"),
        (b"{} x", "Extra data"),
        (b"", "Expecting value"),
    ],
)
def test_what_go_refuses_is_refused(raw, problem):
    with pytest.raises(ValueError, match=problem):
        parse(raw)


@pytest.mark.parametrize("raw", [rb'"\ud800"', b'"\xff"', rb'{"\udc00": 1}'])
def test_what_would_be_replaced_is_refused_where_it_must_be_exact(raw):
    with pytest.raises(ValueError, match="surrogate|utf-8"):
        parse_exact(raw)
    assert parse_exact(rb'"\ud83d\ude00"') == "\U0001f600"
    assert parse_exact(rb'"\\ud800"') == r"\ud800"


def test_as_deep_as_it_may_be_is_read():
    assert parse(b"[" * DEPTH_MAX + b"]" * DEPTH_MAX)
    assert parse(b"[" * DEPTH_MAX + b"1" + b"]" * DEPTH_MAX)
    assert parse(b'"' + b"[" * 500 + b'"')
    assert len(parse(b"[" + b"{}," * 500 + b"{}]")) == 501


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))  # fmt: skip
def test_what_is_written_reads_back(value):
    assert parse(json.dumps(value).encode()) == value


@given(st.binary())
def test_any_bytes_are_read_or_refused(raw):
    try:
        value = parse(raw)
    except ValueError:
        return
    json.dumps(value, ensure_ascii=False).encode()
