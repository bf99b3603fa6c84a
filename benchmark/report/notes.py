"""The notes under a table: each said once, numbered, and placed where it is true."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class Notes:
    """The notes of a table, each said once and numbered in the order of the rows.

    of_all: those of the whole table, before the rows' own.
    """

    def __init__(self, of_all: Iterable[str] = ()) -> None:
        self._texts: list[str] = list(of_all)

    def numbers(self, remarks: Iterable[str]) -> tuple[int, ...]:
        """1-based numbers of these remarks, which become notes."""
        once = dict.fromkeys(remarks)
        self._texts += [remark for remark in once if remark not in self._texts]
        return tuple(sorted(self._texts.index(remark) + 1 for remark in once))

    @property
    def texts(self) -> tuple[str, ...]:
        """The notes, the first being number 1."""
        return tuple(self._texts)


def joined_remarks(titles: Sequence[str], remarks: Sequence[Sequence[str] | None]) -> list[str]:
    """Remarks of one row in several groups of columns, None where the row has nothing there.

    What is true in every group is said once; anything else says where it is true.
    """
    there = [(title, own) for title, own in zip(titles, remarks, strict=True) if own is not None]
    found = dict.fromkeys(remark for _, own in there for remark in own)
    places = {remark: [title for title, own in there if remark in own] for remark in found}
    common = [remark for remark, where in places.items() if len(where) == len(remarks)]
    partial = [remark for remark in places if remark not in common]
    return common + [f"{' and '.join(places[remark])}: {remark}" for remark in partial]
