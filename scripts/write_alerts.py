"""Write the alerts of deploy/prometheus for the Prometheus operator, as deploy/kubernetes has them: ``make docs``."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import indent
from typing import Final

DEPLOY: Final = Path(__file__).parents[1] / "deploy"
RULES: Final = DEPLOY / "prometheus" / "courier.rules.yml"
PAGE: Final = DEPLOY / "kubernetes" / "components" / "alerts" / "prometheus-rule.yaml"

HEAD: Final = """\
# Written by make docs from deploy/prometheus/courier.rules.yml. Change it there.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: courier
  labels: {app.kubernetes.io/name: courier}
spec:
"""


def text() -> str:
    """Return the content of the file: the rules as they are, with their comments, one step to the right."""
    rules = RULES.read_text()
    return HEAD + indent(rules[rules.index("groups:") :], "  ")


if __name__ == "__main__":
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    path.write_text(text())
