"""Draws the pictures of the catalog: one product on a table, as a seller photographs it."""

import math

import numpy as np
from PIL import Image, ImageDraw

Color = tuple[int, int, int]

COLORS = (
    (196, 62, 58),
    (222, 133, 44),
    (214, 178, 40),
    (70, 140, 82),
    (48, 126, 150),
    (62, 88, 168),
    (128, 84, 156),
    (196, 104, 140),
    (112, 86, 66),
    (86, 92, 100),
)
CARDBOARD = (190, 148, 102)
INK = (52, 44, 40)
OVERSAMPLING = 2  # Pictures are drawn larger and reduced, because Pillow draws hard edges.


class Pen:
    """Draws on a canvas in the coordinates of a product: (0, 0) is its centre, y points down.

    The centre lies at (x, y) on the canvas, in pixels; `scale` is the pixels for a length of 1,
    about a product's height, and `angle` the rotation in radians.
    """

    def __init__(self, draw: ImageDraw.ImageDraw, x: float, y: float, scale: float, angle: float):
        self.draw = draw
        self.x, self.y, self.scale = x, y, scale
        self.across, self.along = scale * math.cos(angle), scale * math.sin(angle)

    def polygon(self, points: list[tuple[float, float]], fill: Color) -> None:
        self.draw.polygon(self._to_pixels(points), fill=fill)

    def box(self, left: float, top: float, right: float, bottom: float, fill: Color) -> None:
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], fill)

    def ellipse(self, x: float, y: float, x_radius: float, y_radius: float, fill: Color) -> None:
        self.polygon(arc(x, y, x_radius, y_radius), fill)

    def line(self, points: list[tuple[float, float]], width: float, fill: Color) -> None:
        pixels = max(OVERSAMPLING, round(width * self.scale))
        self.draw.line(self._to_pixels(points), fill=fill, width=pixels, joint="curve")

    def _to_pixels(self, points):
        return [
            (self.x + x * self.across - y * self.along, self.y + x * self.along + y * self.across)
            for x, y in points
        ]


def arc(
    x: float, y: float, x_radius: float, y_radius: float, start: float = 0.0, end: float = 2.0
) -> list[tuple[float, float]]:
    """Returns points on an ellipse; `start` and `end` in half turns, clockwise from the right."""
    angles = [math.pi * (start + (end - start) * step / 20) for step in range(21)]
    return [(x + x_radius * math.cos(angle), y + y_radius * math.sin(angle)) for angle in angles]


def tint(color: Color, factor: float) -> Color:
    """Returns a darker color for `factor` below 1, a lighter one above 1."""
    red, green, blue = (
        round(value * factor if factor < 1 else 255 - (255 - value) / factor) for value in color
    )
    return red, green, blue


def _draw_mug(pen: Pen, color: Color, rng: np.random.Generator) -> None:
    half = rng.uniform(0.26, 0.36)
    side = rng.choice((-1, 1)) * half
    pen.line(arc(side, 0.0, 0.17, 0.2), 0.08, tint(color, 0.8))
    pen.box(-half, -0.36, half, 0.38, color)
    pen.box(-half, -0.36, -half * 0.5, 0.38, tint(color, 1.3))
    pen.ellipse(0, 0.38, half, 0.07, color)
    pen.ellipse(0, -0.36, half, 0.09, tint(color, 1.8))
    pen.ellipse(0, -0.35, half * 0.85, 0.06, tint(color, 0.5))


def _draw_bottle(pen: Pen, color: Color, rng: np.random.Generator) -> None:
    half = rng.uniform(0.13, 0.19)
    neck = half * rng.uniform(0.35, 0.55)
    shoulder = rng.uniform(-0.2, -0.05)
    left = [(-half, 0.48), (-half, shoulder), (-neck, shoulder - 0.16), (-neck, -0.46)]
    pen.polygon(left + [(-x, y) for x, y in reversed(left)], color)
    pen.box(-half, shoulder, -half * 0.45, 0.48, tint(color, 1.4))
    pen.box(-neck * 1.2, -0.52, neck * 1.2, -0.42, tint(color, 0.55))
    pen.box(-half, 0.06, half, 0.3, tint(color, 3.0))


