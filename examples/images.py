"""Thumbnails and a contact sheet of a folder of pictures, made by all processors.

    python examples/images.py ~/Pictures --output thumbs

Broken files stop nothing: they are counted, and explained at the end. Without a folder the program paints its own
sample first. Exit code 0 if all went well, 1 if a picture failed, 2 for wrong usage.
"""

import argparse
import io
import math
import os
import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

from PIL import Image, ImageCms, ImageDraw, ImageFont, ImageOps

from quasiqueue import Outcome, QuasiQueue, Settings

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
SHEET_LIMIT, TILE, CAPTION = 400, 128, 16  # pictures on the contact sheet; pixels of one of them and of its caption


class ImageSettings(Settings):
    """The library's settings and three of our own, for `context`."""

    folder: Path
    output: Path
    size: int


class Figures(NamedTuple):
    """What the reader tells about one thumbnail: small, because it travels from process to process."""

    thumbnail: Path
    width: int
    height: int
    bytes_in: int
    bytes_out: int
    seconds: float


# ---- in the worker processes


def context(settings: ImageSettings) -> dict[str, object]:
    """Make what every picture needs, once per process."""
    return {
        "srgb": ImageCms.createProfile("sRGB"),
        "folder": settings.folder,
        "thumbnails": settings.output / "thumbnails",
        "size": settings.size,
    }


def reader(source: Path, ctx: dict) -> Figures:
    """Make one thumbnail. What is raised here becomes the picture's outcome, and the process goes on with the next."""
    start = time.perf_counter()
    with Image.open(source) as image:
        thumbnail = shrink(image, ctx["size"], ctx["srgb"])
    # The whole name and one more suffix, so that "cat.jpg" and "cat.png" do not meet.
    target = ctx["thumbnails"] / source.relative_to(ctx["folder"]).with_name(source.name + ".jpg")
    save(thumbnail, target)
    sizes = source.stat().st_size, target.stat().st_size
    return Figures(target, *thumbnail.size, *sizes, time.perf_counter() - start)


def shrink(image: Image.Image, size: int, srgb: ImageCms.core.CmsProfile) -> Image.Image:
    """Return the picture upright, in sRGB colours on white, at most `size` pixels wide and high, never enlarged."""
    image.draft(None, (2 * size, 2 * size))  # a large JPEG is decoded at a fraction of its size
    image = ImageOps.exif_transpose(image)
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I"):  # 16 bits of grey: a plain conversion would cut them off at 255
        image = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode not in {"L", "CMYK"}:
        image = image.convert("RGB")
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    if profile:
        with suppress(ImageCms.PyCMSError):  # a broken profile: without it the colours are nearly right
            image = ImageCms.profileToProfile(image, io.BytesIO(profile), srgb, outputMode="RGB") or image
    return image.convert("RGB")


def save(image: Image.Image, target: Path) -> None:
    """Write a JPEG so that nobody ever sees half of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{os.getpid()}.part")
    try:
        image.save(unfinished, "JPEG", quality=85)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


# ---- in the main process


class Progress:
    """Gathers outcomes and tells how far things are: one line on a terminal, elsewhere a new line now and then."""

    def __init__(self, total: int, stream: IO[str]) -> None:
        self.done: dict[Path, Figures] = {}
        self.failed: dict[Path, tuple[str, str]] = {}
        self._total, self._stream, self._terminal = total, stream, stream.isatty()
        self._start = self._shown = time.monotonic()

    def collect(self, outcomes: Sequence[Outcome[Path]]) -> None:
        """Take finished items, as the queue's collector: in lists, in a thread of the main process."""
        for outcome in outcomes:
            if outcome.status == "done":
                self.done[outcome.item] = outcome.result
            elif outcome.status != "released":  # which means that the run was stopped before it was begun
                self.failed[outcome.item] = outcome.error.type, outcome.error.message
        if time.monotonic() - self._shown > (0.1 if self._terminal else 5.0):
            self.show(end="" if self._terminal else "\n")

    def show(self, end: str = "\n") -> None:
        """Write the line."""
        self._shown = time.monotonic()
        count = len(self.done) + len(self.failed)
        line = f"{count} of {self._total} pictures, {len(self.failed)} failed, {self._shown - self._start:.1f} s"
        print(f"\r{line:<70}" if self._terminal else line, end=end, file=self._stream, flush=True)

    def explain(self) -> str:
        """Say what failed and why: a count for each kind of error, with its first files."""
        kinds: dict[str, list[str]] = defaultdict(list)
        for path, (kind, message) in sorted(self.failed.items()):
            kinds[kind].append(f"    {path}: {message}")
        lines = [f"{len(self.failed)} of {self._total} pictures failed:"]
        for kind, files in sorted(kinds.items()):
            lines += [f"  {len(files)} with {kind}", *files[:10]]
            lines += [f"    and {len(files) - 10} more"] if len(files) > 10 else []
        return "\n".join(lines)


def find_pictures(folder: Path, output: Path) -> list[Path]:
    """List the pictures under `folder`, without what an earlier run has left there."""
    made = output / "thumbnails", output / "contact-sheet.jpg"
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and not path.is_dir())
    return sorted(path for path in found if not any(path.is_relative_to(one) for one in made))


