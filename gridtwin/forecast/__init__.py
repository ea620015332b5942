"""Day-ahead forecasts; the package itself can be called: `gridtwin.forecast(profiles, ...)`.

The stage and its verb share their name. Python binds `gridtwin.forecast` to this
package as soon as any part of it is imported, so the package answers the call.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _ForecastStage(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Forward to `gridtwin.forecast.day_ahead.forecast`."""
        from gridtwin.forecast.day_ahead import forecast

        return forecast(*args, **kwargs)


sys.modules[__name__].__class__ = _ForecastStage