def _draw_lamp(pen: Pen, color: Color, rng: np.random.Generator) -> None:
    top, bottom = rng.uniform(0.12, 0.2), rng.uniform(0.3, 0.4)
    edge = rng.uniform(-0.1, 0.02)
    pen.line([(0, edge), (0, 0.44)], 0.05, INK)
    pen.ellipse(0, 0.45, rng.uniform(0.18, 0.26), 0.06, INK)
    pen.polygon([(-top, -0.48), (top, -0.48), (bottom, edge), (-bottom, edge)], color)
    pen.polygon(
        [(-top, -0.48), (-top * 0.3, -0.48), (-bottom * 0.4, edge), (-bottom, edge)],
        tint(color, 1.4),
    )
    pen.ellipse(0, edge, bottom, 0.045, (255, 236, 170))


def _draw_chair(pen: Pen, color: Color, rng: np.random.Generator) -> None:
    half = rng.uniform(0.22, 0.28)
    seat = rng.uniform(0.04, 0.14)
    for x in (-half, half):
        pen.line([(x * 0.75, seat), (x * 0.8, 0.42)], 0.05, tint(color, 0.45))
        pen.line([(x, seat), (x * 1.1, 0.5)], 0.06, tint(color, 0.6))
        pen.line([(x * 0.85, -0.5), (x * 0.85, seat)], 0.06, tint(color, 0.7))
    for y in np.linspace(-0.45, seat - 0.16, int(rng.integers(2, 4))):
        pen.box(-half * 0.85, y, half * 0.85, y + 0.08, color)
    pen.polygon(
        [(-half * 0.85, seat - 0.08), (half * 0.85, seat - 0.08), (half * 1.1, seat + 0.06),
         (-half * 1.1, seat + 0.06)],
        tint(color, 1.25),
    )  # fmt: skip


def _draw_handbag(pen: Pen, color: Color, rng: np.random.Generator) -> None:
    top, bottom = rng.uniform(0.26, 0.34), rng.uniform(0.36, 0.44)
    height = rng.uniform(0.26, 0.36)
    pen.line(arc(0, -0.08, top * 0.65, height, 1, 2), 0.055, tint(color, 0.55))
    pen.polygon([(-top, -0.12), (top, -0.12), (bottom, 0.42), (-bottom, 0.42)], color)
    pen.polygon([(-top, -0.12), (top, -0.12), (top, 0.06), (0, 0.16), (-top, 0.06)],
                tint(color, 0.75))  # fmt: skip
    pen.ellipse(0, 0.14, 0.045, 0.045, (238, 208, 110))


def _draw_carton(pen: Pen, color: Color, rng: np.random.Generator) -> None:
    half, top = rng.uniform(0.32, 0.4), rng.uniform(-0.26, -0.14)
    board = tint(CARDBOARD, rng.uniform(0.85, 1.2))
    pen.box(-half, top, half, 0.44, board)
    pen.polygon([(-half, top), (-half * 0.8, top - 0.14), (half * 0.8, top - 0.14), (half, top)],
                tint(board, 1.3))  # fmt: skip
    pen.polygon([(-0.07, 0.44), (-0.07, top), (-0.05, top - 0.14), (0.05, top - 0.14),
                 (0.07, top), (0.07, 0.44)], tint(board, 0.8))  # fmt: skip
    pen.box(-half * 0.85, 0.2, -half * 0.35, 0.34, tint(color, 1.5))


def _draw_new(pen: Pen, color: Color, rng: np.random.Generator) -> None:
    """A price tag on a string."""
    x, y = rng.uniform(-0.3, 0.3), rng.uniform(-0.3, 0.1)
    pen.line([(x, y - 0.16), (x, y)], 0.02, INK)
    pen.polygon([(x, y - 0.02), (x + 0.12, y + 0.09), (x + 0.12, y + 0.34), (x - 0.12, y + 0.34),
                 (x - 0.12, y + 0.09)], INK)  # fmt: skip
    pen.polygon([(x, y), (x + 0.1, y + 0.1), (x + 0.1, y + 0.32), (x - 0.1, y + 0.32),
                 (x - 0.1, y + 0.1)], (255, 252, 240))  # fmt: skip
    for line in (0.16, 0.23):
        pen.line([(x - 0.06, y + line), (x + 0.06, y + line)], 0.03, (214, 40, 40))


