"""What is compared: each detector with each encoder it can use, at one size where it takes it."""

import dataclasses
from pathlib import Path

import pytest
import torch

from muad.comparison.entries import Entry, Protocol, choose_entries, configured, named_detectors
from muad.datasets.index import open_catalog
from muad.detectors import detector_names
from muad.errors import ConfigError


@pytest.fixture
def protocol(tiny_data: Path) -> Protocol:
    return Protocol(
        catalog=open_catalog(tiny_data),
        device=torch.device("cpu"),
        encoders=("random-vit-tiny",),
        image_px=56,
        settings=("patchcore:detector.coreset_fraction=0.5", "training.batch_size=4"),
    )


def test_all_are_those_that_are_registered() -> None:
    assert named_detectors(["all", "patchcore"]) == detector_names()


def test_a_detector_gets_its_own_settings_after_what_is_the_same_for_all(protocol: Protocol) -> None:
    dinomaly, patchcore = choose_entries(["dinomaly", "patchcore"], protocol)
    assert dinomaly.key == "dinomaly-random-vit-tiny"
    assert dinomaly.image_px == (56, 56)
    assert "detector.coreset_fraction=0.5" in patchcore.settings
    assert not [setting for setting in dinomaly.settings if "coreset" in setting]
    assert {"training.mode=multi_class", "training.batch_size=4"} <= {*dinomaly.settings} & {*patchcore.settings}
    assert (dinomaly.steps, patchcore.steps) == (300, None)
    assert Entry.from_json({**{name: getattr(patchcore, name) for name in Entry.__dataclass_fields__}}) == patchcore


def test_a_size_a_detector_cannot_take_leaves_it_its_own(protocol: Protocol) -> None:
    unfit = Protocol(catalog=protocol.catalog, device=protocol.device, image_px=100)
    (entry,) = choose_entries(["dinomaly"], unfit)
    assert entry.image_px == (280, 280)
    assert entry.notes == ("own image size: 100 x 100 px cannot be",)


def test_encoders_go_to_those_who_can_use_them(protocol: Protocol) -> None:
    both = Protocol(
        catalog=protocol.catalog, device=protocol.device, encoders=("random-vit-tiny", "random-resnet18"), image_px=56
    )
    keys = [entry.key for entry in choose_entries(["dinomaly", "patchcore"], both)]
    assert keys == ["dinomaly-random-vit-tiny", "patchcore-random-vit-tiny", "patchcore-random-resnet18"]
    with pytest.raises(ConfigError, match=r"encoders must be such as one of dinomaly can use, got random-resnet18: "):
        choose_entries(["dinomaly"], both)


def test_encoders_joined_by_a_plus_look_side_by_side_where_a_detector_can(protocol: Protocol) -> None:
    pair = "random-vit-tiny+random-resnet18"
    given = Protocol(catalog=protocol.catalog, device=protocol.device, encoders=(pair, "random-vit-tiny"), image_px=56)
    both, alone, other = choose_entries(["patchcore", "dinomaly"], given)
    assert (both.encoder, alone.encoder, other.encoder) == (pair, "random-vit-tiny", "random-vit-tiny")
    assert both.error is None
    assert both.key == f"patchcore-{pair}"
    config, _ = configured(both, given)
    assert [one.name for one in config.encoders] == pair.split("+")
    with pytest.raises(ConfigError, match=r"encoders must be such as one of dinomaly can use, got random-vit-tiny\+"):
        choose_entries(["dinomaly"], given)


def test_an_encoder_that_cannot_be_had_is_replaced_and_named(
    protocol: Protocol, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    given = Protocol(catalog=protocol.catalog, device=protocol.device, encoders=("dinov2-reg-small",), image_px=56)
    (entry,) = choose_entries(["patchcore"], given)
    assert entry.error is not None
    assert "the hub cannot be reached" in entry.error


def test_a_setting_of_one_detector_must_say_whose_it_is(protocol: Protocol) -> None:
    wrong = Protocol(catalog=protocol.catalog, device=protocol.device, settings=("detector.coreset_fraction=0.5",))
    with pytest.raises(ConfigError, match=r"of dinomaly; give what only one detector has as NAME:section.key=value"):
        choose_entries(["dinomaly", "patchcore"], wrong)
    with pytest.raises(ConfigError, match=r"setting must be of a detector, dinomaly, .*, got patchcor:detector"):
        choose_entries(["dinomaly"], dataclasses.replace(wrong, settings=("patchcor:detector.groups=1",)))
