"""What every table of a scenario has in common."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
PositiveKw = Annotated[float, Field(gt=0)]
Kind = Literal["measured", "estimated", "assumed"]


class Section(BaseModel):
    """Base of all tables: frozen, unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
