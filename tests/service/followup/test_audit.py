"""Drawing parts that people are asked about."""

from __future__ import annotations

import hashlib
import stat
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from muad.errors import DataError
from muad.service.followup.audit import SECRET_FILE, Audit, audit_secret, is_drawn
from muad.service.history.ids import new_id

AT = datetime(2026, 1, 31, 23, 59, tzinfo=UTC)


def test_the_stated_share_of_parts_is_drawn_and_the_same_ones_again():
    ids = [new_id(AT) for _ in range(5_000)]
    drawn = [Audit(b"secret", 0.1).chosen(one, AT) for one in ids]
    assert abs(sum(drawn) - 500) < 4 * 450**0.5
    assert drawn == [Audit(b"secret", 0.1).chosen(one, AT) for one in ids]
    assert drawn != [Audit(b"other", 0.1).chosen(one, AT) for one in ids]


def test_who_is_drawn_at_a_share_is_drawn_at_a_larger_one():
    ids = [new_id(AT) for _ in range(500)]
    small, large = ({one for one in ids if Audit(b"secret", share).chosen(one, AT)} for share in (0.05, 0.2))
    assert small < large


def test_nothing_and_everything_can_be_drawn():
    assert not any(Audit(b"secret", 0).chosen(new_id(AT), AT) for _ in range(50))
    assert all(Audit(b"secret", 1).chosen(new_id(AT), AT) for _ in range(50))


def test_what_was_drawn_can_be_checked_once_the_day_is_over_and_not_foreseen():
    audit, part = Audit(b"secret", 0.5), new_id(AT)
    assert audit.key(AT.date(), today=AT.date()) is None
    key = audit.key(AT.date(), today=date(2026, 2, 1))
    assert key is not None
    assert is_drawn(bytes.fromhex(key), part, 0.5) == audit.chosen(part, AT)
    assert hashlib.sha256(bytes.fromhex(key)).hexdigest() == audit.commitment(AT.date())


def test_a_station_keeps_its_secret_to_itself(tmp_path: Path):
    secret = audit_secret(tmp_path)
    assert audit_secret(tmp_path) == secret
    assert len(secret) == 32
    assert stat.S_IMODE((tmp_path / SECRET_FILE).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [SECRET_FILE]


@pytest.mark.parametrize("text", ["", "zz", "abcd"])
def test_a_damaged_secret_is_refused(tmp_path: Path, text: str):
    (tmp_path / SECRET_FILE).write_text(text)
    with pytest.raises(DataError, match="audit secret must"):
        audit_secret(tmp_path)
