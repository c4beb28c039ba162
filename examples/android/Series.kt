package mmkd

import kotlin.math.abs

/**
 * A series of a sensor, as it was measured.
 *
 * @param values an array for each step, of a number for each channel in the order of the training
 *     data, in the sensor's units; NaN where nothing was measured.
 * @param times of the steps, in any unit, not going back, such as `SensorEvent.timestamp`; null if
 *     the steps lie evenly.
 */
class Series(private val values: Array<FloatArray>, private val times: DoubleArray? = null) {
    /**
     * Gives what a model takes, as Python does: evenly spaced, in another number of steps, each
     * followed by a 1 if it is known; all zeros if there is no number.
     *
     * @param length number of steps that the model takes.
     * @param channels number of channels that it takes.
     * @return [length] x ([channels] + 1) numbers, step by step.
     * @throws IllegalArgumentException if there are other channels, none of the numbers of one,
     *     infinite ones, or times that go back.
     */
    fun tensor(length: Int, channels: Int): FloatArray {
        require(values.isNotEmpty() && values.all { it.size == channels }) {
            "`values`: steps of $channels numbers. Received: ${values.size} steps" +
                (values.firstOrNull()?.let { " of ${it.size} and maybe others." } ?: ".")
        }
        require(values.none { step -> step.any { it.isInfinite() } }) {
            "`values`: finite numbers, or NaN. Received: an infinite one."
        }
        val isAbsent = values.all { step -> step.all { it.isNaN() } }
        if (isAbsent) return FloatArray(length * (channels + 1))
        val columns = resized(regular(channels), length)
        return FloatArray(length * (channels + 1)) {
            columns[it % (channels + 1)][it / (channels + 1)].toFloat()
        }
    }

    /** By channel numbers at evenly spaced times, and last whether a step is known. */
    private fun regular(channels: Int): List<DoubleArray> {
        val steps = values.indices
        val places = times ?: DoubleArray(values.size) { it.toDouble() }
        require(places.size == values.size && places.none { it.isNaN() || it.isInfinite() }) {
            "`times`: a number for each step. Received: ${places.size} for ${values.size} steps."
        }
        require(steps.drop(1).none { places[it] < places[it - 1] }) {
            "`times`: times that don't go back. Received: some that do. Sort the steps by time."
        }
        val even = spread(places.first(), places.last(), values.size)
        require(values.size == 1 || even.first() != even.last()) {
            "`times`: different times. Received: the same for all steps."
        }
        val made = List(channels) { channel ->
            val known = steps.filter { !values[it][channel].isNaN() }
            require(known.isNotEmpty()) {
                "`values`: a number in each channel. Received: none in channel $channel (from 0)."
            }
            val numbers = DoubleArray(known.size) { values[known[it]][channel].toDouble() }
            interpolated(even, DoubleArray(known.size) { places[known[it]] }, numbers)
        }
        val isMeasured = values.map { step -> step.any { !it.isNaN() } }
        val measured = places.filterIndexed { i, _ -> isMeasured[i] }.toDoubleArray()
        val distances = DoubleArray(even.size) {
            val place = measured.binarySearch(even[it])
            val after = minOf(if (place < 0) -place - 1 else place, measured.size - 1)
            minOf(abs(even[it] - measured[after]), abs(even[it] - measured[maxOf(after - 1, 0)]))
        }
        val near = NEAR * (even.last() - even.first()) / maxOf(even.size - 1, 1)
        // The nearest one is known in any case.
        val reach = maxOf(near, distances.minByOrNull { it }!!)
        val last = if (reach == near) -1 else distances.indexOfFirst { it == reach }
        fun isKnown(i: Int) = if (last < 0) distances[i] <= near else i == last
        val known = DoubleArray(even.size) { if (isKnown(it)) 1.0 else 0.0 }
        return (made + listOf(known)).map { column ->
            DoubleArray(even.size) { if (isKnown(it)) column[it].toFloat().toDouble() else 0.0 }
        }
    }

    /** Fewer steps are means of what they cover, more lie on lines; unknown ones don't count. */
    private fun resized(columns: List<DoubleArray>, length: Int): List<DoubleArray> {
        val steps = columns[0].size
        if (steps == length) return columns
        val made = columns.map { column ->
            if (steps < length) {
                val old = DoubleArray(steps) { it.toDouble() }
                interpolated(spread(0.0, steps - 1.0, length), old, column)
            } else {
                val sums = DoubleArray(steps + 1)
                for (i in 0 until steps) sums[i + 1] = sums[i] + column[i]
                val old = DoubleArray(steps + 1) { it.toDouble() }
                val ends = interpolated(spread(0.0, steps.toDouble(), length + 1), old, sums)
                DoubleArray(length) { ends[it + 1] - ends[it] }
            }
        }
        val covered = maxOf(steps.toDouble() / length, 1.0)
        val shares = made.last().map { it / covered }
        val least = minOf(0.5, shares.maxByOrNull { it }!!)
        return made.map { column ->
            DoubleArray(length) { if (shares[it] >= least) column[it] / made.last()[it] else 0.0 }
        }
    }

    private companion object {
        /** A step is known if a measured one is nearer than this share of the usual distance. */
        const val NEAR = 0.9

        /** Numbers at equal distances from the first to the last, as NumPy's `linspace`. */
        fun spread(first: Double, last: Double, size: Int): DoubleArray {
            val step = (last - first) / maxOf(size - 1, 1)
            return DoubleArray(size) { if (it == size - 1 && it > 0) last else it * step + first }
        }

        /** Numbers on the lines between others, as NumPy's `interp`. */
        fun interpolated(at: DoubleArray, places: DoubleArray, numbers: DoubleArray): DoubleArray {
            var next = 0  // the first place behind; `at` and `places` rise
            return DoubleArray(at.size) {
                while (next < places.size && places[next] <= at[it]) next++
                val before = next - 1
                when {
                    before < 0 -> numbers.first()
                    next == places.size || places[before] == at[it] -> numbers[before]
                    else -> (numbers[next] - numbers[before]) / (places[next] - places[before]) *
                        (at[it] - places[before]) + numbers[before]
                }
            }
        }
    }
}
