"""The device table of `labsupport.checks`; see tests/test_devices.py."""

from devices.given import NO_TENSOR, Entry, cannot

JUDGES = "it compares the values of a reader's answer on the CPU"

TABLE: dict[str, Entry] = {
    "checks.compare.Raised": cannot(JUDGES),
    "checks.compare.as_tensor": cannot(JUDGES),
    "checks.compare.close": cannot(JUDGES),
    "checks.compare.copied": cannot(JUDGES),
    "checks.compare.dtypes": cannot(JUDGES),
    "checks.compare.exactly": cannot(JUDGES),
    "checks.compare.unchanged": cannot(JUDGES),
    "checks.compare.parts_of": cannot(JUDGES),
    "checks.draws.normal": cannot("it draws small inputs on the CPU"),
    "checks.draws.uniform": cannot("it draws small inputs on the CPU"),
    "checks.draws.whole": cannot("it draws small inputs on the CPU"),
    "checks.frame.Check": cannot("it draws its own small inputs on the CPU"),
    "checks.frame.Report": cannot(NO_TENSOR),
    "checks.frame.check": cannot(NO_TENSOR),
    "checks.frame.collect": cannot(NO_TENSOR),
    "checks.frame.grade": cannot(NO_TENSOR),
    "checks.wording.Case": cannot(JUDGES),
    "checks.wording.described": cannot(JUDGES),
    "checks.wording.difference": cannot(JUDGES),
    "checks.wording.placed": cannot(JUDGES),
    "checks.wording.texts": cannot(JUDGES),
    "checks.wording.unlike": cannot(JUDGES),
}
