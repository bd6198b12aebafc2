"""The device table of `labsupport.show`; see tests/test_devices.py."""

from devices.given import NO_TENSOR, VALUES, Entry, cannot, floats

from labsupport import show

TEXT = "it makes text and pictures on the CPU"

TABLE: dict[str, Entry] = {
    "show.bundles.Bundle": cannot(TEXT),
    "show.bundles.asset": cannot(TEXT),
    "show.bundles.content_id": cannot(TEXT),
    "show.bundles.data_uri": cannot(TEXT),
    "show.bundles.is_live": cannot(TEXT),
    "show.bundles.picture": cannot(TEXT),
    "show.bundles.show_now": cannot(TEXT),
    "show.claims.claim": cannot(TEXT),
    "show.claims.measurement": cannot(TEXT),
    "show.claims.origin": cannot(TEXT),
    "show.claims.record": cannot(TEXT),
    "show.claims.rule_text": cannot(TEXT),
    "show.claims.runs_text": cannot(TEXT),
    "show.figures.figure": cannot(TEXT),
    "show.figures.require_text": cannot(TEXT),
    "show.predictions.outcome": cannot(TEXT),
    "show.predictions.predict": cannot(TEXT),
    "show.sliders.slider": cannot(TEXT),
    "show.text.measured": cannot(VALUES, gpu=lambda d: show.measured(floats(d, 3)) and ()),
    "show.text.rounded": cannot(NO_TENSOR),
    "show.text.source": cannot(TEXT),
    "show.text.table": cannot(TEXT),
}
