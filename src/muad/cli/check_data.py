"""`muad check-data`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from muad.cli.display import plain_table, progress_bar, quiet_engine, say, show, show_json, show_table
from muad.wording import counted

if TYPE_CHECKING:
    from muad.checking import DataCheck, Finding

_SHOWN = 3  # findings of a kind and product in the terminal; the page has more, the JSON all


def command(
    data: Annotated[Path, typer.Argument(help="Data set: folder or manifest.")],
    out: Annotated[Path | None, typer.Option(help="HTML page with the pictures.")] = None,
    layout: Annotated[str, typer.Option(help="How it lies on disk.")] = "auto",
    recipe: Annotated[str | None, typer.Option(help="Settings to come: recipe, TOML file or RUN/config.toml.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    strict: Annotated[bool, typer.Option("--strict", help="Exit with code 1 if there is any finding.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Look for damaged files, repeats, leakage, bad parts among the good, odd images and defects that are too small."""
    from muad.checking import check_data

    quiet_engine()
    with progress_bar() as update:
        found = check_data(data, layout=layout, recipe=recipe, device=device, progress=update)
    if out is not None:
        from muad.checking import write_check_page

        write_check_page(found, out)
    if as_json:
        show_json(found.to_json())
    else:
        _show(found)
    if out is not None:
        say(f"page with the pictures: {out}")
    if strict and found.findings:
        raise typer.Exit(1)


def _show(found: DataCheck) -> None:
    from muad.checking.findings import GRAVE, MEANINGS, REMEDIES

    table = plain_table()
    for heading in ("category", "train", "test\ngood", "test\nbad", "findings", "median defect,\npatches"):
        table.add_column(heading, justify="left" if heading == "category" else "right", no_wrap=True)
    for row in found.categories:
        own = sum(finding.category == row.name for finding in found.findings)
        patches = "-" if row.median_patches is None else f"{row.median_patches:.1f}"
        table.add_row(row.name, str(row.train), str(row.test_good), str(row.test_bad), str(own), patches)
    show_table(table)
    for kind, count in found.counts.items():
        show(f"{kind.replace('_', ' ')}: {count}{' (settle first)' if kind in GRAVE else ''}, {MEANINGS[kind]}")
        of_kind = [finding for finding in found.findings if finding.kind == kind]
        for name in dict.fromkeys(finding.category for finding in of_kind):
            of_product = [finding for finding in of_kind if finding.category == name]
            show(f"  {name}: {len(of_product)}")
            for finding in of_product[:_SHOWN]:
                show(f"    {_line(finding, found.data)}")
            if len(of_product) > _SHOWN:
                show(f"    and {len(of_product) - _SHOWN} more")
        show(f"  -> {REMEDIES[kind]}\n")
    if not found.findings:
        show("nothing found")
    if found.proposed:
        asked = " ".join(f"--set {setting}" for setting in found.proposed)
        show(f"proposed: muad train {shlex.quote(str(found.data))} --out RUN {asked}")
    if found.cost is not None:
        cost = found.cost
        minutes, work = cost.seconds / 60, counted(cost.steps, "step") if cost.steps else "one look at every image"
        shown = f"{minutes / 60:.1f} hours" if minutes > 90 else counted(max(1, round(minutes)), "minute")
        show(
            f"training: about {shown} and {cost.memory_bytes / 2**30:.1f} GiB beside the program, for {work} "
            f"with {cost.network} at {cost.image_px[0]} x {cost.image_px[1]} px on {cost.device}"
        )
    for note in found.notes:
        say(note)


def _line(finding: Finding, root: Path) -> str:
    """A finding with the first of its images, named from the data set's folder."""
    from muad.datasets.content_hash import relative_name

    names = [relative_name(path, root) for path in finding.images[:3] if str(path) not in finding.text]
    more = f" and {len(finding.images) - 3} more" if len(finding.images) > 3 else ""
    return f"{', '.join(names)}{more}{': ' if names else ''}{finding.text}"
