package mmkd

import android.content.Context
import android.graphics.Bitmap
import java.io.Closeable

/**
 * A classifier of pictures, texts, sounds and series, of one class of several or of any number of
 * labels, read from a .tflite file that mmkd_tf exported.
 *
 * Create it once and keep it: that costs far more than an answer. Call it off the main thread.
 * Calls from several threads wait for each other. Call [close] when it isn't needed any more.
 *
 * @param content the whole file.
 * @param numThreads number of threads for one answer. One is the best for small models.
 * @throws IllegalArgumentException if the file is not a model that this class can run.
 */
class Classifier(content: ByteArray, numThreads: Int = 1) : Closeable {
    private val session = Session(content, numThreads, "probabilities")

    /** Names of the classes or labels, in the order of the model's outputs. */
    val labels: List<String> get() = session.file.labels

    /** Names of what the model takes, such as `image` and `text`. */
    val inputs: Set<String> get() = session.inputs

    /** Reads the model from the app's assets. */
    constructor(context: Context, assetName: String, numThreads: Int = 1) :
        this(readAsset(context, assetName), numThreads)

    /**
     * Classifies one example.
     *
     * @param image a picture of any size, upright; null if there is none.
     * @param text as people write it; null or empty if there is none.
     * @throws IllegalArgumentException if there is neither a picture nor a word, or the model
     *     doesn't take what is given.
     */
    fun predict(image: Bitmap? = null, text: String? = null): Prediction =
        Prediction.of(session.file, session.outputs(image, text))

    /**
     * Classifies one example of inputs of any name.
     *
     * @param values by input what there is: a `Bitmap`, a `String`, a [Sound] or a [Series].
     */
    fun predict(values: Map<String, Any?>): Prediction =
        Prediction.of(session.file, session.outputs(values))

    /**
     * Gives the words of texts that the model would read, but for which its bytes lack room, by
     * input. Empty where all is read, and of a model that takes token ids.
     */
    fun cutWords(values: Map<String, Any?>): Map<String, List<String>> = session.cutWords(values)

    override fun close() = session.close()
}

/** A model of numbers, in all else as [Classifier]. */
class Regressor(content: ByteArray, numThreads: Int = 1) : Closeable {
    private val session = Session(content, numThreads, "values")

    /** Names of the targets, in the order of the model's outputs. */
    val targets: List<String> get() = session.file.labels

    /** Names of what the model takes, such as `image` and `text`. */
    val inputs: Set<String> get() = session.inputs

    constructor(context: Context, assetName: String, numThreads: Int = 1) :
        this(readAsset(context, assetName), numThreads)

    /** Tells the numbers of one example, each in the unit of its target, by name. */
    fun predict(image: Bitmap? = null, text: String? = null): Map<String, Float> =
        targets.zip(session.outputs(image, text).toList()).toMap()

    /** The same of inputs of any name, see [Classifier.predict]. */
    fun predict(values: Map<String, Any?>): Map<String, Float> =
        targets.zip(session.outputs(values).toList()).toMap()

    /** As [Classifier.cutWords]. */
    fun cutWords(values: Map<String, Any?>): Map<String, List<String>> = session.cutWords(values)

    override fun close() = session.close()
}

/**
 * One of the two files of a retrieval run, in all else as [Classifier]. What belongs together, such
 * as a picture and its text, has embeddings with a high cosine; an [Index] searches them.
 */
class Encoder(content: ByteArray, numThreads: Int = 1) : Closeable {
    private val session = Session(content, numThreads, "embedding")

    /** Name of what the model takes. */
    val input: String get() = session.inputs.single()

    constructor(context: Context, assetName: String, numThreads: Int = 1) :
        this(readAsset(context, assetName), numThreads)

    /** Gives the embedding of a picture or a text, whichever the file reads; of length 1. */
    fun encode(image: Bitmap? = null, text: String? = null): FloatArray =
        session.outputs(image, text)

    /** The same of an input of any name: a `Bitmap`, a `String`, a [Sound] or a [Series]. */
    fun encodeValue(value: Any): FloatArray = session.outputs(mapOf(input to value))

    /** The words of a text for which the model's bytes lack room, see [Classifier.cutWords]. */
    fun cutWords(text: String): List<String> =
        session.cutWords(mapOf(input to text))[input] ?: emptyList()

    override fun close() = session.close()
}

private fun readAsset(context: Context, name: String): ByteArray =
    context.assets.open(name).use { it.readBytes() }
