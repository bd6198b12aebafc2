"""What a page shows: code, tables, figures, sliders, predictions and tested claims.

Everything here ends in HTML that reads well with a kernel, without one, and on the site.
"""

from labsupport.show.claims import claim
from labsupport.show.figures import figure
from labsupport.show.predictions import outcome, predict
from labsupport.show.sliders import slider
from labsupport.show.text import measured, source, table

__all__ = ["claim", "figure", "measured", "outcome", "predict", "slider", "source", "table"]
