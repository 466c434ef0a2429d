#!/bin/bash
# tests/cluster/schemas.py with the packages that have the schemas.
PYTHON=$(cd "$(dirname "$0")/../.." && pwd)/build/venv-cluster-more/bin/python
"$PYTHON" -c 'import kubernetes_validate, sky' 2>/dev/null || { echo "SKIPPED schemas: $PYTHON has no kubernetes-validate and skypilot"; exit 77; }
timeout 300 "$PYTHON" "$(dirname "$0")/schemas.py"
