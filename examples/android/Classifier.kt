package mmkd

import android.content.Context
import android.graphics.Bitmap
import java.io.Closeable
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.tensorflow.lite.DataType
import org.tensorflow.lite.Interpreter

/**
 * The answer for one example.
 *
 * @property probabilities by class name, 0 to 1, the most probable first.
 */
class Prediction(val probabilities: Map<String, Float>) {
    val label: String get() = probabilities.keys.first()
    val probability: Float get() = probabilities.values.first()
}

/**
 * A classifier of a picture, a text or both, read from a .tflite file that mmkd_tf exported.
 *
 * Create it once and keep it: that costs far more than an answer. Call it off the main thread.
 * Calls from several threads wait for each other. Call [close] when it isn't needed any more.
 *
 * @param content the whole file.
 * @param numThreads number of threads for one answer. One is the best for small models.
 * @throws IllegalArgumentException if the file is not a model that this class can run.
 */
class Classifier(content: ByteArray, numThreads: Int = 1) : Closeable {
    private val file = ModelFile.read(content)
    private val interpreter = Interpreter(direct(content.size).put(content), options(numThreads))
    private val tokenizer by lazy {
        file.vocabulary?.let { Tokenizer(it, input("text").numElements()) }
    }

    /** Names of the classes, in the order of the model's outputs. */
    val labels: List<String> get() = file.labels

    /** What the model takes: `image`, `text` or both. */
    val inputs: Set<String>

    init {
        inputs = interpreter.getSignatureInputs(SIGNATURE).toSet()
        val shapes = inputs.associateWith { input(it).shape().toList() }
        if (!setOf("image", "text").containsAll(inputs) || shapes.values.any { it.first() != 1 }) {
            interpreter.close()
            throw IllegalArgumentException(
                "`content`: a model that takes one image, one text or both. " +
                    "Received: inputs $shapes.",
            )
        }
    }

    /** Reads the model from the app's assets. */
    constructor(context: Context, assetName: String, numThreads: Int = 1) :
        this(context.assets.open(assetName).use { it.readBytes() }, numThreads)

    /**
     * Classifies one example.
     *
     * @param image a picture of any size, upright; null if there is none.
     * @param text as people write it; null or empty if there is none.
     * @throws IllegalArgumentException if there is neither a picture nor a word, or the model
     *     doesn't take what is given.
     */
    @Synchronized
    fun predict(image: Bitmap? = null, text: String? = null): Prediction {
        val given = listOfNotNull("image".takeIf { image != null }, "text".takeIf { text != null })
        require(inputs.containsAll(given)) {
            "`image`, `text`: what this model takes, $inputs. Received: $given."
        }
        val tensors = inputs.associateWith { direct(input(it).numBytes()) }  // zeros: absent
        if (image != null) writeImage(tensors.getValue("image"), image)
        if (text != null) writeText(tensors.getValue("text"), text)
        tensors.values.forEach { it.rewind() }
        fun isAbsent(tensor: ByteBuffer) = (0 until tensor.limit()).all { tensor[it] == ZERO }
        require(!tensors.values.all(::isAbsent)) {
            "`image`, `text`: a picture or a word. Received: neither."
        }

        val answer = arrayOf(FloatArray(labels.size))
        interpreter.runSignature(tensors, mapOf<String, Any>(OUTPUT to answer), SIGNATURE)
        return Prediction(labels.zip(answer[0].toList()).sortedByDescending { it.second }.toMap())
    }

    @Synchronized
    override fun close() = interpreter.close()

    private fun writeImage(tensor: ByteBuffer, image: Bitmap) {
        val (_, height, width, _) = input("image").shape().toList()
        val readable = if (image.config == Bitmap.Config.ARGB_8888) {
            image
        } else {
            // Bitmaps on the graphics processor, as ImageDecoder makes them, can't be read.
            requireNotNull(image.copy(Bitmap.Config.ARGB_8888, false)) { "`image`: out of memory." }
        }
        val pixels = resizePixels(readable.width, readable.height, width, height) { y, row ->
            readable.getPixels(row, 0, row.size, 0, y, row.size, 1)
        }
        if (input("image").dataType() == DataType.UINT8) {
            tensor.put(pixels)
        } else {
            for (value in pixels) tensor.putFloat((value.toInt() and 255).toFloat())
        }
    }

    private fun writeText(tensor: ByteBuffer, text: String) {
        if (input("text").dataType() == DataType.UINT8) {  // exported with text_input="bytes"
            tensor.put(utf8Bytes(text, tensor.capacity()))
            return
        }
        val tokenizer = requireNotNull(tokenizer) {
            "`text`: nothing, since this file has no vocabulary. Export it with vocabulary=."
        }
        for (id in tokenizer.ids(text)) tensor.putInt(id)
    }

    private fun input(name: String) = interpreter.getInputTensorFromSignature(name, SIGNATURE)

    private companion object {
        const val SIGNATURE = "serving_default"
        const val OUTPUT = "probabilities"
        const val ZERO: Byte = 0

        fun options(numThreads: Int) = Interpreter.Options().setNumThreads(numThreads)

        fun direct(size: Int): ByteBuffer =
            ByteBuffer.allocateDirect(size).order(ByteOrder.nativeOrder())
    }
}
