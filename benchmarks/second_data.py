"""A second real data set: the letters of the fonts on this machine, as class folders.

    python benchmarks/second_data.py letters            # makes letters/train/a/*.png ... letters/val/z/*.png
    fpnas search --data letters --space fbnetv2-f-32 --image-size 28 --target-macs 2.5M --output run
    python benchmarks/against_random.py run --data letters

Upper and lower case are one class of 26, in every font that has them; a fifth of the font families is held out, so that
what is tested are designs that no training image shows. How many fonts there are depends on the machine: on Debian
the packages `fonts-*` bring them.
"""

import argparse
import hashlib
import string
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

FONTS = Path("/usr/share/fonts")
SIDE, POINTS, MARGIN = 28, 64, 2
HELD_OUT = 5
MISSING = "\U0010fffe"


def letter(font: ImageFont.FreeTypeFont, character: str) -> Image.Image | None:
    """A character, centred and as large as fits, white on black; None where nothing is drawn."""
    left, top, right, bottom = font.getbbox(character)
    if right <= left or bottom <= top:
        return None
    canvas = Image.new("L", (int(right - left), int(bottom - top)))
    ImageDraw.Draw(canvas).text((-left, -top), character, fill=255, font=font)
    scale = (SIDE - 2 * MARGIN) / max(canvas.size)
    width, height = (max(1, round(side * scale)) for side in canvas.size)
    image = Image.new("L", (SIDE, SIDE))
    small = canvas.resize((width, height), Image.Resampling.LANCZOS)
    image.paste(small, ((SIDE - width) // 2, (SIDE - height) // 2))
    return image if image.getbbox() else None


def letters(path: Path) -> tuple[str, dict[str, Image.Image]] | None:
    """Family and letters of a font; None if it has no Latin letters of its own."""
    try:
        font = ImageFont.truetype(str(path), POINTS)
        images = {character: letter(font, character) for character in string.ascii_letters}
        missing = letter(font, MISSING)
    except (OSError, ValueError):  # bitmap fonts and the like
        return None
    drawn = {name: image for name, image in images.items() if image}
    distinct = {image.tobytes() for image in drawn.values()}
    if len(drawn) < len(images) or len(distinct) < 26 or (missing and missing.tobytes() in distinct):
        return None
    return str(font.getname()[0]).split()[0].lower(), drawn


def latin_fonts() -> Iterator[tuple[str, str, dict[str, Image.Image]]]:
    """Name, family and letters of every font of use, in order of their paths."""
    for path in sorted(FONTS.rglob("*")):
        if path.suffix.lower() in (".ttf", ".otf"):
            found = letters(path)
            if found:
                yield path.stem, *found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    counts, families = {"train": 0, "val": 0}, set()
    for name, family, drawn in latin_fonts():
        # By digest: a family is on the same side whatever other fonts a machine has.
        held_out = int(hashlib.sha256(family.encode()).hexdigest(), 16) % HELD_OUT == 0
        part = "val" if held_out else "train"
        families.add(family)
        for character, image in drawn.items():
            path = folder / part / character.lower() / f"{name}-{'upper' if character.isupper() else 'lower'}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)
            counts[part] += 1
    print(f"{len(families)} families, {counts['train']} training and {counts['val']} validation images in {folder}")


if __name__ == "__main__":
    main()
