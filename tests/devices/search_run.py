"""The device table of `labsupport.search.run`; see tests/test_devices.py."""

from devices.given import NO_TENSOR, Entry, cannot

STUDY = "a study is plain data, and its objective names its device: " + NO_TENSOR

TABLE: dict[str, Entry] = {
    f"search.run.{name}": cannot(STUDY)
    for name in [
        "channel.Line", "channel.here", "channel.opened", "channel.report", "channel.sending", "crew.Crew", "crew.Here",
        "crew.client_of", "crew.processes", "crew.width", "plan.RunPlan", "stored.Ledger", "stored.opened", "study.run",
        "work.Outcome", "work.Task", "work.device", "work.perform",
    ]
}  # fmt: skip
