import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from mmkd_tf.edge.picture import PictureError, read_picture

LOSSLESS = ("PNG", "WEBP", "BMP", "TIFF")
DAMAGEABLE = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")


def noise(height=24, width=32, channels=3, seed=0):
    shape = (height, width, channels) if channels else (height, width)
    return np.random.default_rng(seed).integers(1, 256, shape, dtype=np.uint8)


def encode(pixels, picture_format="PNG", **options):
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    if picture_format == "WEBP":
        options.setdefault("lossless", True)
    stream = io.BytesIO()
    image.save(stream, picture_format, **options)
    return stream.getvalue()


def read(source, height=24, width=32, **options):
    return read_picture(source, height=height, width=width, **options)


@pytest.mark.parametrize("picture_format", LOSSLESS)
def test_lossless_formats_keep_every_value(picture_format, tmp_path):
    pixels = noise()
    path = tmp_path / f"a.{picture_format.lower()}"
    path.write_bytes(encode(pixels, picture_format))
    for source in (path, str(path), path.read_bytes(), bytearray(path.read_bytes())):
        result = read(source)
        assert result.dtype == np.uint8
        np.testing.assert_array_equal(result, pixels)


def test_jpeg_is_close():
    ramp = np.linspace(0, 255, 32, dtype=np.uint8)[None, :, None] + np.zeros((24, 1, 3), np.uint8)
    np.testing.assert_allclose(read(encode(ramp, "JPEG", quality=95)), ramp, atol=4)


def test_gif_gives_its_first_frame():
    first, second = (Image.new("RGB", (32, 24), colour) for colour in ("red", "blue"))
    content = encode(first, "GIF", save_all=True, append_images=[second])
    assert Image.open(io.BytesIO(content)).n_frames == 2
    np.testing.assert_array_equal(read(content)[0, 0], [255, 0, 0])


