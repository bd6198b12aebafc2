"""From an interval to a verdict, and from the conditions' verdicts to the claim's."""

from collections.abc import Callable, Sequence

from labsupport.values import check_choice, check_count, check_number

__all__ = ["CONFIDENCE", "SIDES", "TRUTH", "VERDICTS", "combine", "confidences", "judged", "verdict"]

CONFIDENCE = 0.95  # of the interval that one deciding condition is judged by
SIDES = ("above", "below", "within")
VERDICTS = ("holds", "fails", "conditional", "undecided", "not tested here")

# What is found among the deciding conditions (✓ holds, ✗ fails, ? undecided), and what that makes of a claim: of one
# that may hold in some conditions only, and of one that says "always".
TRUTH = {
    frozenset(): ("not tested here", "not tested here"),
    frozenset({"holds"}): ("holds", "holds"),
    frozenset({"fails"}): ("fails", "fails"),
    frozenset({"undecided"}): ("undecided", "undecided"),
    frozenset({"holds", "undecided"}): ("undecided", "undecided"),
    frozenset({"holds", "fails"}): ("conditional", "fails"),
    frozenset({"fails", "undecided"}): ("fails", "fails"),
    frozenset({"holds", "fails", "undecided"}): ("conditional", "fails"),
}


def verdict(low: float, high: float, *, delta: float, side: str) -> str:
    """ "holds", "fails" or "undecided": where the interval from `low` to `high` lies with respect to ± `delta`.

    Args:
        low, high: ends of the effect's interval, in the unit of `delta`; equal where nothing is random.
        delta: δ, the smallest effect that would interest anyone, >= 0.
        side: where the claim says that the effect lies: "above" δ, "below" −δ, or "within" ±δ.
    Raises:
        ValueError: an unknown side, a number that is not finite, ends in the wrong order.
    """
    check_choice("verdict", "side", side, SIDES)
    check_number("verdict", "delta", delta, low=0)
    check_number("verdict", "low", low)
    check_number("verdict", "high", high, low=low)
    if side == "below":
        low, high = -high, -low
    if side == "within":
        holds, fails = -delta <= low and high <= delta, low > delta or high < -delta
    else:
        holds, fails = low > delta, high < delta
    return "holds" if holds else "fails" if fails else "undecided"


def combine(verdicts: Sequence[str], *, always: bool = False) -> str:
    """The claim's verdict from those of its deciding conditions, by `TRUTH`.

    Args:
        verdicts: of each deciding condition; none: "not tested here".
        always: the claim says that it holds in every condition, so that the first failure ends it.
    Raises:
        ValueError: one that is not "holds", "fails" or "undecided".
    """
    if isinstance(verdicts, str):
        raise ValueError(f"combine: verdicts must be a list, got {verdicts!r}")
    for said in verdicts:
        check_choice("combine", "each of verdicts", said, ("holds", "fails", "undecided"))
    return TRUTH[frozenset(verdicts)][always]


def confidences(deciding: int, *, always: bool = False) -> tuple[float, float]:
    """Confidence of the interval by which a condition holds, and of the one by which it fails.

    With m deciding conditions, 1 − 0.05 / m (Bonferroni), so that the chance of any false word stays 5 %. A claim that
    says "always" holds only if all conditions hold, which needs no correction; it fails with the first, which does.
    Source: Berger 1982, Technometrics 24(4), for the intersection-union test.
    """
    corrected = 1 - (1 - CONFIDENCE) / check_count("confidences", "deciding", deciding)
    return (CONFIDENCE if always else corrected), corrected


def judged(
    interval: Callable[[float], tuple[float, float]], *, delta: float, side: str, deciding: int, always: bool = False
) -> str:
    """The verdict on one condition: `interval(confidence)` gives (low, high), at `confidences`."""
    to_hold, to_fail = confidences(deciding, always=always)
    if verdict(*interval(to_hold), delta=delta, side=side) == "holds":
        return "holds"
    return "fails" if verdict(*interval(to_fail), delta=delta, side=side) == "fails" else "undecided"