def contact_sheet(done: dict[Path, Figures]) -> Image.Image:
    """Put the first thumbnails side by side, with the pictures' names below them."""
    chosen = sorted(done.items())[:SHEET_LIMIT]
    columns = math.ceil(math.sqrt(len(chosen)))
    width, height = TILE + 8, TILE + CAPTION + 8
    sheet = Image.new("RGB", (columns * width, math.ceil(len(chosen) / columns) * height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for place, (source, figures) in enumerate(chosen):
        left, top = place % columns * width + 4, place // columns * height + 4
        with Image.open(figures.thumbnail) as image:
            image.thumbnail((TILE, TILE))
            sheet.paste(image, (left + (TILE - image.width) // 2, top + (TILE - image.height) // 2))
        name = source.name if len(source.name) <= 20 else source.name[:8] + "..." + source.name[-9:]
        name = name.encode(errors="replace").decode()  # names need not be text
        draw.text((left + TILE // 2, top + TILE), name, "black", font, anchor="mt")
    return sheet


def make_thumbnails(folder: Path, output: Path, size: int, processes: int) -> int:
    """Do it all, and return the exit code."""
    paths = find_pictures(folder, output)
    progress = Progress(len(paths), sys.stderr)
    settings = ImageSettings(folder=folder, output=output, size=size, num_processes=processes, item_timeout=60)
    queue = QuasiQueue("images", reader, writer=paths, context=context, collector=progress.collect, settings=settings)
    summary = queue.run()
    progress.show()
    if done := progress.done:
        sheet, sheet_path = contact_sheet(done), output / "contact-sheet.jpg"
        save(sheet, sheet_path)
        work, written = sum(f.seconds for f in done.values()), sum(f.bytes_out for f in done.values())
        print(f"{len(done)} thumbnails by {processes} processes in {summary.seconds:.1f} s, {work:.1f} s of work")
        print(f"  {output / 'thumbnails'}  {written / 1e6:.1f} MB")
        print(f"  {sheet_path}  {sheet.width} x {sheet.height} pixels, {sheet_path.stat().st_size / 1e6:.1f} MB")
    if summary.released:
        print(f"Stopped early: {summary.released} pictures were not begun.", file=sys.stderr)
    if not summary.ok:
        print(progress.explain(), file=sys.stderr)
    return 0 if summary.ok else 1


def paint_sample(folder: Path, count: int, broken: int) -> None:
    """Paint pictures of many formats, modes and sizes, the same ones every time; the last `broken` ones are damaged."""
    chance = random.Random(1)
    kinds = [("jpg", "RGB"), ("jpg", "RGB"), ("jpg", "L"), ("jpg", "CMYK"), ("webp", "RGB"), ("webp", "RGBA")]
    kinds += [("png", mode) for mode in ("RGB", "RGBA", "LA", "P", "1")]
    turns = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    for number in range(1, count + broken + 1):
        suffix, mode = kinds[number % len(kinds)]
        width, height = chance.randint(40, 640), chance.randint(40, 640)
        bands = [Image.linear_gradient("L").rotate(chance.choice((0, 90, 180, 270))) for _ in range(3)]
        image = Image.merge("RGBA", [*bands, ImageOps.invert(Image.radial_gradient("L"))]).resize((width, height))
        draw, font = ImageDraw.Draw(image), ImageFont.load_default(min(width, height) / 3)
        for _ in range(6):
            x, y, radius = chance.randrange(width), chance.randrange(height), chance.randint(5, 120)
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), tuple(chance.randbytes(3)))
        draw.text((width / 2, height / 2), str(number), "white", font, anchor="mm", stroke_width=1, stroke_fill="black")
        image = image.convert("RGB" if mode in {"CMYK", "P", "1"} else mode).convert(mode)
        exif = Image.Exif()
        if suffix == "jpg" and number % 2:  # lies on its side or its head, and says so
            exif[0x0112], turn = chance.choice(list(turns.items()))
            image = image.transpose(turn)
        path = folder / f"album {number % 7 + 1}" / f"{mode} {number:04}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, exif=exif)
        if number > count:
            data = path.read_bytes()
            path.write_bytes((b"", b"This is no picture.", data[: len(data) // 2])[number % 3])


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Make thumbnails and a contact sheet of a folder of pictures.")
    parser.add_argument("folder", nargs="?", type=Path, help="folder with pictures (default: a sample is painted)")
    parser.add_argument("--output", type=Path, default=Path("demo"), help="folder for the results (default: demo)")
    parser.add_argument("--size", type=int, default=256, help="most pixels of a side (default: 256)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="default: one per processor")
    parser.add_argument("--broken", type=int, default=0, help="broken files to add to the sample (default: 0)")
    args = parser.parse_args()
    output = args.output.resolve()
    if args.size < 1 or args.processes < 1:
        parser.exit(2, "images.py: --size and --processes must be at least 1\n")
    if args.folder and not args.folder.is_dir():
        parser.exit(2, f"images.py: there is no folder {args.folder}\n")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.exit(2, f"images.py: cannot make the folder for the results: {error}\n")
    if args.folder:
        return make_thumbnails(args.folder.resolve(), output, args.size, args.processes)
    with tempfile.TemporaryDirectory(prefix="pictures-") as folder:
        print("Painting 400 pictures", file=sys.stderr)
        paint_sample(Path(folder), 400, args.broken)
        return make_thumbnails(Path(folder), output, args.size, args.processes)


if __name__ == "__main__":
    sys.exit(main())