@pytest.mark.parametrize("picture_format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(picture_format):
    grey = np.array([[257, 25700, 32896, 65535]], np.uint16)  # 1, 100, 128, 255 times 257
    result = read(encode(grey, picture_format), 1, 4)
    np.testing.assert_array_equal(result[0, :, 1], [1, 100, 128, 255])


def test_grey_bilevel_and_palette_become_rgb():
    grey = noise(channels=0)
    np.testing.assert_array_equal(read(encode(grey)), np.stack([grey] * 3, -1))
    bilevel = Image.fromarray(grey > 100)
    np.testing.assert_array_equal(read(encode(bilevel))[..., 2], (grey > 100) * np.uint8(255))
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    np.testing.assert_array_equal(read(encode(palette), 1, 2), [[[10, 20, 30], [40, 50, 60]]])


def test_transparency_is_composited_on_white():
    rgba = np.array([[[200, 0, 0, 255], [200, 0, 0, 0], [0, 0, 0, 51]]], np.uint8)
    # The third: opacity 51/255 = 0.2 of black over white is 255 * 0.8 = 204.
    expected = [[[200, 0, 0], [255, 255, 255], [204, 204, 204]]]
    for source in (encode(rgba), Image.fromarray(rgba), rgba):
        np.testing.assert_array_equal(read(source, 1, 3), expected)
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    content = encode(palette, "PNG", transparency=0)
    np.testing.assert_array_equal(read(content, 1, 2), np.full((1, 2, 3), 255))
    grey_alpha = np.array([[[9, 255], [9, 0]]], np.uint8)
    np.testing.assert_array_equal(read(encode(grey_alpha), 1, 2)[0, :, 0], [9, 255])


def test_cmyk_becomes_rgb():
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # magenta and yellow make red
    np.testing.assert_allclose(read(encode(cmyk, "JPEG"), 16, 16)[3, 3], [255, 0, 0], atol=3)


@pytest.mark.parametrize(
    "orientation, turned", [(3, (2, (0, 1))), (6, (3, (0, 1))), (8, (1, (0, 1)))]
)
def test_exif_orientation_is_respected(orientation, turned):
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = noise()
    upright = np.rot90(pixels, *turned)  # np.rot90 turns against the clock
    result = read(encode(pixels, "PNG", exif=exif), *upright.shape[:2])
    np.testing.assert_array_equal(result, upright)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_matter():
    content = encode(noise(), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    assert read(content).shape == (24, 32, 3)


@pytest.mark.parametrize("size", [(8, 8), (48, 20), (96, 128)])
def test_resizing_agrees_with_tensorflow(size):
    pixels = noise(60, 90)
    expected = tf.image.resize(tf.cast(pixels, tf.float32), size, antialias=True).numpy()
    np.testing.assert_allclose(read(encode(pixels), *size), expected, atol=1.1)


def test_large_photographs_agree_with_tensorflow():
    pixels = np.array(Image.fromarray(noise(20, 30)).resize((1500, 1000), Image.Resampling.BICUBIC))
    content = encode(pixels, "JPEG", quality=92)
    decoded = tf.io.decode_jpeg(content, dct_method="INTEGER_ACCURATE")
    expected = tf.image.resize(tf.cast(decoded, tf.float32), (32, 32), antialias=True).numpy()
    np.testing.assert_allclose(read(content, 32, 32), expected, atol=2)


def test_arrays_and_pillow_images_are_read_alike():
    pixels = noise()
    grey = noise(channels=1)
    for source in (pixels, pixels.astype(np.float32), pixels.astype(int), Image.fromarray(pixels)):
        np.testing.assert_array_equal(read(source), pixels)
    for source in (grey, grey[..., 0], grey - 0.25):
        np.testing.assert_array_equal(read(source), np.repeat(grey, 3, -1))
    np.testing.assert_array_equal(read(pixels[:, ::-1]), pixels[:, ::-1])


def test_a_pillow_image_is_left_as_it_was():
    image = Image.open(io.BytesIO(encode(noise(800, 800), "JPEG")))
    read(image)
    assert image.size == (800, 800)


def test_black_pictures_are_present_and_zero_arrays_absent():
    black = np.zeros((24, 32, 3), np.uint8)
    for source in (encode(black), Image.fromarray(black), encode(black, "JPEG")):
        np.testing.assert_array_equal(read(source), np.ones_like(black))
    np.testing.assert_array_equal(read(black), black)
    one_bright_pixel = noise(1, 1)[0, 0] + np.zeros_like(black)
    one_bright_pixel[1:] = 0
    assert (read(encode(one_bright_pixel)) == 0).any()


@pytest.mark.parametrize("picture_format", DAMAGEABLE)
def test_truncated_pictures_are_errors(picture_format):
    content = encode(noise(64, 64), picture_format)
    for share in (0.5, 0.9):
        with pytest.raises(PictureError, match=r"Received: [\d,]+ bytes: it is damaged or cut off"):
            read(content[: int(len(content) * share)])


FUZZ = """
import random, sys, warnings
from mmkd_tf.edge.picture import PictureError, read_picture

warnings.simplefilter("ignore")
rng = random.Random(0)
read = 0
for line in sys.stdin:
    content = bytes.fromhex(line)
    for _ in range(150):
        damaged = bytearray(content)
        for _ in range(rng.choice([1, 2, 5])):
            damaged[rng.randrange(rng.choice([48, len(content)]))] = rng.randrange(256)
        try:
            read += read_picture(damaged, height=8, width=8, max_pixels=100_000).shape == (8, 8, 3)
        except PictureError:
            pass
print(read)
"""


def test_damaged_pictures_never_end_the_process():
    contents = [encode(noise(), picture_format).hex() for picture_format in DAMAGEABLE]
    run = subprocess.run(
        [sys.executable, "-c", FUZZ], input="\n".join(contents), capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-1000:]
    assert 100 < int(run.stdout) < 800  # some damage does not show, most does


def test_unusable_files_are_errors(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("This is not a picture at all.")
    cases = {
        "empty.png": r"empty\.png': it is empty \(0 bytes\)",
        "text.png": r"text\.png': it is none of JPEG, PNG, WEBP, BMP, GIF, TIFF, or its beginning",
        "nowhere.png": r"nowhere\.png': there is no such file",
        "": "it is not a file",
        "x" * 300: "it can't be read: File name too long",
    }
    for name, message in cases.items():
        with pytest.raises(ValueError, match=message):
            read(tmp_path / name)
    with pytest.raises(PictureError, match="Received: 0 bytes: it is empty"):
        read(b"")


def test_formats_that_start_other_programs_are_refused(tmp_path):
    path = tmp_path / "a.eps"
    Image.fromarray(noise()).save(path)
    with pytest.raises(PictureError, match="it is none of JPEG"):
        read(path)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [9_000, 100_000])
def test_enormous_pictures_are_refused_by_their_header(side):
    content = bytearray(encode(noise()))
    content[16:24] = struct.pack(">II", side, side)  # the header's width and height
    content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    with pytest.raises(PictureError, match="it is enormous"):
        read(bytes(content))


def test_max_pixels_is_a_bound():
    content = encode(noise(24, 32))
    assert read(content, max_pixels=768).shape == (24, 32, 3)
    with pytest.raises(PictureError, match=r"32 x 24 pixels, more than max_pixels=767"):
        read(content, max_pixels=767)


@pytest.mark.parametrize(
    "source, message",
    [
        (np.zeros((0, 5, 3), np.uint8), r"an array of uint8 \[0, 5, 3\]: it has no pixels"),
        (Image.new("RGB", (0, 4)), r"it has no pixels \(0 x 4\)"),
        (np.full((4, 4), 300), "its values go from 300 to 300; scale them to 0 to 255"),
        (np.full((4, 4), -1.0), "its values go from -1 to -1"),
        (np.full((4, 4), np.nan), "its values go from nan to nan"),
        (np.full((4, 4, 3), 0.5), "largest value is 0.5, as if they were 0 to 1; multiply"),
        (np.zeros((2, 4, 4, 3), np.uint8), r"shape is none of .* give one picture at a time"),
        (np.zeros((4, 4, 2), np.uint8), r"shape is none of \[h, w\]"),
        (Image.new("F", (4, 4)), "its values are floating-point"),
        (Image.new("I", (4, 4), 70), "its values are of 32 bit or signed"),
    ],
)
def test_unusable_pixels_are_errors(source, message):
    with pytest.raises(PictureError, match=message):
        read(source)


@pytest.mark.parametrize(
    "source, message",
    [
        (None, "NoneType. Leave"),
        (["a"], "list of <U1"),
        (np.eye(3) > 0, "of bool"),
        ([[1, 2], [3]], "list that is no array"),
    ],
)
def test_other_types_are_errors(source, message):
    with pytest.raises(TypeError, match=message):
        read(source)


def test_the_reason_stands_alone_for_lists_of_problems():
    with pytest.raises(PictureError) as caught:
        read(b"")
    assert caught.value.reason == "it is empty (0 bytes); save or copy it again"


def test_importing_starts_neither_pillow_nor_tensorflow():
    code = (
        "import sys, mmkd_tf.edge.picture; print(sorted({'PIL', 'tensorflow'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
