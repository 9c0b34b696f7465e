"""The examples do what the documentation says: run as a user runs them, and some of their parts called directly."""

import importlib.util
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image, ImageCms

EXAMPLES = Path(__file__).parent.parent / "examples"
LIMIT = 60  # seconds that any program here may take; none comes near


@pytest.fixture(scope="module")
def images() -> Iterator[ModuleType]:
    """examples/images.py as a module."""
    spec = importlib.util.spec_from_file_location("example_images", EXAMPLES / "images.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five good pictures, two of them with the same stem, in a folder whose name holds a space."""
    folder = tmp_path / "my pictures"
    (folder / "deeper").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    Image.new("RGB", (400, 200), "red").save(folder / "cat.jpg", exif=exif)
    Image.new("RGBA", (300, 300), (0, 0, 255, 0)).save(folder / "cat.png")
    Image.new("CMYK", (80, 640)).save(folder / "deeper" / "tall.JPEG")
    Image.new("P", (10, 20)).save(folder / "deeper" / "small.png")
    Image.new("RGB", (500, 100), "green").save(folder / "wide.webp")
    (folder / "notes.txt").write_text("no picture, and not named like one")
    return folder


def run_images(*args: object, start_method: str = "auto") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, EXAMPLES / "images.py", *map(str, args)]
    environment = {**os.environ, "START_METHOD": start_method}
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False, env=environment)


def sizes(output: Path) -> dict[str, tuple[int, int]]:
    """Size of every file below the thumbnails' folder, all of which must be pictures."""
    found = {}
    for path in (output / "thumbnails").rglob("*"):
        if path.is_file():
            with Image.open(path) as image:
                image.load()
                found[path.relative_to(output / "thumbnails").as_posix()] = image.size
    return found


GOOD = {
    "cat.jpg.jpg": (50, 100),
    "cat.png.jpg": (100, 100),
    "deeper/tall.JPEG.jpg": (12, 100),
    "deeper/small.png.jpg": (10, 20),
    "wide.webp.jpg": (100, 20),
}


@pytest.mark.parametrize("start_method", ["auto", "spawn"])
def test_images_good_folder_gives_all_thumbnails_and_sheet(folder: Path, tmp_path: Path, start_method: str) -> None:
    """Every picture gets an upright thumbnail of its own, none is enlarged, and the sheet shows them all."""
    output = tmp_path / "made here"
    ended = run_images(folder, "--output", output, "--size", 100, "--processes", 2, start_method=start_method)
    assert ended.returncode == 0, ended.stderr
    assert sizes(output) == GOOD
    with Image.open(output / "contact-sheet.jpg") as sheet:
        assert sheet.size == (3 * 136, 2 * 152)
    assert "5 thumbnails by 2 processes" in ended.stdout
    assert str(output / "contact-sheet.jpg") in ended.stdout
    assert re.fullmatch(r"5 of 5 pictures, 0 failed, [0-9.]+ s\n", ended.stderr)


