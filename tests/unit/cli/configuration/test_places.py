from __future__ import annotations

from pathlib import Path

import pytest

from services.cli.configuration import read_configuration
from services.cli.configuration.places import placed

TEXT = """\
version: 1
organization: acme
teams:
  ds: {projects: [p]}
  web: {projects: [q]}
keys:
  - {name: a, team: ds, environment: dev}
  - {name: b,
     unlimited: true, team: web}
policies:
  - {name: ds, match: {team: ds}, limits: [{spend: 1, per: day, timezone: Europe/Berlin}]}
"""


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        ("keys[1].team: no", "f.yaml:9:23: keys[1].team: no"),
        # A value that is not in the file is reported at its parent.
        ("keys[0].secret: no: really", "f.yaml:7:5: keys[0].secret: no: really"),
        ("teams[1].projects[0]: no", "f.yaml:5:20: teams.web.projects[0]: no"),
        # Some fields have other names in requests than in the file.
        ("policies[0].limits[0].time_zone: no", "f.yaml:11:65: policies[0].limits[0].timezone: no"),
        ("organization: no", "f.yaml:2:1: organization: no"),
        # A default policy, and what names no field.
        ("policies[1].name: no", "f.yaml: policies[1].name: no"),
        ("Something is wrong", "f.yaml: Something is wrong"),
    ],
)
def test_a_refusal_of_a_service_is_reported_where_it_is_in_the_file(refusal: str, told: str) -> None:
    configuration = read_configuration("f.yaml", TEXT, folder=Path("/"))
    assert placed(configuration.file, configuration.source, refusal) == told
