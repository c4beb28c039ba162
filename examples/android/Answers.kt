package mmkd

/**
 * The answer of a file of classes or labels for one example.
 *
 * @property probabilities by name, 0 to 1, the most probable first.
 * @property given the names that are given: [label] alone, or of a file that gives any number of
 *     labels, those above its threshold, the most probable first; maybe none.
 * @property isCalibrated whether the file takes care that it is as sure as it is right: of answers
 *     with a probability of 0.7, 70 of 100 are right then.
 */
class Prediction(
    val probabilities: Map<String, Float>,
    val given: List<String>,
    val isCalibrated: Boolean,
) {
    val label: String get() = probabilities.keys.first()
    val probability: Float get() = probabilities.values.first()

    companion object {
        /** Ranks what a file gives, in the order of its labels. */
        internal fun of(file: ModelFile, outputs: FloatArray): Prediction {
            val ranked = file.labels.zip(outputs.toList()).sortedByDescending { it.second }
            val threshold = file.threshold
            val given = ranked.filterIndexed { place, (_, probability) ->
                if (threshold == null) place == 0 else probability > threshold
            }
            return Prediction(ranked.toMap(), given.map { it.first }, file.temperature != null)
        }
    }
}

/** What is found: an item that was added to an [Index], and the cosine of both embeddings. */
data class Match(val item: String, val score: Float)

/**
 * Embeddings with the items that they stand for; every search looks at all of them.
 *
 * Embeddings are those of an [Encoder] for one input, or what Python's `mmkd_tf.edge.Index` has as
 * `embeddings`.
 */
class Index {
    private val items = ArrayList<String>()
    private val units = ArrayList<FloatArray>()

    val size: Int get() = items.size

    /**
     * Adds an item.
     *
     * @throws IllegalArgumentException if the embedding is zeros or not finite, or of another width
     *     than those before.
     */
    fun add(item: String, embedding: FloatArray) {
        require(units.isEmpty() || embedding.size == units[0].size) {
            "`embedding`: of width ${units[0].size}, as those before. Received: ${embedding.size}."
        }
        units.add(unit(embedding))
        items.add(item)
    }

    /**
     * Finds the nearest items.
     *
     * @param query an embedding of the other input.
     * @param top number of answers, 1 or more; fewer come if there are fewer items.
     * @return the answers, the nearest first; equals in the order in which they were added.
     * @throws IllegalArgumentException if the index is empty, or an argument does not fit.
     */
    fun search(query: FloatArray, top: Int = 10): List<Match> {
        require(top >= 1 && units.isNotEmpty() && query.size == units[0].size) {
            "`query`, `top`: an embedding as wide as those of the index, which has some, and 1 " +
                "or more. Received: width ${query.size}, top=$top, $size items."
        }
        val sought = unit(query)
        val scores = units.map { one -> one.indices.sumOf { one[it].toDouble() * sought[it] } }
        return scores.indices.sortedByDescending { scores[it] }.take(top)
            .map { Match(items[it], scores[it].toFloat()) }
    }

    private fun unit(embedding: FloatArray): FloatArray {
        val length = Math.sqrt(embedding.sumOf { it.toDouble() * it })
        require(length > 0 && length < Double.POSITIVE_INFINITY) {
            "`embedding`: finite numbers that are not all 0, which stand for an absent picture " +
                "or text."
        }
        return FloatArray(embedding.size) { (embedding[it] / length).toFloat() }
    }
}
