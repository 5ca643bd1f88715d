"""station.toml: what is wrong with it is said in one line, before anything starts."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from muad.cli.main import app
from muad.errors import ConfigError
from muad.service.settings import known_keys, read_settings


def test_without_a_file_all_is_as_usual_and_options_go_before_the_file(tmp_path: Path) -> None:
    usual = read_settings(tmp_path)
    assert (usual.service.host, usual.service.port, usual.judging.batch_size) == ("127.0.0.1", 8420, 8)
    (tmp_path / "station.toml").write_text("[service]\nport = 9000\nname = 'line 2'\n")
    changed = read_settings(tmp_path, {"service": {"port": 0}})
    assert (changed.service.port, changed.service.name) == (0, "line 2")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[judging]\nbatchsize = 4", "key must be a known one, got 'judging.batchsize'. Did you mean"),
        ("[judgin]\nqueue = 4", "key must be a known one, got 'judgin'. Did you mean 'judging'?"),
        ("[judging]\nqueue = 0", "judging.queue must be at least 1, got 0."),
        ("[judging]\nbatch_size = 1000", "judging.batch_size must be at most 256, got 1000."),
        ('[service]\nport = "x"', 'service.port must be '),
        ("service = 3", "service must be a table of keys, got 3."),
        ("[service]\ntls_key = 'k.pem'", "tls_certificate and tls_key must be given together, got one."),
        ("[service", "station.toml must be valid TOML"),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_its_key(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "station.toml").write_text(text)
    with pytest.raises(ConfigError) as fault:
        read_settings(tmp_path)
    assert said in str(fault.value)
    assert "\n" not in str(fault.value)


def test_every_section_is_checked_by_the_command(tmp_path: Path) -> None:
    (tmp_path / "station.toml").write_text("[access]\nopen = true\n[service]\nhost = '0.0.0.0'\n")
    found = CliRunner().invoke(app, ["serve", "--data", str(tmp_path), "--check"])
    assert isinstance(found.exception, ConfigError)
    assert "service.host must be a loopback address" in str(found.exception)
    (tmp_path / "station.toml").write_text("[judging]\nqueue = 5\n")
    assert CliRunner().invoke(app, ["serve", "--data", str(tmp_path), "--check"]).exit_code == 0
    assert {"judging.queue", "service.host", "access.open", "uploads.mb"} <= set(known_keys())
