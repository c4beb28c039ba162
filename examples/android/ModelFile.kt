package mmkd

import java.io.IOException
import java.nio.ByteBuffer
import java.util.zip.CRC32
import java.util.zip.GZIPInputStream

/**
 * What a .tflite file of mmkd_tf holds: the model, and behind it an uncompressed zip archive.
 *
 * @property content the whole file, as the interpreter takes it.
 * @property labels names of classes, labels or targets in the order of the outputs; none of
 *     embeddings.
 * @property vocabularies by input, words in the order of their ids; of token ids alone.
 * @property description the text of mmkd.json.
 */
class ModelFile private constructor(
    val content: ByteArray,
    val labels: List<String>,
    val vocabularies: Map<String, List<String>>,
    val description: String,
) {
    /** Name of the output: `probabilities`, `values` or `embedding`. */
    val output: String get() = outputs[1]

    /** Probability above which a label is given, where any number of them may be; else null. */
    val threshold: Float?
        get() = (real("threshold") ?: 0.5).takeIf { task == "multi_label" }?.toFloat()

    /** What the model divides its logits by to be as sure as it is right, or null. */
    val temperature: Float? get() = real("temperature")?.toFloat()

    /** What the model takes, by name. */
    val inputs: Map<String, Input>

    private val task = Regex("\"task\": \"(\\w+)\"").find(description)?.groupValues?.get(1)
        ?: "single_label"
    private val outputs = Regex("\"outputs\": \\{\"(\\w+)\": \\{([^}]*)\\}")
        .find(description)?.groupValues ?: listOf("", "", "")

    init {
        val starts = Regex("\"([^\"]+)\": \\{\"shape\": ").findAll(description).toList()
        val end = description.indexOf("\"outputs\": {")
        inputs = starts.mapIndexed { i, start ->
            val last = starts.getOrNull(i + 1)?.range?.first ?: maxOf(end, start.range.last)
            val entry = description.substring(start.range.last, last)
            fun find(what: String) = Regex(what).find(entry)?.groupValues?.get(1)
            val name = start.groupValues[1]
            val rate = find("\"rate\": (\\d{1,7})\\b")?.toInt()
            val mostWords = find("\"most_words\": (\\d{1,7})\\b")?.toInt()
            name to Input(find("\"kind\": \"(\\w+)\"") ?: name, rate, mostWords)
        }.toMap()
    }

    /**
     * What one input takes.
     *
     * @property kind `image`, `text`, `audio` or `series`.
     * @property rate samples a second of a sound; null of others.
     * @property mostWords number of words of a text as UTF-8 that are read; null of others.
     */
    class Input(val kind: String, val rate: Int?, val mostWords: Int? = null)

    companion object {
        private val KINDS = setOf("image", "text", "audio", "series")
        private val FORMATS = 1L..3L

        /** By task, the output that a file of it has. */
        private val OUTPUTS = mapOf(
            "single_label" to "probabilities",
            "multi_label" to "probabilities",
            "regression" to "values",
            "retrieval" to "embedding",
            "embedding" to "embedding",
        )

        /**
         * Reads and checks a file.
         *
         * The checksum is no luxury: an interpreter may crash on a damaged model, and the app with
         * it.
         *
         * @throws IllegalArgumentException if it is another file, cut off, damaged or too new.
         */
        fun read(content: ByteArray): ModelFile {
            val start = content.copyOfRange(minOf(4, content.size), minOf(8, content.size))
            if (!start.contentEquals("TFL3".toByteArray())) {
                throw refusal("${content.size} bytes of something else")
            }
            val file = try {
                val files = readArchive(content)
                val description = files.getValue("mmkd.json")
                fun lines(name: String) = files.getValue(name).split("\n")
                // The description names the files that belong to the model.
                val named = Regex("\"(([^\" ]+)\\.)?vocab\\.txt(\\.gz)?\"").findAll(description)
                val vocabularies = named.map { it.groupValues[2] }.associate {
                    if (it.isEmpty()) "text" to lines("vocab.txt") else it to lines("$it.vocab.txt")
                }
                val hasLabels = "\"labels.txt\"" in description
                val labels = if (hasLabels) lines("labels.txt") else emptyList()
                ModelFile(content, labels, vocabularies, description)
            } catch (error: NoSuchElementException) {
                throw refusal("one without sound labels, vocabulary or description")
            } catch (error: IndexOutOfBoundsException) {
                throw refusal("one that is cut off or damaged")
            } catch (error: IOException) {
                // Of a text that is no UTF-8, or whose compressed form is damaged.
                throw refusal("one that is damaged")
            }
            val rules = Regex("\"tokenizer_rules\": *(\\d+)").findAll(file.description)
                .map { it.groupValues[1] }
            if ((file.output == "embedding") != file.labels.isEmpty()) {
                throw refusal("one without sound labels, vocabulary or description")
            }
            if (!file.hasKnownFormat() || rules.any { it != "${Tokenizer.RULES}" }) {
                throw refusal("one that is newer than this code, or damaged")
            }
            val modelBytes = file.number("model_bytes") ?: -1L
            if (modelBytes !in 0L..content.size.toLong() ||
                checksum(content, 0, modelBytes.toInt()) != file.number("model_crc32")
            ) {
                throw refusal("one whose checksum does not fit: it is damaged")
            }
            return file
        }

        private fun refusal(received: String) = IllegalArgumentException(
            "`content`: a .tflite file exported by mmkd_tf. Received: $received. " +
                "Copy it again, or export it again.",
        )

        /**
         * Gives the texts in the archive by name, those that are gzip files without `.gz`. The
         * archive itself compresses nothing.
         */
        private fun readArchive(content: ByteArray): Map<String, String> {
            var end = content.size - 22
            while (end >= 0 && number(content, end, 4) != 0x06054b50L) end--
            if (end < 0) throw NoSuchElementException("no archive")
            val directoryBytes = number(content, end + 12, 4)
            // Offsets count from the archive's start; other tools set it after the model.
            val archive = end - directoryBytes - number(content, end + 16, 4)
            val files = HashMap<String, String>()
            var entry = end - directoryBytes.toInt()
            repeat(number(content, end + 10, 2).toInt()) {
                val nameBytes = number(content, entry + 28, 2).toInt()
                val name = text(content, entry + 46, nameBytes)
                val local = (archive + number(content, entry + 42, 4)).toInt()
                val first = local + 30 + number(content, local + 26, 2).toInt() +
                    number(content, local + 28, 2).toInt()
                val size = number(content, entry + 24, 4).toInt()
                val stored = number(content, entry + 10, 2) == 0L
                if (stored && checksum(content, first, size) == number(content, entry + 16, 4)) {
                    files[name.removeSuffix(".gz")] = if (name.endsWith(".gz")) {
                        val packed = content.inputStream(first, size)
                        val unpacked = GZIPInputStream(packed).use { it.readBytes() }
                        text(unpacked, 0, unpacked.size)
                    } else {
                        text(content, first, size)
                    }
                }
                entry += 46 + nameBytes + number(content, entry + 30, 2).toInt() +
                    number(content, entry + 32, 2).toInt()
            }
            return files
        }

        /** Reads a number without sign, its lowest byte first, as zip archives store them. */
        private fun number(content: ByteArray, at: Int, bytes: Int): Long =
            (at + bytes - 1 downTo at).fold(0L) { sum, place ->
                sum * 256 + (content[place].toInt() and 255)
            }

        private fun checksum(content: ByteArray, first: Int, size: Int): Long {
            if (first < 0 || size < 0 || size > content.size - first) {
                throw IndexOutOfBoundsException()
            }
            return CRC32().apply { update(content, first, size) }.value
        }

        private fun text(content: ByteArray, first: Int, size: Int): String =
            Charsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(content, first, size)).toString()
    }

    private fun hasKnownFormat(): Boolean = number("format") in FORMATS &&
        OUTPUTS[task] == output && inputs.values.all { it.kind in KINDS }

    /** A number of what mmkd.json says of the output. */
    private fun real(name: String): Double? =
        Regex("\"$name\": ([-+.\\deE]+)").find(outputs[2])?.groupValues?.get(1)?.toDouble()

    /**
     * A number in mmkd.json; each of these names occurs there once. Not read by org.json, since
     * that comes with Android and this file is tested without it.
     */
    private fun number(name: String): Long? =
        Regex("\"$name\": *(\\d{1,18})\\b").find(description)?.groupValues?.get(1)?.toLong()
}
