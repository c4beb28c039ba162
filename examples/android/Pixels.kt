package mmkd

/**
 * Stretches a picture to the size that a model takes, the way the model was trained: bilinear with
 * antialiasing, transparent parts on white. `Bitmap.createScaledBitmap` has no antialiasing: of a
 * photograph made small it takes a few pixels and drops the rest.
 *
 * A picture that is all black becomes all ones, a difference that no eye sees: all zeros is the
 * sign of an absent picture.
 *
 * @param readRow fills an array with one row of pixels as `Bitmap.getPixels` does: 0xAARRGGBB, not
 *     multiplied by opacity.
 * @return red, green, blue, red, ..., row by row, each a byte 0 to 255 without sign.
 */
fun resizePixels(
    width: Int,
    height: Int,
    newWidth: Int,
    newHeight: Int,
    readRow: (y: Int, row: IntArray) -> Unit,
): ByteArray {
    require(minOf(minOf(width, height), minOf(newWidth, newHeight)) > 0) {
        "`width`, `height`: at least 1 pixel. Received: $width x $height to $newWidth x $newHeight."
    }
    val across = shares(width, newWidth)
    val row = IntArray(width)
    val narrow = Array(height) { y ->
        readRow(y, row)
        for (x in 0 until width) row[x] = onWhite(row[x])
        ByteArray(3 * newWidth) { i ->
            val shift = 16 - 8 * (i % 3)
            across[i / 3].sum { x -> (row[x] shr shift) and 255 }
        }
    }
    val down = shares(height, newHeight)
    val result = ByteArray(3 * newWidth * newHeight) { i ->
        val column = i % (3 * newWidth)
        down[i / (3 * newWidth)].sum { y -> narrow[y][column].toInt() and 255 }
    }
    if (result.all { it == 0.toByte() }) result.fill(1)
    return result
}

/** What old pixels, from the place `first` on, give to one new pixel; the weights add up to 1. */
private class Shares(val first: Int, val weights: FloatArray) {
    inline fun sum(value: (place: Int) -> Int): Byte {
        var total = 0.5f
        for (i in weights.indices) total += weights[i] * value(first + i)
        return total.toInt().toByte()
    }
}

/** A triangle around each new pixel's centre, two old or two new pixels wide, the wider of both. */
private fun shares(size: Int, newSize: Int): List<Shares> {
    val scale = size.toDouble() / newSize
    val reach = maxOf(scale, 1.0)
    return List(newSize) { place ->
        val center = (place + 0.5) * scale
        val first = maxOf(0, (center - reach + 0.5).toInt())
        val last = minOf(size, (center + reach + 0.5).toInt()) - 1
        val heights = (first..last).map { maxOf(0.0, 1 - Math.abs(it + 0.5 - center) / reach) }
        val total = heights.sum()
        Shares(first, FloatArray(heights.size) { (heights[it] / total).toFloat() })
    }
}

private fun onWhite(pixel: Int): Int {
    val opacity = pixel ushr 24
    if (opacity == 255) return pixel
    fun blend(shift: Int) =
        ((((pixel shr shift) and 255) * opacity + 255 * (255 - opacity) + 127) / 255) shl shift
    return blend(16) or blend(8) or blend(0)
}
