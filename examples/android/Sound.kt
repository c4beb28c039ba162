package mmkd

import kotlin.math.PI
import kotlin.math.abs
import kotlin.math.ceil
import kotlin.math.cos
import kotlin.math.sin

/**
 * A sound, as a microphone or a decoder gives it.
 *
 * @param samples from -1 to 1, as `AudioRecord` gives them with `ENCODING_PCM_FLOAT`; of several
 *     channels those of one moment side by side.
 * @param rate moments a second, 1,000 to 768,000.
 */
class Sound(
    private val samples: FloatArray,
    private val rate: Int,
    private val channels: Int = 1,
) {
    /** Samples of 16 bits, as of `ENCODING_PCM_16BIT`. */
    constructor(samples: ShortArray, rate: Int, channels: Int = 1) :
        this(FloatArray(samples.size) { samples[it] / STEPS.toFloat() }, rate, channels)

    init {
        require(rate in 1_000..768_000 && channels in 1..16 && samples.size % channels == 0) {
            "`rate`, `channels`: 1,000 to 768,000 and 1 to 16, with as many samples of each " +
                "channel. Received: $rate, $channels, ${samples.size} samples."
        }
        require(samples.isNotEmpty() && samples.all { abs(it) <= 2 }) {  // not of NaN
            "`samples`: at least one, all from -1 to 1. Received: ${samples.size}, some of them " +
                "no numbers or beyond. Leave a sound without samples out."
        }
    }

    /**
     * Gives what a model takes, as Python does: channels averaged, resampled, in steps of 16 bits,
     * the beginning alone. A silent sound is there: its samples are the smallest step, since all
     * zeros are the sign of an absent one.
     *
     * @param newRate samples a second that the model takes.
     * @param size number of samples that it takes.
     * @return [size] samples, zeros behind the sound's end.
     */
    fun tensor(newRate: Int, size: Int): FloatArray {
        val most = ceil((size + 1).toDouble() / newRate * rate)
        val mono = DoubleArray(minOf((samples.size / channels).toDouble(), most).toInt()) { i ->
            var sum = 0.0
            for (channel in 0 until channels) sum += samples[i * channels + channel]
            sum / channels
        }
        val made = if (rate == newRate) mono else resampled(mono, rate, newRate)
        val steps = DoubleArray(minOf(size, made.size)) {
            Math.rint(made[it] * STEPS).coerceIn(-STEPS, STEPS - 1)
        }
        val silence = if (steps.all { it == 0.0 }) 1 else 0
        return FloatArray(steps.size) { ((steps[it] + silence) / STEPS).toFloat() }.copyOf(size)
    }
}

/** Steps from 0 to 1 of 16-bit samples. */
private const val STEPS = 32768.0

/** Cuts off a sound's spectrum, or fills it up: exact below half of a rate. */
private fun resampled(values: DoubleArray, rate: Int, newRate: Int): DoubleArray {
    val common = rate.toBigInteger().gcd(newRate.toBigInteger()).toInt()
    val whole = (values.size - 1) / (rate / common) + 1  // so that rates are exact
    val re = values.copyOf(whole * (rate / common))
    val im = DoubleArray(re.size)
    transform(re, im)
    val size = whole * (newRate / common)
    val newRe = DoubleArray(size)
    val newIm = DoubleArray(size)
    for (k in 0..minOf(re.size, size) / 2) {
        // Conjugated, so that the transform is the inverse one.
        newRe[k] = re[k]
        if (k > 0 && 2 * k < size) {
            newIm[k] = -im[k]
            newRe[size - k] = re[k]
            newIm[size - k] = im[k]
        }
    }
    transform(newRe, newIm)
    val scale = newRate.toDouble() / rate
    val length = maxOf(1, Math.rint(values.size * newRate.toDouble() / rate).toInt())
    return DoubleArray(minOf(length, size)) { newRe[it] / size * scale }
}

/** Fourier transform of any size, in place (Bluestein: A linear filtering approach, 1970). */
private fun transform(re: DoubleArray, im: DoubleArray) {
    val n = re.size
    val size = Integer.highestOneBit(2 * n - 1).let { if (it < 2 * n - 1) 2 * it else it }
    fun angle(i: Int) = PI * (i.toLong() * i % (2L * n)) / n
    val cosines = DoubleArray(n) { cos(angle(it)) }
    val sines = DoubleArray(n) { sin(angle(it)) }
    val re1 = DoubleArray(size)
    val im1 = DoubleArray(size)
    val re2 = DoubleArray(size)
    val im2 = DoubleArray(size)
    for (i in 0 until n) {
        re1[i] = re[i] * cosines[i] + im[i] * sines[i]
        im1[i] = im[i] * cosines[i] - re[i] * sines[i]
        for (place in intArrayOf(i, (size - i) % size)) {
            re2[place] = cosines[i]
            im2[place] = sines[i]
        }
    }
    transformPower(re1, im1)
    transformPower(re2, im2)
    for (i in 0 until size) {
        val product = re1[i] * re2[i] - im1[i] * im2[i]
        im1[i] = -(re1[i] * im2[i] + im1[i] * re2[i])  // conjugated: back again
        re1[i] = product
    }
    transformPower(re1, im1)
    for (i in 0 until n) {
        re[i] = (re1[i] * cosines[i] - im1[i] * sines[i]) / size
        im[i] = (-im1[i] * cosines[i] - re1[i] * sines[i]) / size
    }
}

/** The same of a size that is a power of two (Cooley and Tukey). */
private fun transformPower(re: DoubleArray, im: DoubleArray) {
    val n = re.size
    var reversed = 0
    for (i in 1 until n) {
        var bit = n / 2
        while (reversed and bit != 0) {
            reversed -= bit
            bit /= 2
        }
        reversed += bit
        if (i < reversed) {
            re[i] = re[reversed].also { re[reversed] = re[i] }
            im[i] = im[reversed].also { im[reversed] = im[i] }
        }
    }
    val cosines = DoubleArray(n / 2) { cos(2 * PI * it / n) }
    val sines = DoubleArray(n / 2) { sin(2 * PI * it / n) }
    var half = 1
    while (half < n) {
        for (start in 0 until n step 2 * half) {
            for (i in 0 until half) {
                val turn = i * (n / 2 / half)
                val a = start + i
                val b = a + half
                val x = re[b] * cosines[turn] + im[b] * sines[turn]
                val y = im[b] * cosines[turn] - re[b] * sines[turn]
                re[b] = re[a] - x
                im[b] = im[a] - y
                re[a] += x
                im[a] += y
            }
        }
        half *= 2
    }
}
