"""JSON Schema of the statement, for those who write or read it without this package."""

from __future__ import annotations

import json
from typing import Any

from gridtwin.ai_energy.workload_statement import HASH_KEY, SCHEMA_ID, WorkloadStatement

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def statement_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a statement file."""
    schema = WorkloadStatement.model_json_schema()
    seal = {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "SHA-256 of the content."}
    properties = {**schema["properties"], HASH_KEY: seal}
    return {**schema, "$schema": DIALECT, "$id": SCHEMA_ID, "properties": properties}


def schema_json() -> str:
    """The schema as text, always the same bytes."""
    return json.dumps(statement_schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
