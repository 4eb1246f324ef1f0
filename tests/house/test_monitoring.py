"""Rules, dashboard and runbooks only speak of metrics that exist, and the makers' own tools accept them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
RULES = sorted((DEPLOY / "prometheus/rules").glob("*.yml"))
RULE_TESTS = sorted((DEPLOY / "prometheus/tests").glob("*_test.yml"))
DASHBOARDS = sorted((DEPLOY / "grafana/dashboards").glob("*.json"))
RUNBOOKS = sorted((DEPLOY / "runbooks").glob("*.md"))
SUFFIXES = ("_total", "_bucket", "_sum", "_count")


def rules() -> list[dict[str, Any]]:
    loaded = [YAML(typ="safe").load(path) for path in RULES]
    return [rule for content in loaded for group in content["groups"] for rule in group["rules"]]


ALERTS = [rule for rule in rules() if "alert" in rule]


def metrics_in_code() -> set[str]:
    """Every literal in the code that is the name of a metric, with what its kind appends."""
    files = [ROOT / "shared/metrics.py", *(ROOT / "services").glob("*/metrics.py")]
    files.append(ROOT / "services/kpi/domain/tallies.py")
    names = {name for file in files for name in re.findall(r'"(leadpact_[a-z0-9_]+)"', file.read_text())}
    return names | {name + suffix for name in names for suffix in SUFFIXES}


def named_in(text: str) -> set[str]:
    """Metrics and recorded series that a text names."""
    return set(re.findall(r"\bleadpact[_:][a-z0-9_:]+", text))


def expressions(dashboard: Path) -> Iterator[str]:
    for panel in json.loads(dashboard.read_text())["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))


def spoken_of() -> Iterator[tuple[str, str]]:
    for rule in rules():
        yield rule.get("alert") or rule["record"], rule["expr"]
    for dashboard in DASHBOARDS:
        for expr in expressions(dashboard):
            yield dashboard.name, expr
    for page in [*RUNBOOKS, ROOT / "docs/on-call.md", ROOT / "services/kpi/README.md"]:
        yield page.name, page.read_text()


def test_every_metric_that_is_spoken_of_exists() -> None:
    known = metrics_in_code() | {rule["record"] for rule in rules() if "record" in rule}
    strange = {(where, name) for where, text in spoken_of() for name in named_in(text) if name not in known}
    assert not strange


def test_nothing_sums_what_every_instance_of_kpi_shows() -> None:
    """Two instances once doubled every number: kpi's series go through max before anything else."""
    source = (ROOT / "services/kpi/domain/tallies.py").read_text()
    ours = {name.removesuffix("_total") for name in re.findall(r'"(leadpact_[a-z_]+)"', source)}
    guard = re.compile(r"max without \(instance, pod\) \((?:increase\()?$")
    for where, text in [pair for pair in spoken_of() if not pair[0].endswith(".md")]:
        for found in re.finditer(r"\bleadpact_[a-z_]+", text):
            if any(found.group().startswith(name) for name in ours):
                assert guard.search(text[: found.start()]), f"{where}: {found.group()} is not under max without"


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_each_alert_has_a_comparison_a_severity_and_a_runbook_of_four_parts(alert: dict[str, Any]) -> None:
    assert re.search(r"[<>]=?|==", alert["expr"])
    assert {"severity", "runbook"} <= alert["labels"].keys()
    runbook = ROOT / alert["annotations"]["runbook_url"]
    headings = re.findall(r"^## (.+)$", runbook.read_text(), re.M)
    assert headings == ["Meaning", "Impact", "Diagnosis", "Mitigation"]
    assert alert["labels"]["runbook"] == runbook.stem == alert["alert"]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_only_names_labels_that_its_result_has(alert: dict[str, Any]) -> None:
    kept = re.search(r"by \(([^)]*)\)", alert["expr"])
    assert kept
    labels = {label.strip() for label in kept.group(1).split(",")}
    texts = [*alert["annotations"].values(), *alert["labels"].values()]
    assert {name for text in texts for name in re.findall(r"\$labels\.(\w+)", text)} <= labels


def test_every_runbook_belongs_to_an_alert() -> None:
    assert {path.stem for path in RUNBOOKS} == {alert["alert"] for alert in ALERTS}


def test_every_team_of_the_agreement_has_a_route_that_reaches_it() -> None:
    agreement = YAML(typ="safe").load(DEPLOY / "agreement.yaml")
    routed = YAML(typ="safe").load(DEPLOY / "alertmanager/alertmanager.yml")["route"]["routes"]
    matchers = {matcher for route in routed for matcher in route["matchers"]}
    assert {f'team="{team}"' for team in agreement["handoff"]["teams"]} == matchers


def test_compose_and_host_scrape_the_same_jobs_in_the_same_rhythm() -> None:
    compose, host = (
        YAML(typ="safe").load(DEPLOY / "prometheus" / name) for name in ("prometheus.yml", "prometheus.host.yml")
    )
    names = [[job["job_name"] for job in content["scrape_configs"]] for content in (compose, host)]
    assert names[0] == names[1]
    assert compose["global"] == host["global"]
    assert compose["rule_files"] == host["rule_files"]


@pytest.mark.parametrize(
    "command",
    [
        ("promtool", "check", "config", "deploy/prometheus/prometheus.yml"),
        ("promtool", "check", "config", "deploy/prometheus/prometheus.host.yml"),
        ("promtool", "check", "rules", *(str(path.relative_to(ROOT)) for path in RULES)),
        ("promtool", "test", "rules", *(str(path.relative_to(ROOT)) for path in RULE_TESTS)),
        ("amtool", "check-config", "deploy/alertmanager/alertmanager.yml"),
    ],
    ids=lambda command: " ".join(command[:4]),
)
def test_the_makers_tools_accept_it(command: tuple[str, ...]) -> None:
    if shutil.which(command[0]) is None:
        reason = f"{command[0]} is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_every_expression_of_the_dashboard_is_promql(tmp_path: Path) -> None:
    found = [expr for dashboard in DASHBOARDS for expr in expressions(dashboard)]
    group = {"name": "panels", "rules": [{"record": f"panel:{n}", "expr": expr} for n, expr in enumerate(found)]}
    file = tmp_path / "panels.yml"
    YAML().dump({"groups": [group]}, file)
    done = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert found
    assert done.returncode == 0, done.stdout + done.stderr