def test_images_broken_files_are_counted_and_explained(folder: Path, tmp_path: Path) -> None:
    """Broken files stop nothing: the others are made, the end says how many failed and why, the exit code is 1."""
    (folder / "empty.jpg").touch()
    (folder / "text.png").write_text("This is no picture.")
    whole = (folder / "cat.jpg").read_bytes()
    (folder / "deeper" / "cut.jpg").write_bytes(whole[: len(whole) // 2 + 200])
    ended = run_images(folder, "--output", tmp_path / "out", "--size", 100)
    assert ended.returncode == 1, ended.stderr
    assert sizes(tmp_path / "out") == GOOD
    assert "3 of 8 pictures failed:" in ended.stderr
    assert "  2 with UnidentifiedImageError" in ended.stderr
    assert "  1 with OSError" in ended.stderr
    assert re.search(r"cut\.jpg: image file is truncated", ended.stderr)
    assert "5 thumbnails by" in ended.stdout


def test_images_only_broken_files_gives_no_sheet(tmp_path: Path) -> None:
    """Without a single thumbnail there is no sheet, and the exit code says that pictures failed."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "empty.webp").touch()
    ended = run_images(folder, "--output", tmp_path / "out")
    assert ended.returncode == 1, ended.stderr
    assert "1 of 1 pictures failed:" in ended.stderr
    assert not (tmp_path / "out" / "contact-sheet.jpg").exists()


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["nowhere"], "images.py: there is no folder nowhere\n"),
        ([".", "--size", "0"], "images.py: --size and --processes must be at least 1\n"),
        ([".", "--processes", "0"], "images.py: --size and --processes must be at least 1\n"),
    ],
)
def test_images_wrong_usage_gets_one_sentence_and_code_2(
    args: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong usage ends at once with one sentence, and nothing is made."""
    monkeypatch.chdir(tmp_path)
    ended = run_images(*args)
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", sentence)
    assert list(tmp_path.iterdir()) == []


def test_images_output_that_is_a_file_gets_one_sentence_and_code_2(folder: Path) -> None:
    """A folder for the results that cannot be made is wrong usage."""
    ended = run_images(folder, "--output", folder / "cat.jpg")
    assert ended.returncode == 2
    assert ended.stderr.startswith("images.py: cannot make the folder for the results: ")
    assert ended.stderr.count("\n") == 1


def test_find_pictures_leaves_out_earlier_results(images: ModuleType, folder: Path) -> None:
    """Results below the folder of pictures are not taken for pictures the next time."""
    before = images.find_pictures(folder, folder)
    images.save(Image.new("RGB", (5, 5)), folder / "thumbnails" / "cat.jpg.jpg")
    images.save(Image.new("RGB", (5, 5)), folder / "contact-sheet.jpg")
    assert [path.name for path in before] == ["cat.jpg", "cat.png", "small.png", "tall.JPEG", "wide.webp"]
    assert images.find_pictures(folder, folder) == before


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_shrink_gives_rgb_for_every_mode(images: ModuleType, mode: str) -> None:
    """Whatever the picture's mode, its thumbnail can be saved as JPEG."""
    image = images.shrink(Image.new(mode, (300, 150)), 100, ImageCms.createProfile("sRGB"))
    assert (image.mode, image.size) == ("RGB", (100, 50))


def test_shrink_keeps_16_bits_of_grey_grey(images: ModuleType) -> None:
    """Half of the range of 16 bits is half of the range of 8."""
    image = images.shrink(Image.new("I;16", (10, 10), 32768), 100, ImageCms.createProfile("sRGB"))
    assert image.getpixel((5, 5)) == (128, 128, 128)


def test_shrink_puts_transparent_pictures_on_white(images: ModuleType) -> None:
    """What is transparent becomes white, not black."""
    image = images.shrink(Image.new("RGBA", (10, 10), (255, 0, 0, 0)), 100, ImageCms.createProfile("sRGB"))
    assert image.getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize("profile", [b"no profile", ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()])
def test_shrink_passes_over_a_profile_that_does_not_fit(images: ModuleType, profile: bytes) -> None:
    """A broken colour profile costs no picture."""
    image = Image.new("RGB", (10, 10), "red")
    image.info["icc_profile"] = profile
    assert images.shrink(image, 100, ImageCms.createProfile("sRGB")).getpixel((5, 5)) == (255, 0, 0)


def test_save_leaves_nothing_unfinished(images: ModuleType, tmp_path: Path) -> None:
    """A picture that cannot be written leaves no half of a file."""
    with pytest.raises(OSError, match="cannot write mode RGBA as JPEG"):
        images.save(Image.new("RGBA", (10, 10)), tmp_path / "x.jpg")
    assert list(tmp_path.iterdir()) == []


def test_paint_sample_is_the_same_every_time(images: ModuleType, tmp_path: Path) -> None:
    """Two samples are equal to the byte, and as many files are damaged as were asked for."""
    samples = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        images.paint_sample(folder, 22, 3)
        samples.append({path.relative_to(folder): path.read_bytes() for path in images.find_pictures(folder, tmp_path)})
    assert samples[0] == samples[1]
    assert len(samples[0]) == 25
    broken = 0
    for path in images.find_pictures(tmp_path / "a", tmp_path):
        try:
            with Image.open(path) as image:
                image.load()
        except OSError:
            broken += 1
    assert broken == 3


def test_contact_sheet_is_bounded(images: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sheet shows the first pictures only, however many there are, and bears names that are no text."""
    monkeypatch.setattr(images, "SHEET_LIMIT", 4)
    thumbnail = tmp_path / "x.jpg"
    images.save(Image.new("RGB", (20, 20)), thumbnail)
    figures = images.Figures(thumbnail, 20, 20, 1, 1, 0.1)
    done = {Path(os.fsdecode(b"\xff%d.jpg" % number)): figures for number in range(9)}
    assert images.contact_sheet(done).size == (2 * 136, 2 * 152)


def test_hello_prints_from_two_processes_and_stops_at_ctrl_c() -> None:
    """The smallest program runs in two processes without a `__main__` guard; Ctrl-C ends it quietly with code 0."""
    command = [sys.executable, str(EXAMPLES / "hello.py")]
    environment = {**os.environ}
    environment.pop("PYTHONUNBUFFERED", None)  # with it a print() is two writes, and two workers' lines can mix
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as program:
        alarm = threading.Timer(LIMIT, program.kill)  # ends the reading below, should nothing ever come
        alarm.start()
        try:
            pids, items = set(), []
            while len(pids) < 2:
                line = program.stdout.readline()
                said = re.fullmatch(r"process (\d+) got (\d+)\n", line)
                assert said, f"{line!r} was read, and on stderr: {program.stderr.read() if not line else ''}"
                pids.add(int(said[1]))
                items.append(int(said[2]))
            assert program.pid not in pids
            assert len(items) == len(set(items))
            program.send_signal(signal.SIGINT)
            stderr = program.communicate(timeout=LIMIT)[1]
        finally:
            program.kill()
            alarm.cancel()
            alarm.join()
    assert program.returncode == 0, stderr
    assert "Traceback" not in stderr