def _draw_used(pen: Pen, color: Color, rng: np.random.Generator) -> None:
    """A plaster and cracks."""
    x, y = rng.uniform(-0.18, 0.18), rng.uniform(-0.2, 0.2)
    for turn in rng.uniform(0, 2) + np.array([0.0, 0.7, 1.3]):
        steps = [(0.0, 0.0), (0.12, 0.04), (0.18, -0.05), (0.3, 0.02)]
        across, along = math.cos(math.pi * turn), math.sin(math.pi * turn)
        pen.line(
            [(x + r * across - s * along, y + r * along + s * across) for r, s in steps], 0.03, INK
        )
    for turn in (1, -1):
        pen.line([(x - 0.11, y - 0.08 * turn), (x + 0.11, y + 0.08 * turn)], 0.09, INK)
    for turn in (1, -1):
        pen.line([(x - 0.1, y - 0.07 * turn), (x + 0.1, y + 0.07 * turn)], 0.06, (232, 196, 160))


PRODUCTS = {
    "mug": _draw_mug,
    "bottle": _draw_bottle,
    "lamp": _draw_lamp,
    "chair": _draw_chair,
    "handbag": _draw_handbag,
}
MARKS = {"new": _draw_new, "used": _draw_used}


def draw_picture(
    kind: str | None, condition: str | None, rng: np.random.Generator, image_size: int
) -> Image.Image:
    """Draws one of `PRODUCTS`, or a closed carton, with or without one of `MARKS`, in RGB.

    `rng` chooses everything else.
    """
    size = OVERSAMPLING * image_size
    wall = tint(COLORS[rng.integers(len(COLORS))], rng.uniform(3, 9))
    picture = Image.new("RGB", (size, size), wall)
    draw = ImageDraw.Draw(picture)
    scene = Pen(draw, size / 2, size / 2, size, 0.0)
    horizon = rng.uniform(0.05, 0.25)
    scene.box(-0.5, horizon, 0.5, 0.5, tint(wall, rng.uniform(0.8, 0.93)))
    _draw_clutter(scene, horizon, rng)

    x, y = size * rng.uniform(0.42, 0.58), size * rng.uniform(0.44, 0.54)
    pen = Pen(draw, x, y, size * rng.uniform(0.62, 0.84), rng.uniform(-0.2, 0.2))
    color = COLORS[rng.integers(len(COLORS))]
    pen.ellipse(0.04, 0.46, 0.4, 0.06, tint(wall, 0.65))
    draw_product = _draw_carton if kind is None else PRODUCTS[kind]
    draw_product(pen, color, rng)
    if rng.random() < 0.4:
        _draw_occluder(pen, rng)
    if condition is not None:
        MARKS[condition](pen, color, rng)
    return picture.reduce(OVERSAMPLING)


def _draw_clutter(scene: Pen, horizon: float, rng: np.random.Generator) -> None:
    """Other things on the table, at the edges."""
    for _ in range(rng.integers(4)):
        color = tint(COLORS[rng.integers(len(COLORS))], 1.3)
        x, radius = rng.choice((-1, 1)) * rng.uniform(0.34, 0.5), rng.uniform(0.05, 0.12)
        if rng.random() < 0.5:
            scene.ellipse(x, horizon, radius, radius, color)
        else:
            scene.box(x - radius, horizon - radius, x + radius, horizon + radius / 2, color)


def _draw_occluder(pen: Pen, rng: np.random.Generator) -> None:
    """A thing in front of a lower corner: it never hides what a product is."""
    color = COLORS[rng.integers(len(COLORS))]
    x, y = rng.choice((-1, 1)) * rng.uniform(0.25, 0.45), rng.uniform(0.3, 0.5)
    if rng.random() < 0.5:
        pen.ellipse(x, y, 0.16, 0.16, color)
    else:
        pen.box(x - 0.14, y - 0.12, x + 0.14, y + 0.12, color)
