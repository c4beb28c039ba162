"""Renders road scenes with camera, lidar, motion sensors and positions, and a manoeuvre to predict.

    python studies/scenarios/driving.py studies/scenarios/sets

**Rendered, not real**: simple drawings made here, for trying a model of four kinds of sensors
where the best accuracy that there can be is known. A row is a scene in the three seconds before one
of six manoeuvres, all equally likely: `image`, a picture of the road, 64 x 64 pixels; `points`, a
lidar's 320 points around the car, float32 `[320, 3]`, metres forward, left and up; `imu`, float32
`[60, 3]`, acceleration forward and to the left in m/s^2 and turning to the left in rad/s, 20 a
second; `gps`, float32 `[15, 2]`, metres forward and left of where the window began, 5 a second.

What a sensor shows of the coming manoeuvre, by construction: with the probability below, drawn for
each sensor by itself, it has the manoeuvre's cue, such as an arrow on the lane for the camera or a
lorry across the lanes for the lidar; otherwise nothing that depends on it. So the best accuracy
that any model can expect is, with K = 6 manoeuvres,

    from one sensor:  p + (1 - p) / K
    from several:     1 - (1 - p_1) (1 - p_2) ... (1 - 1 / K)

    | sensor  | p   | best  |
    | camera  | .60 | .667  |
    | lidar   | .50 | .583  |
    | imu     | .40 | .500  |
    | gps     | .30 | .417  |
    | all     |     | .930  |

Cues differ from scene to scene in place, size and strength, and lie in noise; they are meant to be
legible, so that a good model comes near. Speed, light and trees at the roadside are one scene's,
whatever the sensor. Seed 0 gives 2,000 scenes for training, 500 for validation, 1,000 for test.
"""

import colorsys
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from common import say_counts
from PIL import Image, ImageDraw

MANOEUVRES = ("brake", "change left", "change right", "keep on", "turn left", "turn right")
SHOWN = {"image": 0.6, "points": 0.5, "imu": 0.4, "gps": 0.3}
ROWS = {"train": 2000, "validation": 500, "test": 1000}
SIZE, FINER = 64, 2
NUM_POINTS = 320
NUM_MOVED, MOVED_RATE = 60, 20  # steps of the motion sensors, steps a second
NUM_PLACES, PLACE_RATE = 15, 5
LANE = 3.5  # metres


class Scene(NamedTuple):
    """What the sensors of a scene share."""

    speed: float  # metres a second
    light: float  # 0 dark to 1 bright
    trees: np.ndarray  # float64 [n, 2], metres forward and left


def draw_scene(rng: np.random.Generator) -> Scene:
    """Draws a scene, in which nothing depends on the manoeuvre."""
    count = rng.integers(3, 9)
    aside = rng.choice([-1, 1], count) * rng.uniform(7, 14, count)
    trees = np.stack([rng.uniform(8, 45, count), aside], axis=1)
    return Scene(rng.uniform(8, 16), rng.uniform(0.45, 1.0), trees)


