"""What is deployed is what is tested: named files exist, containers may write little, settings and metrics are real."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from muad.service.settings import StationSettings
from muad.service.station import Station

yaml = pytest.importorskip("yaml", reason="needs PyYAML, which schemathesis brings")
DEPLOY = Path(__file__).resolve().parents[3] / "deploy"


def dockerfile() -> list[tuple[str, str]]:
    lines = [line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    whole = "\n".join(lines).replace("\\\n", " ")
    return [(word, rest.strip()) for line in whole.splitlines() if line for word, _, rest in [line.partition(" ")]]


def test_the_image_has_what_it_copies_and_runs_as_nobody_with_a_health_check() -> None:
    steps = dockerfile()
    copied = [name for word, rest in steps if word == "COPY" and "--from" not in rest for name in rest.split()[:-1]]
    assert all((DEPLOY.parent / name).exists() for name in copied)
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    assert {f"!{name}" for name in copied} <= set(ignored)
    words = [word for word, _ in steps]
    assert words.index("USER") < words.index("ENTRYPOINT")
    assert dict(steps)["USER"] == "10001:10001"
    assert "HEALTHCHECK" in words
    assert json.loads(dict(steps)["ENTRYPOINT"]) == ["muad", "serve"]
    install = (DEPLOY / "install.sh").read_text()
    assert "constraints.txt" in install
    assert "train" not in re.findall(r"extras=\$\{2:-([\w,]+)\}", install)[0]
    assert "privileged" not in (DEPLOY / "Dockerfile").read_text()


def test_every_container_has_a_read_only_root_no_capabilities_and_only_known_volumes() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert set(compose["services"]) == {"station", "database", "prometheus"}
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert not service.get("privileged", False)
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        for volume in service.get("volumes", []):
            source, _, _ = volume.partition(":")
            known = not source.startswith("./") or (DEPLOY / source).exists()
            assert known or source in ("./station.toml", "./models", "./prometheus-token"), volume
    assert "cap_add" not in compose["services"]["station"]


def test_the_settings_that_come_along_are_those_of_a_station() -> None:
    text = (DEPLOY / "station.example.toml").read_text()
    assert StationSettings.model_validate(tomllib.loads(text)).history.url == "postgresql://muad@database/muad"
    with_comments = re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE)
    assert StationSettings.model_validate(tomllib.loads(with_comments)).access.trusted_proxies == ("172.18.0.1",)


def test_alerts_are_about_metrics_that_there_are(make_station: object) -> None:
    station: Station = make_station()  # type: ignore[operator]
    station.start()
    told = station.metrics.text().decode()
    rules = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"][0]["rules"]
    named = {name for rule in rules for name in re.findall(r"muad_\w+", rule["expr"])}
    there = set(re.findall(r"^# TYPE (muad_\w+)", told, flags=re.MULTILINE))
    assert named <= there
    config = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    assert config["rule_files"] == ["/etc/prometheus/alerts.yml"]
    assert config["scrape_configs"][0]["static_configs"][0]["targets"] == ["station:8420"]


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    unit = tmp_path / "muad.service"
    text = (DEPLOY / "muad.service").read_text()
    assert "ExecStart=/opt/muad/bin/muad serve " in text
    unit.write_text(text.replace("/opt/muad/bin/muad", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
