"""Whether a case that was run again came to what is stored, column by column."""

from collections.abc import Collection, Mapping

from labsupport.values import check_number

__all__ = []  # tables alone uses them

Tolerance = float | Mapping[str, float]


def check_tolerance(tolerance: Tolerance, columns: Collection[str]) -> None:
    """Refuse a recipe's `TOLERANCE` that is neither a number >= 0 nor a dict of such by column.

    Raises:
        ValueError: it is none of these, or names a column that is not there.
    """
    for column, value in (tolerance if isinstance(tolerance, Mapping) else {"": tolerance}).items():
        check_number("check", f"TOLERANCE[{column!r}]" if column else "TOLERANCE", value, low=0)
        if column and column not in columns:
            raise ValueError(f"check: TOLERANCE must name columns, {', '.join(sorted(columns))}, got {column!r}")


def compare(case: dict, stored: dict, found: dict, tolerance: Tolerance) -> None:
    """Refuse a result that is not the stored one.

    Args:
        case: the case, for the message.
        stored, found: the results by column, JSON scalars or nested lists of them.
        tolerance: absolute, for every column or by column; 0 for what it does not name.
    Raises:
        ValueError: another set of columns; or a column with another shape, other words, or numbers (of lists: their
            mean) further from the stored ones than its tolerance.
    """
    if stored.keys() != found.keys():
        raise ValueError(f"check: run must return the stored columns {sorted(stored)}, got {sorted(found)} for {case}")
    for column, old in stored.items():
        near = tolerance.get(column, 0.0) if isinstance(tolerance, Mapping) else tolerance
        if not _agree(old, found[column], near):
            raise ValueError(
                f"check: {column} must agree within {near:g} with what is stored for {case}, {_short(old)}, "
                f"got {_short(found[column])}"
            )


def _agree(old: object, new: object, near: float) -> bool:
    if not near:
        return old == new and _skeleton(old) == _skeleton(new)
    if _skeleton(old) != _skeleton(new):
        return False
    before, after = _numbers(old), _numbers(new)
    return not before or abs(sum(after) / len(after) - sum(before) / len(before)) <= near


def _skeleton(value: object) -> object:
    """The value with a mark in place of each number: shape and words are left."""
    if isinstance(value, list):
        return [_skeleton(part) for part in value]
    return ("number",) if _is_number(value) else value


def _numbers(value: object) -> list[float]:
    if isinstance(value, list):
        return [number for part in value for number in _numbers(part)]
    return [value] if _is_number(value) else []


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: object) -> str:
    """A value for a message; of many numbers their mean."""
    numbers = _numbers(value)
    if isinstance(value, list) and len(numbers) > 1:
        return f"{len(numbers)} numbers of mean {sum(numbers) / len(numbers):.6g}"
    return repr(value)