def camera(scene: Scene, cue: str | None, rng: np.random.Generator) -> Image.Image:
    """Renders the road; the cue is an arrow on the lane, or a red light with a line to stop at."""
    side = SIZE * FINER
    horizon, shift = side * rng.uniform(0.34, 0.44), rng.uniform(-0.6, 0.6)

    def at(forward: float, left: float, up: float = 0.0) -> tuple[float, float]:
        """The pixel of a place, in metres; the camera is 1.4 metres above the ground."""
        return (
            side / 2 - (left - shift) / forward * side * 0.9,
            horizon + (1.4 - up) / forward * side * 0.9,
        )

    def colour(hue: float, saturation: float, value: float) -> tuple[int, ...]:
        rgb = colorsys.hsv_to_rgb(hue, saturation, value * scene.light)
        return tuple(round(255 * each) for each in rgb)

    picture = Image.new("RGB", (side, side), colour(rng.uniform(0.5, 0.65), 0.35, 1.0))
    pen = ImageDraw.Draw(picture)
    pen.rectangle([0, horizon, side, side], fill=colour(rng.uniform(0.2, 0.35), 0.5, 0.6))
    edge = 1.5 * LANE
    pen.polygon(
        [at(80, edge), at(80, -edge), at(1.2, -edge), at(1.2, edge)],
        fill=colour(0, 0, rng.uniform(0.35, 0.5)),
    )
    white = colour(0, 0, 1)
    for left in (-edge, -LANE / 2, LANE / 2, edge):
        for start in np.arange(2 + rng.uniform(0, 2), 40, 4):
            line = [at(start, left - 0.1), at(start, left + 0.1)]
            line += [at(start + 2, left + 0.1), at(start + 2, left - 0.1)]
            pen.polygon(line, fill=white)
    for forward, left in scene.trees[np.argsort(-scene.trees[:, 0])]:
        pen.polygon(
            [at(forward, left - 0.2), at(forward, left + 0.2), at(forward, left, 3)],
            fill=colour(0.08, 0.6, 0.4),
        )
        box = [*at(forward, left + 1.6, 5.5), *at(forward, left - 1.6, 2)]
        pen.ellipse(box, fill=colour(rng.uniform(0.25, 0.4), 0.7, 0.5))
    if cue == "brake":
        far, height = rng.uniform(7, 10), rng.uniform(2.6, 3.2)
        pen.polygon([at(far, 1.6), at(far, -1.6), at(far - 1, -1.6), at(far - 1, 1.6)], fill=white)
        pen.rectangle([*at(far, -1.2, height + 1.1), *at(far, -2.0, height)], fill=(20, 20, 20))
        lamp = [*at(far, -1.3, height + 1.0), *at(far, -1.9, height + 0.4)]
        pen.ellipse(lamp, fill=(255, 30, 20))
    elif cue:
        _arrow(pen, at, cue, rng, white)
    pixels = np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.BOX), np.float32)
    pixels += rng.normal(0, 6, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _arrow(pen: ImageDraw.ImageDraw, at, cue: str, rng: np.random.Generator, fill) -> None:
    """Draws an arrow on the lane: straight on, half aside for a change, bent for a turn."""
    start, length = rng.uniform(2.6, 3.4), rng.uniform(3.5, 5)
    aside = {"keep": 0.0, "change": 0.9, "turn": 0.8}[cue.split()[0]]
    sign = -1 if cue.endswith("right") else 1
    if cue.startswith("turn"):
        path = [(0, 0), (0.7 * length, 0), (0.7 * length, sign * aside)]
        head = [(0.95 * length, sign * aside), (0.45 * length, sign * aside)]
        tip = (0.7 * length, sign * (aside + 0.7))
    else:
        path = [(0, -sign * aside / 2), (0.7 * length, sign * aside / 2)]
        middle = sign * aside / 2
        head = [(0.65 * length, middle - 0.5), (0.65 * length, middle + 0.5)]
        tip = (length, sign * aside * 0.8)
    for (near, left), (far, right) in zip(path, path[1:], strict=False):
        if near == far:
            corners = [(near - 0.3, left), (near + 0.3, left), (near + 0.3, right)]
            corners.append((near - 0.3, right))
        else:
            corners = [(near, left - 0.2), (near, left + 0.2), (far, right + 0.2)]
            corners.append((far, right - 0.2))
        pen.polygon([at(start + x, y) for x, y in corners], fill=fill)
    pen.polygon([at(start + x, y) for x, y in [*head, tip]], fill=fill)


def lidar(scene: Scene, cue: str | None, rng: np.random.Generator) -> np.ndarray:
    """Draws the points of ground, trees and the cue: what stands in the way, or opens a way.

    brake: a lorry across all lanes; change: one in the own lane and the one that stays closed;
    turn: a wall across the road's end with a gap at one side; keep on: posts along the own lane.
    """
    ahead = rng.uniform(12, 20)
    boxes = {  # forward from, to, left from, to, height
        "brake": [(0, 2.5, -1.5 * LANE, 1.5 * LANE, 3.2)],
        "change left": [(0, 6, -1.5 * LANE, 0.5 * LANE, 2.5)],
        "change right": [(0, 6, -0.5 * LANE, 1.5 * LANE, 2.5)],
        "turn left": [(14, 15, -14, 4, 4), (4, 14, -7, -6, 4)],
        "turn right": [(14, 15, -4, 14, 4), (4, 14, 6, 7, 4)],
        "keep on": [
            (-8, 20, -0.5 * LANE - 0.2, -0.5 * LANE, 1),
            (-8, 20, 0.5 * LANE, 0.5 * LANE + 0.2, 1),
        ],
    }
    chosen = boxes.get(cue, [])
    num_cue = NUM_POINTS // 3 if chosen else 0
    num_trees = NUM_POINTS // 6
    ground = rng.uniform((2, -15, 0), (45, 15, 0.02), (NUM_POINTS - num_cue - num_trees, 3))
    which = scene.trees[rng.integers(len(scene.trees), size=num_trees)]
    trees = np.column_stack([which, rng.uniform(0, 5.5, num_trees)])
    trees[:, :2] += rng.normal(0, 0.7, (num_trees, 2))
    parts = [ground, trees]
    for number, (near, far, right, left, height) in enumerate(chosen):
        count = num_cue // len(chosen) + (number == 0) * (num_cue % len(chosen))
        low, high = (ahead + near, right, 0), (ahead + far, left, height)
        parts.append(rng.uniform(low, high, (count, 3)))
    points = np.concatenate(parts) + rng.normal(0, 0.05, (NUM_POINTS, 3))
    return points[rng.permutation(NUM_POINTS)].astype(np.float32)


def movement(
    scene: Scene, cue: str | None, rng: np.random.Generator, *, rate: int, steps: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Gives acceleration, speed to the left, turning and speed forward, each `[steps]`."""
    seconds = np.arange(steps) / rate
    begin = rng.uniform(0.6, 1.4)
    since = np.clip(seconds - begin, 0, None)
    sign = {"left": 1, "right": -1}.get(cue.split()[-1] if cue else "", 0)
    strength = rng.uniform(0.8, 1.2)
    forward, turning = np.zeros(steps), np.zeros(steps)
    if cue == "brake":
        forward = -2.5 * strength * (since > 0)
    elif cue == "keep on":
        forward = 1.5 * strength * (since > 0)
    elif cue and cue.startswith("change"):
        turning = sign * 0.25 * strength * np.sin(np.clip(since / 1.4, 0, 1) * 2 * np.pi)
    elif cue:
        forward = -1.5 * strength * (since > 0)
        turning = sign * 0.35 * strength * np.clip(since, 0, 1)
    heading = np.cumsum(turning) / rate
    speed = scene.speed + np.cumsum(forward) / rate
    return forward, speed * np.sin(heading), turning, speed * np.cos(heading)


def imu(scene: Scene, cue: str | None, rng: np.random.Generator) -> np.ndarray:
    """Gives what the motion sensors measure: a biased, noisy cue."""
    forward, _, turning, speed = movement(scene, cue, rng, rate=MOVED_RATE, steps=NUM_MOVED)
    values = np.stack([forward, speed * turning, turning], axis=1)
    values += rng.normal(0, (0.15, 0.15, 0.01)) + rng.normal(0, (0.4, 0.4, 0.03), values.shape)
    return values.astype(np.float32)


def gps(scene: Scene, cue: str | None, rng: np.random.Generator) -> np.ndarray:
    """Gives the places on the way, each wrong by some 15 centimetres."""
    _, aside, _, along = movement(scene, cue, rng, rate=PLACE_RATE, steps=NUM_PLACES)
    places = np.stack([np.cumsum(along), np.cumsum(aside)], axis=1) / PLACE_RATE
    return (places + rng.normal(0, 0.15, places.shape)).astype(np.float32)


def main(
    output: Annotated[Path, typer.Argument(help="Folder of the sets.")],
    seed: Annotated[int, typer.Option(help="Draws the scenes.")] = 0,
):
    """Render the archives of road scenes."""
    folder = output / "driving"
    for name in ("images", "points"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number, (split, count) in enumerate(ROWS.items()):
        rng = np.random.default_rng([seed, number])
        columns: dict[str, list] = {name: [] for name in (*SHOWN, "label")}
        known = []
        for row in range(count):
            scene, label = draw_scene(rng), MANOEUVRES[rng.integers(len(MANOEUVRES))]
            cues = {name: label if rng.random() < p else None for name, p in SHOWN.items()}
            files = f"images/{split}-{row:04d}.png", f"points/{split}-{row:04d}.npy"
            camera(scene, cues["image"], rng).save(folder / files[0])
            np.save(folder / files[1], lidar(scene, cues["points"], rng))
            own = (*files, imu(scene, cues["imu"], rng), gps(scene, cues["gps"], rng), label)
            for name, value in zip(columns, own, strict=True):
                columns[name].append(value)
            known.append([cue is not None for cue in cues.values()])
        arrays = {name: np.array(values) for name, values in columns.items()}
        np.savez_compressed(folder / f"{split}.npz", **arrays)
        say_counts(f"driving/{split}.npz", columns["label"])
        shares = [*np.mean(known, axis=0), np.any(known, axis=1).mean()]
        best = (
            f"{name} {share + (1 - share) / len(MANOEUVRES):.3f}"
            for name, share in zip([*SHOWN, "all"], shares, strict=True)
        )
        typer.echo(f"  with the cues that were drawn the best is: {', '.join(best)}")


if __name__ == "__main__":
    typer.run(main)
